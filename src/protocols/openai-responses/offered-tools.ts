import type { Tool } from '../../core/turn.ts';
import { customDescription, customParameters } from '../custom-tool.ts';
import { refused } from '../refused.ts';
import type { ResponsesRequest } from './schema.ts';

type AskedTool = NonNullable<ResponsesRequest['tools']>[number];

/** How a call of an offered tool is written in this dialect. */
export interface ToolForm {
  readonly kind: 'function' | 'custom';
  readonly name: string;
  readonly namespace?: string;
}

export interface OfferedTools {
  readonly offered: readonly Tool[];
  /** By the name the upstream knows it under. */
  readonly forms: ReadonlyMap<string, ToolForm>;
  /** Tools that only their provider could run. */
  readonly ignored: readonly string[];
}

/** Functions as they are; namespaces flattened, since other dialects have none; custom tools as functions of one text. */
export function offeredTools(asked: readonly AskedTool[]): OfferedTools {
  const offered: Tool[] = [];
  const forms = new Map<string, ToolForm>();
  const ignored: string[] = [];

  const offer = (tool: AskedTool, namespace?: string): void => {
    if (isNamespace(tool)) {
      for (const inner of tool.tools) offer(inner, tool.name);
    } else if (isFunction(tool) || isCustom(tool)) {
      const name = upstreamName(tool.name, namespace);
      const kind = isFunction(tool) ? 'function' : 'custom';
      const description = isFunction(tool)
        ? tool.description
        : customDescription(tool.description, tool.format?.definition);
      forms.set(name, { kind, name: tool.name, ...(namespace === undefined ? {} : { namespace }) });
      offered.push({
        name,
        ...(description ? { description } : {}),
        parameters: isFunction(tool)
          ? (tool.parameters ?? { type: 'object', properties: {} })
          : customParameters,
      });
    } else ignored.push(`tools.${tool.type}`);
  };
  for (const tool of asked) offer(tool);
  return { offered, forms, ignored };
}

/** What of the offer may be used: all of it, unless the choice names some. Throws AppError `invalid_request`. */
export function allowedTools(
  choice: ResponsesRequest['tool_choice'],
  { offered, forms }: OfferedTools,
): readonly Tool[] {
  if (typeof choice !== 'object' || choice?.type !== 'allowed_tools') return offered;
  const allowed = new Set<string>();
  for (const [index, { type, name }] of choice.tools.entries()) {
    const isNamed = (tool: Tool) => tool.name === name || forms.get(tool.name)?.name === name;
    const found = offered.filter(isNamed);
    if (found.length === 0) {
      const reason = `"${name ?? type}" is not among the tools that can be used here`;
      throw refused(`tool_choice.tools.${index}`, reason);
    }
    for (const tool of found) allowed.add(tool.name);
  }
  return offered.filter((tool) => allowed.has(tool.name));
}

/** The one name of a function of a namespace. */
export function upstreamName(name: string, namespace: string | null | undefined): string {
  return namespace ? `${namespace}__${name}` : name;
}

function isFunction(tool: AskedTool): tool is Extract<AskedTool, { type: 'function' }> {
  return tool.type === 'function';
}
function isCustom(tool: AskedTool): tool is Extract<AskedTool, { type: 'custom' }> {
  return tool.type === 'custom';
}
function isNamespace(tool: AskedTool): tool is Extract<AskedTool, { type: 'namespace' }> {
  return tool.type === 'namespace';
}
