import { createParser, type EventSourceParser } from 'eventsource-parser';
import type { AppError } from '../../core/errors.ts';
import type { TurnDecoder } from '../../core/protocol.ts';
import type { TurnEnd, TurnEvent } from '../../core/turn.ts';
import { parseJsonObject } from '../../lib/parse-json.ts';
import { Utf8Reader } from '../../lib/read-bytes.ts';
import { CallIds } from './calls.ts';
import { maxAnswerBytes, maxEventBytes, mostCalls, noEnd, tooLong, tooManyCalls } from './failed-answer.ts';

/** A line that is no field of an event costs an error object: it counts like so many bytes. */
const oddLineBytes = 1_000;
/** As much as is read of a failed response. */
const longestEarly = 64 * 1024;

/** A streamed answer on its way through a decoder: server-sent events in, turn events out, until the first that ends the turn. */
export class AnswerStream {
  #events: TurnEvent[] = [];
  #bytes = 0;
  #calls = 0;
  #isOver = false;
  readonly #maxBytes: number;
  readonly #parser: EventSourceParser;
  #utf8: Utf8Reader | undefined;
  /** What came before the first event. */
  early: string | undefined = '';

  /** `read` gets the data of each event. `extraBytes`: the upstream may send that much beyond the usual limits. */
  constructor(read: (data: string) => void, extraBytes = 0) {
    this.#maxBytes = maxAnswerBytes + extraBytes;
    this.#parser = createParser({
      maxBufferSize: maxEventBytes + extraBytes,
      onEvent: ({ data }) => {
        this.early = undefined;
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
    if (this.early !== undefined && this.early.length < longestEarly) this.early += text;
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

/** Of a stream. */
export function withoutComments(text: string): string {
  return text.replace(/^:.*/gm, '').trim();
}

/** What decoders of streamed answers have in common, for clients of another dialect. */
export abstract class AnswerDecoder implements TurnDecoder {
  protected readonly answer = new AnswerStream((data) => this.read(data));
  /** Calls that have begun. */
  protected calls = 0;
  readonly #toolNames: ReadonlyMap<string, string>;
  readonly #ids: CallIds;
  #isStarted = false;

  /** `idPrefix`: of ids that are made here. `toolNames`: the tools' own by those that were sent. */
  constructor(idPrefix: string, toolNames: ReadonlyMap<string, string> = new Map()) {
    this.#ids = new CallIds(idPrefix);
    this.#toolNames = toolNames;
  }

  /** Gets the data of each event until the turn has ended. */
  protected abstract read(data: string): void;

  /** The bytes ended, and no event has ended the turn. */
  protected atEnd(): void {
    this.answer.fail(noEnd());
  }

  push(bytes: Uint8Array): readonly TurnEvent[] {
    return this.answer.push(bytes);
  }

  end(): readonly TurnEvent[] {
    return this.answer.end(() => {
      // Servers that fail before they stream send an error that is plain JSON, and no event.
      const plain = withoutComments(this.answer.early ?? '');
      if (parseJsonObject(plain)?.['error']) this.read(plain);
      if (!this.answer.isOver) this.atEnd();
    });
  }

  memory(): undefined {}

  /** `id`: the answer's own. */
  protected start(id: unknown): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.answer.add({ type: 'start', ...(typeof id === 'string' && id !== '' && { upstreamRequestId: id }) });
  }

  /** The id of the next call, from the one that the upstream gave. */
  protected callId(given: string): string {
    return this.#ids.next(given);
  }

  /** `sent`: the name as the upstream knows it. Returns the call's index. */
  protected beginCall(id: string, sent: string): number {
    const index = this.calls;
    this.calls += 1;
    this.answer.add({ type: 'tool-call-start', index, id, name: this.#toolNames.get(sent) ?? sent });
    return index;
  }

  /** `isEmpty`: servers send no arguments for a call that has none. Clients parse them as JSON. */
  protected endCall(index: number, isEmpty: boolean): void {
    if (isEmpty) this.answer.add({ type: 'tool-call-delta', index, arguments: '{}' });
    this.answer.add({ type: 'tool-call-end', index });
  }

  /** Servers have one word for an answer that says something and one that calls. */
  protected finish(end: TurnEnd): void {
    const { reason, stopSequence } = end;
    const isCall = reason === 'stop' || reason === 'tool-calls';
    const ended = this.calls > 0 && stopSequence === undefined ? 'tool-calls' : 'stop';
    this.answer.add({ type: 'finish', ...end, reason: isCall ? ended : reason });
  }
}
