// A model that does what it is told: it calls the demanded tool, answers in the demanded JSON, repeats the demanded
// word. It only ever reads what a real one would be shown: rules, tools, history and query.
import { cutText } from './answer.ts';
import { demandedCalls, type OfferedTool } from './obedient-calls.ts';
import { obedientText, type Shown } from './obedient-text.ts';
import { calls, completeUnlessCalls, type Script, text, thought } from './script.ts';
import { fromStruct } from './struct.ts';
import type { Turn } from './turn.ts';

export const obedient: Script = completeUnlessCalls((turn) => play(turn, false));

/** The same, but it calls a tool that the request is about without being told to, as real models do. */
export const eager: Script = completeUnlessCalls((turn) => play(turn, true));

function* play(turn: Turn, isEager: boolean) {
  const shown = shownTo(turn);
  if (turn.wantsReasoning && /\bthink\b|\bstep by step\b/i.test(shown.request)) {
    yield* thought(turn, cutText(`The user asks: ${shown.request} I shall do as I am told.`, 4));
  }
  const isParallel = turn.request.settings?.supportsParallelToolCalls ?? false;
  const demanded = demandedCalls(offeredTo(turn), shown, { isEager, isParallel });
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

function offeredTo(turn: Turn): OfferedTool[] {
  return (turn.request.mcpContext?.servers ?? []).flatMap((server) =>
    (server.tools ?? []).map((tool) => ({ name: tool.name ?? '', schema: fromStruct(tool.inputSchema) })),
  );
}
