import type { AppError } from '../../core/errors.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import type { TurnEvent } from '../../core/turn.ts';
import type { Attempt } from './attempt.ts';

/** Where the answer to one turn goes. It ends with one `finish` or one `fail`, or with neither when the client has left. */
export interface TurnOutput {
  /** Nothing reaches the client before the end, so that an answer that broke off may be begun again. */
  readonly isBuffered: boolean;
  /** The HTTP status the client got, for the log. */
  readonly status: number;
  /** What comes from now on is this attempt's; what came before of a buffered answer is void. */
  begin(attempt: Attempt): void;
  /** A promise: the reader is behind, until it resolves. */
  write(events: readonly TurnEvent[]): Promise<void> | undefined;
  /** The whole answer, and the events of it that were not written yet, with the last one. */
  finish(answer: CollectedTurn, events: readonly TurnEvent[]): void;
  /** `events` ends with the error. */
  fail(error: AppError, events: readonly TurnEvent[]): void;
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

/** Holds a streamed answer until it is whole: one that breaks off is begun again, and the client does not notice. */
export class HeldOutput implements TurnOutput {
  readonly isBuffered = true;
  readonly #output: TurnOutput;
  #held: TurnEvent[] = [];

  constructor(output: TurnOutput) {
    this.#output = output;
  }

  get status(): number {
    return this.#output.status;
  }
  begin(attempt: Attempt): void {
    this.#held = [];
    this.#output.begin(attempt);
  }
  write(events: readonly TurnEvent[]): undefined {
    for (const event of events) this.#held.push(event);
  }
  finish(answer: CollectedTurn, events: readonly TurnEvent[]): void {
    this.#output.finish(answer, [...this.#held, ...events]);
  }
  fail(): void {}
}
