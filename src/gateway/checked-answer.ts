import type { CollectedTurn } from '../core/protocol.ts';
import type { AskedMessage, AskedRequest, TurnEvent } from '../core/turn.ts';
import type { Attempt, TurnOutput } from './attempt.ts';

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

/** Holds an answer that no client has seen yet. */
export class BufferedOutput implements TurnOutput {
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
}

/** An answer as a stream that brings each kind of content in one piece. */
export function eventsOf({
  text,
  reasoning,
  reasoningProof: proof,
  toolCalls,
  usage,
  finishReason,
  stopSequence,
}: CollectedTurn): TurnEvent[] {
  const events: TurnEvent[] = [];
  if (reasoning !== '') events.push({ type: 'reasoning-delta', text: reasoning });
  if (proof) events.push({ type: 'reasoning-proof', proof });
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

/** The verdict of all checks on an answer that came to its end. Throws AppError. */
export async function judge(checks: readonly AnswerCheck[], answer: CollectedTurn): Promise<Verdict> {
  // One that was cut at a limit is known to be no whole one.
  if (answer.finishReason === 'length' || answer.finishReason === 'content-filter') return {};
  let text: string | undefined;
  for (const check of checks) {
    const verdict = await check.judge(answer);
    if (verdict.fault) return verdict;
    text = verdict.text ?? text;
  }
  return text === undefined ? {} : { text };
}

/** The answer as the model gave it, and what is wrong. Calls it made all the same were not carried out. */
export function sentBack({ text, toolCalls }: CollectedTurn, { mend }: Fault): AskedMessage[] {
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
