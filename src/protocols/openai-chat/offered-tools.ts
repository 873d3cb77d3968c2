import type { Tool, ToolChoice } from '../../core/turn.ts';
import {
  chatTools,
  checkLeftOut,
  customDescription,
  customParameters,
  type LeftOutTool,
  leftOutNames,
  mustOffer,
  namedTool,
  requiredTool,
  toolKind,
  toolOf,
} from '../shared/tools.ts';
import type { ChatRequest } from './schema.ts';

type AskedTool = NonNullable<ChatRequest['tools']>[number];
type CustomTool = Extract<AskedTool, { type: 'custom' }>;
type FunctionTool = Extract<AskedTool, { type: 'function' }>;

export interface OfferedTools {
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  /** Tools that take plain text: their calls are written in another form. */
  readonly customTools: ReadonlySet<string>;
  /** Tools that are not offered to the upstream. */
  readonly ignored: readonly string[];
}

/** Throws AppError `invalid_request` for tools and choices that cannot be carried. */
export function offeredTools({ tools: asked, tool_choice: given }: ChatRequest): OfferedTools {
  const tools: Tool[] = [];
  const customTools = new Set<string>();
  const leftOut: LeftOutTool[] = [];
  for (const [index, tool] of (asked ?? []).entries()) {
    if (isFunction(tool)) {
      const { name, description, parameters } = tool.function;
      tools.push(toolOf(name, description, parameters, tool.function));
    } else if (isCustom(tool)) {
      const { name, description, format } = tool.custom;
      tools.push(toolOf(name, customDescription(description, format?.grammar?.definition), customParameters));
      customTools.add(name);
    } else {
      const isUnknown = toolKind(chatTools, tool.type) === undefined;
      leftOut.push({ type: tool.type, path: `tools.${index}.type`, isUnknown });
    }
  }
  checkLeftOut(leftOut, tools.length, given === 'none');
  return { ...chosenOf(given ?? 'auto', tools), customTools, ignored: leftOutNames(leftOut) };
}

function chosenOf(
  choice: NonNullable<ChatRequest['tool_choice']>,
  tools: readonly Tool[],
): Pick<OfferedTools, 'tools' | 'toolChoice'> {
  if (typeof choice === 'string') {
    return { tools, toolChoice: choice === 'required' ? requiredTool(tools, choice) : { type: choice } };
  }
  if (choice.type !== 'allowed_tools') return { tools, toolChoice: namedTool(tools, nameOf(choice)) };
  const { mode, tools: allowed } = choice.allowed_tools;
  const names = new Set(allowed.map(nameOf));
  for (const name of names) mustOffer(tools, name, 'tool_choice.allowed_tools.tools');
  return {
    tools: tools.filter((tool) => names.has(tool.name)),
    toolChoice: { type: mode === 'required' ? 'required' : 'auto' },
  };
}

function isFunction(tool: AskedTool): tool is FunctionTool {
  return tool.type === 'function';
}
function isCustom(tool: AskedTool): tool is CustomTool {
  return tool.type === 'custom';
}

function nameOf(
  named:
    | { readonly type: 'function'; readonly function: { readonly name: string } }
    | { readonly type: 'custom'; readonly custom: { readonly name: string } },
): string {
  return named.type === 'custom' ? named.custom.name : named.function.name;
}
