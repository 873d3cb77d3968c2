import { AppError } from '../core/errors.ts';
import type { CollectedTurn } from '../core/protocol.ts';
import type { AskedMessage, AskedRequest, TurnEvent } from '../core/turn.ts';
import type { Attempt, TurnOutput } from './attempt.ts';
import { createCallCheck } from './call-check.ts';
import type { ClientTurn } from './client-turns.ts';
import { createJsonCheck } from './json-check.ts';
import { runTurn, type TurnDependencies, type TurnResult } from './run-turn.ts';
import { sumUsage } from './usage.ts';

/** Something the client wants of the answer as a whole, which the upstream cannot be made to keep. */
export interface AnswerCheck {
  /** What of the client's wish is not checked, as paths. */
  readonly unchecked?: readonly string[];
  /** The request with what the model has to be told. */
  instruct(request: AskedRequest): AskedRequest;
  /** Judges an answer that came to its own end. Throws AppError when that cannot be done. */
  judge(answer: CollectedTurn): Promise<Verdict>;
}

export interface Verdict {
  readonly fault?: Fault;
  /** What the client gets in place of the answer's text. */
  readonly text?: string;
}

export interface Fault {
  /** What the model is told to do better. */
  readonly mend: string;
  /** What the client is told when it did not. */
  readonly error: string;
}

/**
 * Carries a turn. An answer that has to be JSON, or to call a tool, is held until it is whole and looked at before the
 * client sees any of it. One that is not as asked is sent back once, with what is wrong; the second time it is an error.
 */
export async function runCheckedTurn(
  dependencies: TurnDependencies,
  turn: ClientTurn,
  output: TurnOutput,
): Promise<TurnResult> {
  const asked = turn.decoded.request;
  const checks = [
    createCallCheck(asked.toolChoice),
    createJsonCheck(asked.responseFormat, dependencies.schemas, turn.clientId),
  ].filter((check) => check !== undefined);
  if (checks.length === 0) return runTurn(dependencies, turn, output);
  const unchecked = checks.flatMap((check) => check.unchecked ?? []);
  const request = checks.reduce((instructed, check) => check.instruct(instructed), asked);

  const first = new BufferedOutput(output);
  const result = await runTurn(dependencies, turn, first, request, unchecked);
  if (!first.answer) return first.failWith(result, result.error);
  const verdict = await judge(checks, first.answer);
  if (verdict instanceof AppError) return first.failWith(result, verdict);
  if (verdict.fault === undefined) {
    first.passOn({ ...first.answer, text: verdict.text ?? first.answer.text });
    return result;
  }

  dependencies.logger.info(
    { request_id: turn.requestId, fault: verdict.fault.error },
    'the answer is not as asked; the model is told to mend it',
  );
  const second = new BufferedOutput(output);
  const messages = [...request.messages, ...sentBack(first.answer, verdict.fault)];
  const mended = await runTurn(dependencies, turn, second, { ...request, messages }, unchecked);
  const both: TurnResult = {
    ...mended,
    usage: sumUsage(result.usage, mended.usage),
    attempts: result.attempts + mended.attempts,
  };
  if (!second.answer) return second.failWith(both, mended.error);
  const lasting = await judge(checks, second.answer);
  if (lasting instanceof AppError) return second.failWith(both, lasting);
  if (lasting.fault) return second.failWith(both, new AppError('upstream_protocol', lasting.fault.error));
  second.passOn({
    ...second.answer,
    text: lasting.text ?? second.answer.text,
    usage: sumUsage(first.answer.usage, second.answer.usage),
  });
  return both;
}

/** Holds an answer that no client has seen yet. */
class BufferedOutput implements TurnOutput {
  readonly isBuffered = true;
  readonly #output: TurnOutput;
  answer: CollectedTurn | undefined;

  constructor(output: TurnOutput) {
    this.#output = output;
  }

  get status(): number {
    return this.#output.status;
  }
  begin(attempt: Attempt): void {
    this.#output.begin(attempt);
  }
  write(): undefined {}
  finish(answer: CollectedTurn): void {
    this.answer = answer;
  }
  fail(): void {}

  passOn(answer: CollectedTurn): void {
    this.#output.finish(answer, eventsOf(answer));
  }
  /** The client has left where the error says so, and gets nothing. */
  failWith(result: TurnResult, error: AppError | undefined): TurnResult {
    if (error && error.code !== 'cancelled') this.#output.fail(error, [{ type: 'error', error }]);
    return { ...result, error };
  }
}

/** An answer as a stream that brings each kind of content in one piece. */
function eventsOf({
  text,
  reasoning,
  toolCalls,
  usage,
  finishReason,
  stopSequence,
}: CollectedTurn): TurnEvent[] {
  const events: TurnEvent[] = [];
  if (reasoning !== '') events.push({ type: 'reasoning-delta', text: reasoning });
  if (text !== '') events.push({ type: 'text-delta', text });
  for (const [index, { id, name, arguments: given }] of toolCalls.entries()) {
    events.push({ type: 'tool-call-start', index, id, name });
    events.push({ type: 'tool-call-delta', index, arguments: given });
    events.push({ type: 'tool-call-end', index });
  }
  if (usage) events.push({ type: 'usage', usage });
  events.push({
    type: 'finish',
    reason: finishReason,
    ...(stopSequence === undefined ? {} : { stopSequence }),
  });
  return events;
}

async function judge(checks: readonly AnswerCheck[], answer: CollectedTurn): Promise<Verdict | AppError> {
  // One that was cut at a limit is known to be no whole one.
  if (answer.finishReason === 'length' || answer.finishReason === 'content-filter') return {};
  try {
    let text: string | undefined;
    for (const check of checks) {
      const verdict = await check.judge(answer);
      if (verdict.fault) return verdict;
      text = verdict.text ?? text;
    }
    return text === undefined ? {} : { text };
  } catch (error) {
    return AppError.from(error);
  }
}

/** The answer as the model gave it, and what is wrong. Calls it made all the same were not carried out. */
function sentBack({ text, toolCalls }: CollectedTurn, { mend }: Fault): AskedMessage[] {
  return [
    {
      role: 'assistant',
      parts: [
        ...(text === '' ? [] : [{ type: 'text' as const, text }]),
        ...toolCalls.map((call) => ({ type: 'tool-call' as const, ...call })),
      ],
    },
    ...(toolCalls.length === 0
      ? []
      : [
          {
            role: 'tool' as const,
            parts: toolCalls.map(({ id }) => ({
              type: 'tool-result' as const,
              callId: id,
              text: 'This call was not carried out.',
              isError: true,
            })),
          },
        ]),
    { role: 'user', parts: [{ type: 'text', text: mend }] },
  ];
}
