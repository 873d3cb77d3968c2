import type { Tool, ToolChoice } from '../../core/turn.ts';
import { refused } from '../refused.ts';
import { namedTool, requiredTool } from '../tool-choice.ts';
import { checkLeftOut, demandedLeftOut, type LeftOutTool, messagesTools, toolKind } from '../tool-table.ts';
import { clientTools } from './client-tools.ts';
import type { CountRequest } from './schema.ts';

type AskedTool = NonNullable<CountRequest['tools']>[number];
type TypedTool = Extract<AskedTool, { type: string }>;

export interface OfferedTools {
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  readonly leftOut: readonly LeftOutTool[];
}

/** Throws AppError `invalid_request` for tools and choices that cannot be carried. */
export function offeredTools({ tools: asked, tool_choice: choice }: CountRequest): OfferedTools {
  const tools: Tool[] = [];
  const leftOut: (LeftOutTool & { readonly name: unknown })[] = [];
  for (const [index, tool] of (asked ?? []).entries()) {
    const path = `tools.${index}`;
    const offered = isTyped(tool) ? typedTool(tool, path) : customTool(tool);
    if (offered) tools.push(offered);
    else if (isTyped(tool)) {
      const isUnknown = toolKind(messagesTools, tool.type) === undefined;
      leftOut.push({ type: tool.type, path, isUnknown, name: tool['name'] });
    }
  }
  checkLeftOut(leftOut, tools.length, choice?.type === 'none');
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
