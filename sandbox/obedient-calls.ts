// Which tools an obedient model calls, and with what.
import { exampleOf } from './example-value.ts';
import type { Shown } from './obedient-text.ts';
import type { JsonObject } from './struct.ts';

export interface OfferedTool {
  readonly name: string;
  readonly schema: JsonObject;
}

interface Demand {
  /** It calls a tool that the request is about without being told to. */
  readonly isEager?: boolean;
  /** The request's own field says that a tool has to be called. */
  readonly isForced?: boolean;
  readonly isParallel: boolean;
}

/** The calls that rules or request demand; one alone where the client takes no more at a time. */
export function demandedCalls(
  tools: readonly OfferedTool[],
  shown: Shown,
  { isEager = false, isForced = false, isParallel }: Demand,
): { name: string; args: JsonObject }[] {
  const order = sentences(shown.rules).findLast(
    (sentence) => /\bcall/i.test(sentence) && /\b(must|this turn|has to|have to|required)\b/i.test(sentence),
  );
  const isOrdered = isForced || order !== undefined;
  const named = tools.filter((tool) => order !== undefined && mentions(order, tool.name));
  const wished = tools.filter((tool) => isAskedFor(tool.name, shown.request));
  const related = tools.filter((tool) => isAbout(tool.name, shown.request));
  const chosen = [named, !isOrdered && !isEager ? wished : [...new Set([...wished, ...related])]].find(
    (list) => list.length > 0,
  );
  const list = chosen ?? (isOrdered ? tools.slice(0, 1) : []);
  return list.slice(0, isParallel ? list.length : 1).map(({ name, schema }) => {
    const example = exampleOf(schema, shown.request);
    const isObject = typeof example === 'object' && example !== null && !Array.isArray(example);
    return { name, args: isObject ? example : {} };
  });
}

const sentences = (text: string): string[] => text.split(/(?<=[.!?])\s+|\n{2,}/);

/** `use get_weather`, `call the tool get_weather`. */
function isAskedFor(name: string, request: string): boolean {
  return sentences(request).some(
    (sentence) => /\b(call|use|run)\b/i.test(sentence) && mentions(sentence, name),
  );
}

function mentions(text: string, name: string): boolean {
  return text.match(/[\w-]+/g)?.includes(name) ?? false;
}

/** Whether the request shares a word with the tool's name: `get_weather` and "What's the weather?". */
function isAbout(name: string, request: string): boolean {
  const words = new Set(request.toLowerCase().match(/[a-z]+/g));
  return name
    .replaceAll(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z]+/)
    .some((word) => word.length > 3 && words.has(word));
}
