import { createParser, type EventSourceParser } from 'eventsource-parser';
import type { AppError } from '../../core/errors.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { Utf8Reader } from '../../lib/utf8-reader.ts';
import { maxAnswerBytes, maxEventBytes, mostCalls, noEnd, tooLong, tooManyCalls } from './failed-answer.ts';

/** A line that is no field of an event costs an error object: it counts like so many bytes. */
const oddLineBytes = 1_000;

/** A streamed answer on its way through a decoder: server-sent events in, turn events out, until the first that ends the turn. */
export class AnswerStream {
  #events: TurnEvent[] = [];
  #bytes = 0;
  #calls = 0;
  #isOver = false;
  readonly #maxBytes: number;
  readonly #parser: EventSourceParser;
  #utf8: Utf8Reader | undefined;

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
        else this.charge(oddLineBytes);
      },
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** One read of an answer in UTF-8, and what came of it. */
  push(bytes: Uint8Array): readonly TurnEvent[] {
    this.#utf8 ??= new Utf8Reader();
    this.feed(this.#utf8.read(bytes), bytes.length);
    return this.take();
  }

  /** No more bytes come. `unended`: what it means where no event has ended the turn; by default the answer was cut. */
  end(unended: () => void = () => this.fail(noEnd())): readonly TurnEvent[] {
    // The last event may lack its blank line.
    this.feed('\n\n', 0);
    if (!this.#isOver) unended();
    return this.take();
  }

  /** `size`: how many bytes of the answer the text was. What comes after the end is not read. */
  feed(text: string, size: number): void {
    if (this.#isOver) return;
    this.charge(size);
    if (!this.#isOver) this.#parser.feed(text);
  }

  /** What is made or gone over again of what came before counts like bytes of the answer, or its work grew with its square. */
  charge(size: number): void {
    this.#bytes += size;
    if (this.#bytes > this.#maxBytes) this.fail(tooLong());
  }

  add(event: TurnEvent): void {
    if (event.type === 'reasoning-proof') this.charge(event.proof.data.length);
    else if (event.type === 'tool-call-start') {
      this.#calls += 1;
      if (this.#calls > mostCalls) this.fail(tooManyCalls());
    }
    if (this.#isOver) return;
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
