import { createParser, type EventSourceParser } from 'eventsource-parser';
import type { AppError } from '../../core/errors.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { maxAnswerBytes, maxEventBytes, tooLong } from './failed-answer.ts';

/** A streamed answer on its way through a decoder: server-sent events in, turn events out, until the first that ends the turn. */
export class AnswerStream {
  #events: TurnEvent[] = [];
  #bytes = 0;
  #isOver = false;
  readonly #maxBytes: number;
  readonly #parser: EventSourceParser;

  /** `read` gets the data of each event. `extraBytes`: the upstream may send that much beyond the usual limits. */
  constructor(read: (data: string) => void, extraBytes = 0) {
    this.#maxBytes = maxAnswerBytes + extraBytes;
    this.#parser = createParser({
      maxBufferSize: maxEventBytes + extraBytes,
      onEvent: ({ data }) => {
        if (!this.#isOver) read(data);
      },
      onError: ({ type }) => {
        if (type === 'max-buffer-size-exceeded') this.fail(tooLong());
      },
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** `size`: how many bytes of the answer the text was. What comes after the end is not read. */
  feed(text: string, size: number): void {
    if (this.#isOver) return;
    this.#bytes += size;
    if (this.#bytes > this.#maxBytes) this.fail(tooLong());
    else this.#parser.feed(text);
  }

  add(event: TurnEvent): void {
    this.#events.push(event);
    if (event.type === 'finish' || event.type === 'error') this.#isOver = true;
  }

  fail(error: AppError): void {
    if (!this.#isOver) this.add({ type: 'error', error });
  }

  /** The events since the last call. */
  take(): readonly TurnEvent[] {
    const taken = this.#events;
    this.#events = [];
    return taken;
  }
}
