import { hash, randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../../core/errors.ts';
import type { Clock } from '../../lib/clock.ts';
import { pathOf } from '../../lib/http/served-routes.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { BackgroundTasks } from '../../lib/tasks.ts';
import type { StateStore } from '../state/state-store.ts';
import type { RunningTurns } from '../turn/running-turns.ts';
import { EventLog, FollowedEvents } from './event-log.ts';

export interface IdempotencyOptions {
  /** Where claims and answers are kept; they hold for every instance that shares it. */
  readonly store: StateStore;
  /** Other instances use the store as well. */
  readonly isShared: () => boolean;
  readonly running: RunningTurns;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The listening time. */
  readonly now: () => number;
}

/** What the store holds under a key: who runs the turn, or how it ended. */
type Claim =
  | { readonly state: 'running'; readonly body: string; readonly holder: string }
  | ({ readonly state: 'done'; readonly body: string } & AnswerRecord)
  /** The answer was too large to keep. */
  | { readonly state: 'lost'; readonly body: string };

interface RunningAnswer {
  readonly body: string;
  readonly answer: RecordedAnswer;
  /** What another instance, or an earlier process, has left; undefined: the turn is run here. */
  readonly found: Promise<Claim | undefined>;
}

const keptMs = 24 * 60 * 60_000;
/** How long an instance counts as alive after its last heartbeat; it sends three in that time. */
const aliveMs = 15_000;
const retryAfterMs = 5_000;
const longestKey = 255;

/**
 * A turn with an Idempotency-Key is run once: a repeat of the request follows the running turn or gets the finished answer. The
 * claim lies in the store before anything is sent to an upstream. What may be tried again frees the key.
 */
export class Idempotency {
  readonly #options: IdempotencyOptions;
  readonly #here = new Map<string, RunningAnswer>();
  readonly #holder = randomUUID();
  readonly #keeping = new BackgroundTasks();
  #cancelBeat: (() => void) | undefined;

  constructor(options: IdempotencyOptions) {
    this.#options = options;
  }

  /** Runs the turn of the request by `run`, or answers with what is there already. Throws AppError. */
  async answer(
    request: FastifyRequest,
    reply: FastifyReply,
    run: (answer: RecordedAnswer) => Promise<unknown>,
    isNumbered = true,
  ): Promise<unknown> {
    const key = keyOf(request);
    const body = hash('sha256', JSON.stringify(request.body) ?? '', 'base64url');
    const known = this.#here.get(key);
    if (known) return this.#repeat(known, body, request, reply);
    const answer = new RecordedAnswer(isNumbered);
    const found = this.#claim(key, body, request.client.id);
    found.catch(() => {});
    this.#here.set(key, { body, answer, found });
    try {
      const claim = await found;
      if (claim) {
        this.#here.delete(key);
        return await this.#replay(claim, body, request, reply);
      }
    } catch (error) {
      this.#here.delete(key);
      throw error;
    }
    this.#beat();
    const ran = Promise.resolve(run(answer)).catch((error: unknown) => answer.refuse(AppError.from(error)));
    this.#keeping.add(ran.then(() => this.#keepAnswer(key, body, request.client.id, answer)));
    return this.#follow(answer, request, reply);
  }

  /** Resolves when all answers are kept. */
  async close(): Promise<void> {
    this.#cancelBeat?.();
    await this.#keeping.ended();
  }

  async #repeat(
    { body, answer, found }: RunningAnswer,
    asked: string,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<unknown> {
    if (body !== asked) throw usedOtherwise();
    const claim = await found;
    if (claim) return this.#replay(claim, asked, request, reply);
    reply.header('idempotent-replayed', 'true');
    return this.#follow(answer, request, reply);
  }

  async #claim(key: string, body: string, clientId: string): Promise<Claim | undefined> {
    const { store } = this.#options;
    const mine: Claim = { state: 'running', body, holder: this.#holder };
    try {
      if (this.#options.isShared()) await this.#sayAlive();
      const found = await store.insert(key, encode(mine), keptMs, { clientId });
      return found && decode(found);
    } catch (cause) {
      const message =
        'The gateway cannot reach its state store, and so cannot promise that a request with an Idempotency-Key runs once. Try again, or leave the key out.';
      throw new AppError('storage_unavailable', message, { cause, retryAfterMs });
    }
  }

  async #replay(claim: Claim, body: string, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    if (claim.body !== body) throw usedOtherwise();
    if (claim.state === 'done') {
      reply.header('idempotent-replayed', 'true');
      return this.#send(claim, request, reply);
    }
    if (claim.state === 'running' && (await this.#isAlive(claim.holder))) {
      throw new AppError(
        'turn_running_elsewhere',
        'Another instance of the gateway is working on the request with this Idempotency-Key: repeat it in a moment.',
        { retryAfterMs },
      );
    }
    throw new AppError(
      'turn_interrupted',
      claim.state === 'lost'
        ? 'The request with this Idempotency-Key was answered, and the answer was too large to keep. It is not run again: use another key to ask again.'
        : 'The gateway that ran the request with this Idempotency-Key stopped before it was answered. It is not run again: use another key to ask again.',
    );
  }

  async #isAlive(holder: string): Promise<boolean> {
    if (holder === this.#holder || !this.#options.isShared()) return false;
    return (await this.#options.store.get(aliveKey(holder))) !== undefined;
  }

  /** Follows an answer that is made here. */
  async #follow(answer: RecordedAnswer, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    await answer.head;
    if (!answer.isStream) {
      await answer.whole;
      return this.#send(answer.record, request, reply);
    }
    // One that breaks off must not look whole.
    answer.whole.catch(() => reply.raw.destroy());
    return this.#stream(answer.log, answer.headers, request, reply, answer.keepAlive);
  }

  #send(record: AnswerRecord, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    if (isEventStream(record.headers)) {
      const log = new EventLog(Number.POSITIVE_INFINITY);
      for (const text of record.texts) log.append(text);
      log.close();
      return this.#stream(log, record.headers, request, reply);
    }
    reply.hijack();
    reply.raw.writeHead(record.status, { ...replyHeaders(reply), ...record.headers });
    reply.raw.end(record.texts.join(''));
    return reply;
  }

  #stream(
    log: EventLog,
    headers: AnswerRecord['headers'],
    request: FastifyRequest,
    reply: FastifyReply,
    keepAlive?: string,
  ): FastifyReply {
    const from = firstAfter(request.headers['last-event-id'], log);
    const { running, now } = this.#options;
    reply.hijack();
    if (reply.raw.destroyed) return reply;
    const shown = { ...replyHeaders(reply), ...stringsOf(headers) };
    const clientId = request.client.id;
    new FollowedEvents({ running, clientId, response: reply.raw, now }, log, from, shown, keepAlive);
    return reply;
  }

  /** Once the answer has ended: kept for repeats, or the key is freed. */
  async #keepAnswer(key: string, body: string, clientId: string, answer: RecordedAnswer): Promise<void> {
    const { store, logger } = this.#options;
    const isWhole = await answer.whole.then(
      () => true,
      () => false,
    );
    try {
      if (!isWhole || (answer.error && isRetryable(answer.error))) await store.claim(key);
      else {
        const { record } = answer;
        await store.put(key, encode({ state: 'done', body, ...record }), keptMs, { clientId });
        const isKept = (await store.get(key)) !== undefined;
        if (!isKept) await store.put(key, encode({ state: 'lost', body }), keptMs, { clientId });
      }
    } catch (error) {
      logger.warn({ err: error }, 'the answer to a request with an Idempotency-Key could not be kept');
    } finally {
      this.#here.delete(key);
    }
  }

  #sayAlive(): Promise<void> {
    return this.#options.store.put(aliveKey(this.#holder), new Uint8Array([1]), aliveMs);
  }

  /** Tells other instances that this one is alive, as long as it runs turns with keys. */
  #beat(): void {
    const { clock, logger, isShared } = this.#options;
    if (this.#cancelBeat || !isShared()) return;
    this.#cancelBeat = clock.after(aliveMs / 3, () => {
      this.#cancelBeat = undefined;
      if (this.#here.size === 0) return;
      this.#sayAlive().catch((error: unknown) =>
        logger.debug({ err: error }, 'the store did not take a heartbeat'),
      );
      this.#beat();
    });
  }
}

/** The response an answer is written to: the recording of one with an Idempotency-Key, else the client's own. */
export function responseOf(reply: FastifyReply, answer: RecordedAnswer | undefined): ServerResponse {
  // A recording has all of a response that answers use.
  return answer ? (answer as unknown as ServerResponse) : reply.raw;
}

function keyOf(request: FastifyRequest): string {
  const given = String(request.headers['idempotency-key']);
  if (given === '' || given.length > longestKey || !/^[\x20-\x7e]+$/.test(given)) {
    const message = `Idempotency-Key: must be 1 to ${longestKey} printable ASCII characters, such as a UUID.`;
    throw new AppError('invalid_request', message, { param: 'Idempotency-Key' });
  }
  return `idempotency\n${request.client.id}\n${pathOf(request.url)}\n${given}`;
}

function aliveKey(holder: string): string {
  return `idempotency holder\n${holder}`;
}

/** What hooks have set, such as what lets a web page read the answer. */
function replyHeaders(reply: FastifyReply): Record<string, string> {
  return stringsOf(reply.getHeaders());
}

function stringsOf(headers: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

/** The number of the first event that a client which names its last one has not got. */
function firstAfter(lastId: string | string[] | undefined, log: EventLog): number {
  return /^\d+$/.test(String(lastId)) ? Math.min(Number(lastId) + 1, log.next) : 0;
}

function isRetryable({ status }: AppError): boolean {
  return status >= 499 || status === 429 || status === 408;
}

function usedOtherwise(): AppError {
  const message =
    'Idempotency-Key: another request has used this key: repeat a request with the same body, and use a new key for a new one.';
  return new AppError('idempotency_key_reused', message, { param: 'Idempotency-Key' });
}

function encode(claim: Claim): Uint8Array {
  return Buffer.from(JSON.stringify(claim));
}

function decode(bytes: Uint8Array): Claim {
  return JSON.parse(Buffer.from(bytes).toString('utf8')) as Claim;
}

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
  /** Resolves when status and headers are known. Rejects with the AppError that took the place of an answer. */
  readonly head = this.#head.promise;
  /** Resolves when nothing comes any more; rejects as `head` does. */
  readonly whole = this.#whole.promise;
  readonly #isNumbered: boolean;

  /** `isNumbered`: clients of the dialect take more lines of an event than its data. */
  constructor(isNumbered: boolean) {
    super({ decodeStrings: false });
    this.#isNumbered = isNumbered;
    // One that is destroyed with an error must not end the process; `close` says the rest.
    this.on('error', () => {});
    this.head.catch(() => {});
    this.whole.catch(() => {});
    this.once('finish', () => {
      this.log.close();
      this.#whole.resolve();
    });
    this.once('close', () => {
      if (this.writableFinished) return;
      this.refuse(new AppError('internal', 'The answer broke off in the gateway; try again.'));
    });
  }

  get isStream(): boolean {
    return isEventStream(this.headers);
  }
  /**
   * What keeps a stream alive that follows it: clients that take no more than data break on comments, too, and some take an empty line
   * for an event once they have seen an id.
   */
  get keepAlive(): string {
    return this.#isNumbered ? numberedKeepAlive : '\n';
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
      const shown = this.#isNumbered && this.isStream ? this.#numbered(piece) : piece;
      if (shown !== '') this.log.append(shown);
    }
    done();
  }

  /** With an id, which has clients take any further empty line for an event. Comments alone are none; other servers add empty lines. */
  #numbered(piece: string): string {
    const lines = piece.replace(/^[\r\n]+/, '');
    return hasField.test(lines) ? `id: ${this.log.next}\n${lines}` : lines.replace(/[\r\n]+/g, '\n');
  }
}

const numberedKeepAlive = ': keep-alive\n';
const hasField = /^[^:\r\n]/m;

function isEventStream(headers: AnswerRecord['headers']): boolean {
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
