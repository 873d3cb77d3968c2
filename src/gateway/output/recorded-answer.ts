import { Writable } from 'node:stream';
import { AppError } from '../../core/errors.ts';
import { EventLog } from './event-log.ts';

/** A finished answer, as it can be stored and sent again. */
export interface AnswerRecord {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
  /** The events of a stream, or the whole body. */
  readonly texts: readonly string[];
}

const wholeEvents = /(?:\r\n\r\n|\n\n|\r\r)/;

/**
 * Takes an answer in the place of the HTTP response, so that several clients can follow it, from the beginning or from one of its
 * events on. The events of a stream get their number as id, where clients take that.
 */
export class RecordedAnswer extends Writable {
  statusCode = 200;
  headersSent = false;
  chunkedEncoding = false;
  readonly socket = null;
  headers: AnswerRecord['headers'] = {};
  readonly log = new EventLog(Number.POSITIVE_INFINITY);
  /** Why the answer is not whole. */
  error: AppError | undefined;
  readonly #head = Promise.withResolvers<void>();
  readonly #whole = Promise.withResolvers<void>();

  readonly #isNumbered: boolean;

  /** `isNumbered`: clients of the dialect take more lines of an event than its data. */
  constructor(isNumbered: boolean) {
    super({ decodeStrings: false });
    this.#isNumbered = isNumbered;
    // One that is destroyed with an error must not end the process; `close` says the rest.
    this.on('error', () => {});
    this.#head.promise.catch(() => {});
    this.#whole.promise.catch(() => {});
    this.once('finish', () => {
      this.log.close();
      this.#whole.resolve();
    });
    this.once('close', () => {
      if (this.writableFinished) return;
      this.refuse(new AppError('internal', 'The answer broke off in the gateway; try again.'));
    });
  }

  /** Resolves when status and headers are known. Rejects with the AppError that took the place of an answer. */
  get head(): Promise<void> {
    return this.#head.promise;
  }
  /** Resolves when nothing comes any more; rejects as `head` does. */
  get whole(): Promise<void> {
    return this.#whole.promise;
  }
  get isStream(): boolean {
    return isEventStream(this.headers);
  }
  /** What keeps a stream alive that follows it: clients that take no more than data break on comments, too. */
  get keepAlive(): string | undefined {
    return this.#isNumbered ? undefined : '\n';
  }
  get record(): AnswerRecord {
    const { statusCode: status, headers, log } = this;
    const texts = Array.from({ length: log.next }, (_, index) => log.at(index));
    return { status, headers, texts };
  }

  writeHead(status: number, headers: AnswerRecord['headers']): this {
    this.statusCode = status;
    this.headers = headers;
    this.headersSent = true;
    this.#head.resolve();
    return this;
  }

  /** There is no answer: those who wait for it get this error. */
  refuse(error: AppError): void {
    this.error ??= error;
    this.#head.reject(error);
    this.#whole.reject(error);
  }

  override _write(chunk: string | Uint8Array, _encoding: string, done: () => void): void {
    const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
    for (const piece of this.isStream ? eventsOf(text) : [text]) {
      const hasId = this.#isNumbered && this.isStream && !piece.startsWith(':');
      this.log.append(hasId ? `id: ${this.log.next}\n${piece}` : piece);
    }
    done();
  }
}

export function isEventStream(headers: AnswerRecord['headers']): boolean {
  return String(headers['content-type'] ?? '').startsWith('text/event-stream');
}

/** Answers are written in whole events. */
function eventsOf(text: string): string[] {
  const events: string[] = [];
  let rest = text;
  for (let end = wholeEvents.exec(rest); end; end = wholeEvents.exec(rest)) {
    const length = end.index + end[0].length;
    events.push(rest.slice(0, length));
    rest = rest.slice(length);
  }
  if (rest !== '') events.push(rest);
  return events;
}
