import { AppError } from '../core/errors.ts';
import { serverSentEvent } from '../protocols/openai-responses/stream-encoder.ts';
import type { EventLog } from './event-log.ts';
import { type HttpAnswerOptions, keepAliveEveryMs, streamHeaders } from './http-answer.ts';
import { HttpCarrier } from './running-turns.ts';

/** Bytes that are written together. */
const mostAtOnce = 64 * 1024;

/** Writes the events of a response from one on as they come, as fast as the client reads. */
export class FollowedEvents extends HttpCarrier {
  readonly #log: EventLog;
  readonly #unwatch: () => void;
  #next: number;
  #isWaiting = false;
  readonly #now: () => number;
  #lastWriteAt: number;

  constructor(
    { running, response, now }: Pick<HttpAnswerOptions<never>, 'running' | 'response' | 'now'>,
    log: EventLog,
    from: number,
    headers: Readonly<Record<string, string>>,
  ) {
    super(running, response, true, now());
    this.#log = log;
    this.#next = from;
    this.#now = now;
    this.#lastWriteAt = now();
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
    this.#write();
  }

  override end(): void {
    this.#unwatch();
    super.end();
  }

  protected override keepAlive(now: number): void {
    if (this.#isWaiting || now - this.#lastWriteAt < keepAliveEveryMs) return;
    this.#lastWriteAt = now;
    this.response.write(': keep-alive\n\n');
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
