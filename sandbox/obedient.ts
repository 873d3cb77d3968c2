// A model that does what it is told: it calls the demanded tool, answers in the demanded JSON, repeats the demanded
// word. It only ever reads what a real one would be shown: rules, tools, history and query.
import { cutText } from './answer.ts';
import { exampleOf } from './example-value.ts';
import { obedientText, type Shown } from './obedient-text.ts';
import { calls, completeUnlessCalls, type Script, text, thought } from './script.ts';
import { fromStruct, type JsonObject } from './struct.ts';
import type { Turn } from './turn.ts';

export const obedient: Script = completeUnlessCalls((turn) => play(turn, false));

/** The same, but it calls a tool that the request is about without being told to, as real models do. */
export const eager: Script = completeUnlessCalls((turn) => play(turn, true));

function* play(turn: Turn, isEager: boolean) {
  const shown = shownTo(turn);
  if (turn.wantsReasoning && /\bthink\b|\bstep by step\b/i.test(shown.request)) {
    yield* thought(turn, cutText(`The user asks: ${shown.request} I shall do as I am told.`, 4));
  }
  const demanded = demandedCalls(turn, shown, isEager);
  if (demanded.length > 0) yield* calls(turn, demanded);
  else yield* text(turn, cutText(obedientText(shown), 6));
}

function shownTo(turn: Turn): Shown {
  const { query, request } = turn;
  const files = (request.input?.context?.projectRules ?? []).flatMap((rules) => rules.activeRuleFiles ?? []);
  const { told, request: asked } = splitQuery(query);
  const messages = (request.taskContext?.tasks ?? []).flatMap((task) => task.messages ?? []);
  const said = messages.map(({ userQuery, agentOutput }) => userQuery?.query ?? agentOutput?.text ?? '');
  return {
    rules: files.map((file) => file.content ?? '').join('\n\n'),
    request: asked,
    earlier: [...said, ...told].join('\n').trim(),
    results: turn.results.map((result) => result.text),
  };
}

/** A client whose conversation is not known here tells it first, one JSON record with a role a line, and then asks. */
function splitQuery(query: string): { told: string[]; request: string } {
  const lines = query.split('\n');
  const texts = lines.map(textOfRecord);
  const first = texts.findIndex((text) => text !== undefined);
  if (first === -1) return { told: [], request: query.trim() };
  const count = texts.slice(first).indexOf(undefined);
  const end = count === -1 ? lines.length : first + count;
  return {
    told: texts.slice(first, end).filter((text) => text !== undefined),
    request: lines.slice(end).join('\n').trim(),
  };
}

/** The text of a record; undefined for other lines. */
function textOfRecord(line: string): string | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const record = JSON.parse(line) as { role?: unknown; text?: unknown };
    if (typeof record.role !== 'string') return undefined;
    return typeof record.text === 'string' ? record.text : '';
  } catch {
    return undefined;
  }
}

interface OfferedTool {
  readonly name: string;
  readonly schema: JsonObject;
}

function offeredTo(turn: Turn): OfferedTool[] {
  return (turn.request.mcpContext?.servers ?? []).flatMap((server) =>
    (server.tools ?? []).map((tool) => ({ name: tool.name ?? '', schema: fromStruct(tool.inputSchema) })),
  );
}

/** The calls that rules or request demand; one alone where the client takes no more at a time. */
function demandedCalls(turn: Turn, shown: Shown, isEager: boolean): { name: string; args: JsonObject }[] {
  const tools = offeredTo(turn);
  const order = sentences(shown.rules).findLast(
    (sentence) => /\bcall/i.test(sentence) && /\b(must|this turn|has to|have to|required)\b/i.test(sentence),
  );
  const named = tools.filter((tool) => order !== undefined && mentions(order, tool.name));
  const wished = tools.filter((tool) => isAskedFor(tool.name, shown.request));
  const related = tools.filter((tool) => isAbout(tool.name, shown.request));
  const isParallel = turn.request.settings?.supportsParallelToolCalls ?? false;
  const chosen = [
    named,
    order === undefined && !isEager ? wished : [...new Set([...wished, ...related])],
  ].find((list) => list.length > 0);
  const list = chosen ?? (order === undefined ? [] : tools.slice(0, 1));
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
