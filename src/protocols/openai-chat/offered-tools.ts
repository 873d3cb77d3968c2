import type { Tool, ToolChoice } from '../../core/turn.ts';
import { customDescription, customParameters } from '../custom-tool.ts';
import { mustOffer, namedTool, requiredTool } from '../tool-choice.ts';
import type { ChatRequest } from './schema.ts';

type AskedTool = NonNullable<ChatRequest['tools']>[number];

export interface OfferedTools {
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  /** Tools that take plain text: their calls are written in another form. */
  readonly customTools: ReadonlySet<string>;
}

/** Throws AppError `invalid_request` for a choice that `tools` does not offer. */
export function offeredTools({ tools: asked, tool_choice: given }: ChatRequest): OfferedTools {
  const tools = (asked ?? []).map(toolOf);
  const customTools = new Set(
    (asked ?? []).flatMap((tool) => (tool.type === 'custom' ? [tool.custom.name] : [])),
  );
  const choice = given ?? 'auto';
  if (typeof choice === 'string') {
    const toolChoice: ToolChoice = choice === 'required' ? requiredTool(tools, choice) : { type: choice };
    return { tools, toolChoice, customTools };
  }
  if (choice.type !== 'allowed_tools') {
    return { tools, toolChoice: namedTool(tools, nameOf(choice)), customTools };
  }
  const { mode, tools: allowed } = choice.allowed_tools;
  const names = new Set(allowed.map(nameOf));
  for (const name of names) mustOffer(tools, name, 'tool_choice.allowed_tools.tools');
  return {
    tools: tools.filter((tool) => names.has(tool.name)),
    toolChoice: { type: mode === 'required' ? 'required' : 'auto' },
    customTools,
  };
}

function toolOf(asked: AskedTool): Tool {
  const { name } = asked.type === 'custom' ? asked.custom : asked.function;
  const description =
    asked.type === 'custom'
      ? customDescription(asked.custom.description, asked.custom.format?.grammar?.definition)
      : asked.function.description;
  return {
    name,
    ...(description ? { description } : {}),
    parameters:
      asked.type === 'custom'
        ? customParameters
        : (asked.function.parameters ?? { type: 'object', properties: {} }),
  };
}

function nameOf(
  named:
    | { readonly type: 'function'; readonly function: { readonly name: string } }
    | { readonly type: 'custom'; readonly custom: { readonly name: string } },
): string {
  return named.type === 'custom' ? named.custom.name : named.function.name;
}
