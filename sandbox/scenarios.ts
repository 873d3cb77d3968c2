// The list of scenarios, and which one a request gets.
import { bulk, huge, maximumChunks } from './bulk.ts';
import { endScenarios } from './end-scenarios.ts';
import {
  accountRefusal,
  early,
  earlyEnd,
  endless,
  garbage,
  invalidKey,
  late,
  lateEnd,
  maxTokens,
  only,
  outOfCredits,
  refusal,
} from './faults.ts';
import { eager, obedient } from './obedient.ts';
import { keyRefusalScenarios, refusalScenarios } from './refusal-scenarios.ts';
import {
  errorAfterText,
  errorAtOnce,
  type PlayableScenario,
  plainName,
  type Scenario,
  scenario,
  theAnswer,
} from './scenario.ts';
import * as shapes from './shapes.ts';
import { toolScenarios } from './tool-scenarios.ts';
import { transportScenarios } from './transport-scenarios.ts';

const internalError = { internalError: { message: 'sandbox: internal error' } };

const list: readonly PlayableScenario[] = [
  scenario(plainName, 'the answer in up to six pieces, unquoted payloads', theAnswer, shapes.plain),
  scenario(
    'reasoning',
    'reasoning in pieces, its duration, then the answer',
    'reasoning, then the answer',
    shapes.reasoning,
  ),
  scenario(
    'two-messages',
    '`First message.` and the answer as two agent messages',
    'both, a blank line between',
    shapes.twoMessages,
  ),
  scenario(
    'update',
    'the answer as ever longer replacements (update_task_message)',
    theAnswer,
    shapes.update,
  ),
  scenario(
    'unicode',
    'one code point per piece: emoji, combining marks, right-to-left',
    'the same characters',
    shapes.unicode,
  ),
  scenario(
    'obedient',
    'what rules and query demand: tool calls, JSON, a word; else the answer',
    'the same',
    obedient,
  ),
  scenario('eager', 'as obedient; a query about a tool is answered by calling it', 'the same', eager),
  scenario('nothing', 'a good end without any text', 'an empty answer', shapes.nothing),
  scenario(
    'lingering',
    'the answer and its end mark, and then the connection stays open',
    'the answer, at once',
    shapes.lingering,
  ),
  scenario('echo', 'the query alone, as it arrived', 'the same text', shapes.echo),
  scenario(
    'transaction',
    '`This is taken back.` rolled back, then the answer in a committed transaction',
    'ends with the answer; a stream may have shown the first text already',
    shapes.transaction,
  ),
  scenario(
    'subtask',
    'a sub-agent writes in a task of its own and finishes, then the answer',
    'only the answer',
    shapes.subtask(false),
  ),
  scenario(
    'subtask-open',
    'as subtask, but the sub-agent is still at work at the end',
    'only the answer',
    shapes.subtask(true),
  ),
  scenario(
    'extras',
    'todos, model_used, server events, descriptions, suggestions, then the answer',
    'only the answer',
    shapes.extras,
  ),
  scenario(
    'unknown-actions',
    'unknown actions, messages and fields around the answer',
    'only the answer',
    shapes.unknownActions,
  ),
  scenario(
    'no-usage',
    'the answer, and an end without any usage',
    'the answer; usage is estimated',
    shapes.noUsage,
  ),
  scenario(
    'move',
    '`Before the move.`, messages moved into a task of their own, a summary in their place, then the answer',
    'both texts, a blank line between, and no summary',
    shapes.move,
  ),
  scenario(
    'refresh-models',
    'the answer, and an end that says the list of models has changed',
    'the answer; the list is asked for anew',
    shapes.refreshModels,
  ),

  scenario('unquoted', 'payloads as they are', theAnswer, 'unquoted'),
  scenario('quoted', 'payloads in double quotes', theAnswer, 'quoted'),
  scenario('crlf', 'lines end with CR LF', theAnswer, 'crlf'),
  scenario('comments', 'comments, event:, id: and retry: lines, no space after data:', theAnswer, 'comments'),
  scenario('split', 'every byte in a write of its own', theAnswer, 'split'),
  scenario('multiline', 'the whole stream at the end, cut at odd borders', theAnswer, 'multiline'),

  scenario('slow', 'nothing for 3 s, then the plain answer', `${theAnswer} after 3 s`, shapes.slow),
  scenario('drip', '`tick 1 ` to `tick 50 `, one every 200 ms', 'the ticks as they come', shapes.drip),
  scenario('burst', '200 chunks at once, made ahead of time; `burst-N` for N chunks', 'every chunk', bulk()),
  scenario('paced', '200 chunks, one every 5 ms; `paced-N` for N chunks', 'every chunk', bulk(5)),
  scenario('huge', '8 MiB of numbered lines in 128 pieces', 'every line', huge),

  scenario('error', 'partial text, then internal_error', errorAfterText, lateEnd(internalError)),
  scenario('error-early', 'init, then internal_error', errorAtOnce, earlyEnd(internalError)),
  scenario(
    'unavailable',
    'init, then llm_unavailable',
    'model unavailable, before any content',
    earlyEnd({ llmUnavailable: {} }),
  ),
  scenario('other', 'init, then the reason other', errorAtOnce, earlyEnd({ other: {} })),
  scenario(
    'quota',
    'init, then quota_limit; the usage query still shows credits',
    'quota exhausted, before any content',
    earlyEnd({ quotaLimit: {} }),
  ),
  scenario('quota-late', 'partial text, then quota_limit', errorAfterText, lateEnd({ quotaLimit: {} })),
  scenario(
    'max-tokens',
    'partial text, then max_token_limit',
    'the partial text, finished for length',
    maxTokens,
  ),
  scenario(
    'context',
    'init, then context_window_exceeded',
    'context too long',
    earlyEnd({ contextWindowExceeded: {} }),
  ),
  scenario('invalid-key', 'init, then invalid_api_key', 'upstream key refused', invalidKey),

  scenario('cut', 'partial text, then the connection breaks', errorAfterText, late({ kind: 'destroy' })),
  scenario('cut-early', 'init, then the connection breaks', errorAtOnce, early({ kind: 'destroy' })),
  scenario('eof', 'partial text, then a clean end without StreamFinished', errorAfterText, late()),
  scenario('eof-early', 'init, then a clean end', errorAtOnce, early()),
  scenario('empty', '200 and a clean end, no event', errorAtOnce, only()),
  scenario(
    'stall',
    'partial text, then silence',
    `${errorAfterText}, at the idle timeout`,
    late({ kind: 'silence' }),
  ),
  scenario(
    'silent',
    'headers, then silence',
    `${errorAtOnce}, at the timeout`,
    only({ kind: 'headers' }, { kind: 'silence' }),
  ),
  scenario('hang', 'nothing at all', `${errorAtOnce}, at the timeout`, only({ kind: 'silence' })),
  scenario('endless', 'partial text, then a line of 48 MiB that does not end', errorAfterText, endless),
  scenario(
    'garbage',
    'partial text, bytes that are no ResponseEvent, then done',
    errorAfterText,
    garbage('____'),
  ),
  scenario(
    'garbage-base64',
    'partial text, a payload that is no base64, then done',
    errorAfterText,
    garbage('%%% not base64 %%%'),
  ),

  scenario(
    '429',
    '429 with Retry-After: 2',
    'rate limited',
    refusal(429, 'sandbox: too many requests', { 'retry-after': '2' }),
  ),
  scenario(
    'out-of-credits',
    '429 with X-Warp-Error-Code: OUT_OF_CREDITS; the usage query still shows credits',
    'quota exhausted',
    outOfCredits,
  ),
  scenario('400', '400', 'invalid request', refusal(400, 'sandbox: this model is not in the plan')),
  scenario('401', '401 on chat only', 'upstream key refused', refusal(401, 'sandbox: unauthorized')),
  scenario('402', '402', 'upstream refused', accountRefusal(402, 'sandbox: payment required')),
  scenario('403', '403 on chat only', 'upstream refused', accountRefusal(403, 'sandbox: forbidden')),
  scenario('404', '404', 'invalid request', refusal(404, 'sandbox: not found')),
  scenario('500', '500', 'upstream unavailable', refusal(500, 'sandbox: internal server error')),
  scenario('503', '503', 'upstream unavailable', refusal(503, 'sandbox: service unavailable')),
  scenario(
    'html',
    '200 with text/html',
    'an upstream error',
    refusal(200, '<!doctype html><title>Sandbox</title><p>Please log in.', {
      'content-type': 'text/html; charset=utf-8',
    }),
  ),
  ...toolScenarios,
  ...endScenarios,
  ...refusalScenarios,
  ...transportScenarios,
];

const keyList: readonly PlayableScenario[] = [
  scenario(
    'spent',
    'chat: 429 OUT_OF_CREDITS; usage: nothing left, refreshed in 3 days',
    'quota exhausted until the reset',
    outOfCredits,
  ),
  {
    ...scenario(
      'revoked',
      '401 on every path',
      'upstream key refused',
      refusal(401, 'sandbox: this key was revoked'),
    ),
    refusesEverything: true,
  },
  {
    ...scenario(
      'refused',
      '403 on every path',
      'upstream refused',
      accountRefusal(403, 'sandbox: this account is disabled'),
    ),
    refusesEverything: true,
  },
  ...keyRefusalScenarios,
].map((entry) => Object.assign(entry, { model: '' }));

const byName = new Map(list.map((entry) => [entry.name, entry]));
const byKeyName = new Map([...list, ...keyList].map((entry) => [entry.name, entry]));
const describe = ({ name, model, description, clientSees }: Scenario) => ({
  name,
  model,
  description,
  clientSees,
});

/** The scenarios a model id, or a key, can choose. */
export const scenarios: readonly Scenario[] = list.map(describe);

/** The scenarios only a key can choose; their model is empty. */
export const keyScenarios: readonly Scenario[] = keyList.map(describe);

export const outOfCreditsScenario: PlayableScenario = found(byKeyName, 'spent');
const plainScenario = found(byName, plainName);

export interface Choice {
  scenario: PlayableScenario;
  /** The N of `burst-N` and `paced-N`. */
  size: number | undefined;
}

/** The scenario called `name`, for keys: key-only ones included. Undefined for a name there is none of. */
export function scenarioForKey(name: string | undefined): Choice | undefined {
  return name === undefined ? undefined : lookUp(byKeyName, name);
}

/** Plain for every model the sandbox does not know. */
export function scenarioForModel(model: string): Choice {
  const name = model.startsWith('sandbox-') ? model.slice('sandbox-'.length) : plainName;
  return lookUp(byName, name) ?? { scenario: plainScenario, size: undefined };
}

function lookUp(names: ReadonlyMap<string, PlayableScenario>, name: string): Choice | undefined {
  const [, sizedName, digits] = /^(burst|paced)-(\d{1,6})$/.exec(name) ?? [];
  const size = Number(digits);
  const isSized = sizedName !== undefined && size >= 1 && size <= maximumChunks;
  const entry = names.get(isSized ? sizedName : name);
  return entry && { scenario: entry, size: isSized ? size : undefined };
}

function found(names: ReadonlyMap<string, PlayableScenario>, name: string): PlayableScenario {
  const entry = names.get(name);
  if (!entry) throw new Error(`no scenario ${name}`);
  return entry;
}
