import type { Tool, ToolChoice } from '../../core/turn.ts';
import { refused } from '../refused.ts';
import { namedTool, requiredTool } from '../tool-choice.ts';
import { checkLeftOut, demandedLeftOut, type LeftOutTool, messagesTools, toolKind } from '../tool-table.ts';
import { clientTools } from './client-tools.ts';
import type { AskedTool, CountRequest } from './schema.ts';
import { toolChanges } from './tool-changes.ts';

type TypedTool = Extract<AskedTool, { type: string }>;

export interface OfferedTools {
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  readonly leftOut: readonly LeftOutTool[];
}

/** Throws AppError `invalid_request` for tools and choices that cannot be carried. */
export function offeredTools({ tools: asked, tool_choice: choice, messages }: CountRequest): OfferedTools {
  const known = new Map<string, Tool>();
  const offered = new Set<string>();
  const leftOut: (LeftOutTool & { readonly name: unknown })[] = [];
  const add = (tool: AskedTool, path: string): void => {
    const made = isTyped(tool) ? typedTool(tool, path) : customTool(tool);
    if (made) {
      known.set(made.name, made);
      offered.add(made.name);
    } else if (isTyped(tool)) {
      const isUnknown = toolKind(messagesTools, tool.type) === undefined;
      leftOut.push({ type: tool.type, path, isUnknown, name: tool['name'] });
    }
  };
  for (const [index, tool] of (asked ?? []).entries()) add(tool, `tools.${index}`);
  const asksFor = [...leftOut];
  for (const change of toolChanges(messages)) {
    if (change.kind === 'definition') add(change.definition, change.path);
    else if (change.kind === 'removal') offered.delete(change.name);
    else if (known.has(change.name)) offered.add(change.name);
  }
  const tools = [...known.values()].filter(({ name }) => offered.has(name));
  checkLeftOut(asksFor, tools.length, choice?.type === 'none');
  if (choice?.type === 'tool') {
    const left = leftOut.find(({ name }) => name === choice.name);
    if (left) throw demandedLeftOut(left, 'tool_choice.name');
  }
  return { tools, toolChoice: toolChoiceOf(choice, tools), leftOut };
}

function toolChoiceOf(choice: CountRequest['tool_choice'], tools: readonly Tool[]): ToolChoice {
  switch (choice?.type) {
    case 'any':
      return requiredTool(tools, 'any');
    case 'tool':
      return namedTool(tools, choice.name);
    case 'none':
      return { type: 'none' };
    default:
      return { type: 'auto' };
  }
}

function customTool({ name, description, input_schema: schema }: Exclude<AskedTool, TypedTool>): Tool {
  return {
    name,
    ...(description ? { description } : {}),
    parameters: schema ?? { type: 'object', properties: {} },
  };
}

/** Undefined for a tool that the provider would run. */
function typedTool(tool: TypedTool, path: string): Tool | undefined {
  const kind = toolKind(messagesTools, tool.type);
  const row = kind && messagesTools[kind];
  if (row && 'isRefused' in row) throw refused(`${path}.type`, `${JSON.stringify(tool.type)} ${row.says}`);
  const made = kind && clientTools[kind]?.(tool);
  return made && { ...made, name: typeof tool.name === 'string' ? tool.name : made.name };
}

function isTyped(tool: AskedTool): tool is TypedTool {
  return typeof tool.type === 'string' && tool.type !== 'custom';
}
