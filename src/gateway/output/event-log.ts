import { AppError } from '../../core/errors.ts';
import { serverSentEvent } from '../../protocols/openai-responses/encode-answer.ts';
import { HttpCarrier } from '../turn/running-turns.ts';
import { type HttpAnswerOptions, keepAliveEveryMs, streamHeaders } from './http-answer.ts';

/**
 * The events of one response while it is made and for a while after. Holds at most about `maxBytes`, and four times as much
 * while a client follows: the last events of an answer repeat all of it together, and a client as fast as any takes them one
 * after another. The oldest events go first.
 */
export class EventLog {
  readonly #maxBytes: number;
  /** What to call when something came, and the number of the event that each waits for. */
  readonly #watchers = new Map<() => void, () => number>();
  #texts: string[] = [];
  #first = 0;
  #bytes = 0;
  #rest: string | undefined;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isClosed(): boolean {
    return this.#rest !== undefined;
  }
  /** What stands behind the last event and is none. */
  get rest(): string {
    return this.#rest ?? '';
  }
  /** The number of the first event that is still there. */
  get first(): number {
    return this.#first;
  }
  /** The number the next event gets. */
  get next(): number {
    return this.#first + this.#texts.length;
  }

  at(index: number): string {
    return this.#texts[index - this.#first] ?? '';
  }

  append(text: string): void {
    this.#texts.push(text);
    this.#bytes += text.length;
    this.#drop();
    this.#notify();
  }

  /** Nothing comes any more. */
  close(rest = ''): void {
    this.#rest = rest;
    this.#notify();
  }

  /**
   * Calls `onChange` whenever something came, and at the end, until the returned function is called. `next` is the number of
   * the event the watcher waits for: what comes after stays, up to a limit.
   */
  watch(onChange: () => void, next: () => number = () => Number.POSITIVE_INFINITY): () => void {
    this.#watchers.set(onChange, next);
    return () => {
      this.#watchers.delete(onChange);
      this.#drop();
    };
  }

  #notify(): void {
    for (const watcher of [...this.#watchers.keys()]) watcher();
  }

  #drop(): void {
    if (this.#bytes <= this.#maxBytes) return;
    const waitedFor = [...this.#watchers.values()].map((next) => next());
    const isFull = this.#bytes > 4 * this.#maxBytes;
    const needed = isFull ? this.next : Math.min(this.next - 1, ...waitedFor);
    // Half of it together: to drop one event each time would move all others each time.
    let dropped = 0;
    while (
      this.#bytes > this.#maxBytes / 2 &&
      dropped < this.#texts.length - 1 &&
      this.#first + dropped < needed
    ) {
      this.#bytes -= this.#texts[dropped]?.length ?? 0;
      dropped += 1;
    }
    if (dropped === 0) return;
    this.#texts = this.#texts.slice(dropped);
    this.#first += dropped;
  }
}

/** Bytes that are written together. */
const mostAtOnce = 64 * 1024;

/** Writes the events of a response from one on as they come, as fast as the client reads. */
export class FollowedEvents extends HttpCarrier {
  readonly #log: EventLog;
  readonly #unwatch: () => void;
  #next: number;
  #isWaiting = false;
  readonly #now: () => number;
  readonly #keepAlive: string;
  #lastWriteAt: number;

  constructor(
    { now, ...by }: Pick<HttpAnswerOptions<never>, 'running' | 'clientId' | 'response' | 'now'>,
    log: EventLog,
    from: number,
    headers: Readonly<Record<string, string>>,
    keepAlive = ': keep-alive\n\n',
  ) {
    super(by, true, now());
    this.#log = log;
    this.#next = from;
    this.#now = now;
    this.#keepAlive = keepAlive;
    this.#lastWriteAt = now();
    const { response } = by;
    response.writeHead(200, { ...headers, ...streamHeaders });
    response.on('drain', () => {
      this.#isWaiting = false;
      this.#write();
    });
    this.#unwatch = log.watch(
      () => this.#write(),
      () => this.#next,
    );
    response.once('finish', () => this.end());
    response.once('close', () => this.end());
    if (response.closed) this.end();
    this.#write();
  }

  override end(): void {
    this.#unwatch();
    super.end();
  }

  protected override keepAlive(now: number): void {
    if (this.#isWaiting || now - this.#lastWriteAt < keepAliveEveryMs) return;
    this.#lastWriteAt = now;
    this.response.write(this.#keepAlive);
  }

  #write(): void {
    const { response } = this;
    const log = this.#log;
    if (this.#isWaiting || response.writableEnded || response.destroyed) return;
    if (this.#next < log.first) {
      response.end(serverSentEvent('error', eventsLost(this.#next)));
      return;
    }
    let text = '';
    while (this.#next < log.next && text.length < mostAtOnce) {
      text += log.at(this.#next);
      this.#next += 1;
    }
    if (log.isClosed && this.#next >= log.next) {
      response.end(text + log.rest);
      return;
    }
    if (text === '') return;
    this.#lastWriteAt = this.#now();
    if (!response.write(text)) this.#isWaiting = true;
    else if (this.#next < log.next) setImmediate(() => this.#write());
  }
}

function eventsLost(next: number): string {
  const reason = 'This client reads too slowly to follow the response: retrieve it.';
  const { openaiType, message } = new AppError('invalid_request', reason);
  const fields = { code: 'events_lost', message, param: null };
  return JSON.stringify({
    ...fields,
    type: 'error',
    sequence_number: next,
    error: { type: openaiType, ...fields },
  });
}
