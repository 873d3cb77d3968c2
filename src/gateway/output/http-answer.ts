import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import type {
  AnswerIdentity,
  CollectedTurn,
  DecodedTurn,
  Inbound,
  StreamEncoder,
} from '../../core/protocol.ts';
import type { TurnEvent, Usage } from '../../core/turn.ts';
import { sumUsage } from '../emulation/token-count.ts';
import type { Attempt } from '../turn/attempt.ts';
import { type CarriedBy, HttpCarrier } from '../turn/running-turns.ts';
import type { TurnOutput } from '../turn/turn-output.ts';
import { type AnswerHead, answeredHeaders, modelsOf } from './answer-head.ts';

export interface HttpAnswerOptions<Options> extends CarriedBy {
  readonly inbound: Inbound<Options>;
  readonly decoded: DecodedTurn<Options>;
  readonly head: AnswerHead;
  /** The listening time. */
  readonly now: () => number;
}

/** Until there is content the status is open; after this long the stream begins anyway. */
export const beginAfterMs = 15_000;
export const keepAliveEveryMs = 15_000;

export const streamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
} as const;

const otherFailed = new AppError('cancelled', 'Another choice of the same answer failed.');

/** The answer to an HTTP request: as a stream or whole, one choice or several. The first error of a choice ends all. */
abstract class HttpAnswer<Options> extends HttpCarrier {
  readonly choices: readonly TurnOutput[];
  /** The one that gives each choice, as far as there is one. */
  attempts: (Attempt | undefined)[] = [];
  abstract readonly isBuffered: boolean;
  protected readonly inbound: Inbound<Options>;
  readonly #decoded: DecodedTurn<Options>;
  protected readonly now: () => number;
  protected unfinished: number;
  protected usage: Usage | undefined;
  /** While the client is behind. */
  protected drained: Promise<void> | undefined;
  /** Nothing is written any more. */
  protected isOver = false;
  readonly #head: AnswerHead;

  constructor(options: HttpAnswerOptions<Options>) {
    const { inbound, decoded, head, now } = options;
    super(options, decoded.isStream, now());
    this.inbound = inbound;
    this.#decoded = decoded;
    this.now = now;
    this.#head = head;
    this.unfinished = inbound.choices ? (decoded.choices ?? 1) : 1;
    this.choices = Array.from({ length: this.unfinished }, (_none, choice) => new Choice(this, choice));
  }

  abstract write(choice: number, events: readonly TurnEvent[]): Promise<void> | undefined;
  abstract finish(choice: number, answer: CollectedTurn, events: readonly TurnEvent[]): void;

  fail(choice: number, error: AppError, events: readonly TurnEvent[]): void {
    if (this.isOver) return;
    this.isOver = true;
    this.writeError(choice, error, events);
    if (this.choices.length > 1) this.abort(otherFailed);
  }

  /** What went wrong outside of any turn. */
  break(error: AppError): void {
    if (this.response.headersSent) this.cut();
    else answerError(this.response, this.inbound, error, this.headers());
  }

  protected writeError(_choice: number, error: AppError, _events: readonly TurnEvent[]): void {
    answerError(this.response, this.inbound, error, this.headers());
  }

  /** What the client asked of the answer: of a body that is relayed, only what such an answer needs is known. */
  protected optionsFor(choice: number): Options {
    const { options, translated } = this.#decoded;
    return translated && this.attempts[choice]?.isRelayed === false ? translated().options : options;
  }

  /** Resolves when the client has caught up. */
  protected drainOf(stream: Writable): Promise<void> {
    this.drained ??= new Promise((resolve) => {
      stream.once('drain', () => {
        this.drained = undefined;
        resolve();
      });
    });
    return this.drained;
  }

  /** Of the choices that have got as far. */
  protected get known(): Attempt[] {
    return this.choices.length === 1
      ? (this.attempts as Attempt[])
      : this.attempts.filter((attempt) => attempt !== undefined);
  }

  protected get identity(): AnswerIdentity {
    return this.#head.identity(this.known);
  }

  /** The caller may add others to them. */
  protected headers(): Record<string, string> {
    return this.#head.headers(this.known);
  }
}

/** One choice of an answer, as its turn sees it. */
class Choice implements TurnOutput {
  readonly #answer: HttpAnswer<unknown>;
  readonly #index: number;

  constructor(answer: HttpAnswer<unknown>, index: number) {
    this.#answer = answer;
    this.#index = index;
  }

  get isBuffered(): boolean {
    return this.#answer.isBuffered;
  }
  get status(): number {
    return this.#answer.response.statusCode;
  }
  begin(attempt: Attempt): void {
    this.#answer.attempts[this.#index] = attempt;
  }
  write(events: readonly TurnEvent[]): Promise<void> | undefined {
    return this.#answer.write(this.#index, events);
  }
  finish(answer: CollectedTurn, events: readonly TurnEvent[]): void {
    this.#answer.finish(this.#index, answer, events);
  }
  fail(error: AppError, events: readonly TurnEvent[]): void {
    this.#answer.fail(this.#index, error, events);
  }
}

/**
 * Status and headers wait for the first content; then one write for each batch of events. Several choices are mixed as
 * they come, and end with the usage of all.
 */
export class StreamedAnswer<Options> extends HttpAnswer<Options> {
  readonly isBuffered = false;
  #encoders: StreamEncoder[] = [];
  #begun: AnswerIdentity | undefined;
  /** The client takes chunks, and they are framed here: Node would hand each to the system in four pieces. */
  #isChunked = false;
  /** Where chunks go behind the head: as Node's response they would take a detour of several calls and a turn of its queue. */
  #socket: Socket | undefined;
  #lastWriteAt = this.now();

  override write(choice: number, events: readonly TurnEvent[]): Promise<void> | undefined {
    if (this.isOver) return undefined;
    this.#lastWriteAt = this.now();
    if (this.#send(this.#encoderOf(choice).encode(events))) return undefined;
    return this.drainOf(this.#socket ?? this.response);
  }

  override finish(choice: number, answer: CollectedTurn, events: readonly TurnEvent[]): void {
    if (this.isOver) return;
    this.usage = sumUsage(this.usage, answer.usage);
    this.unfinished -= 1;
    if (this.unfinished > 0) this.#send(this.#encoderOf(choice).encode(events));
    else this.#end(choice, events);
  }

  protected override writeError(choice: number, error: AppError, events: readonly TurnEvent[]): void {
    if (this.#begun) {
      this.usage = sumUsage(this.usage, this.attempts[choice]?.answer.usage);
      this.#end(choice, events);
    } else super.writeError(choice, error, events);
  }

  /** The last batch. Headers of a whole answer that were not known at the beginning are comments before its end. */
  #end(choice: number, events: readonly TurnEvent[]): void {
    this.isOver = true;
    const encoder = this.#encoderOf(choice);
    const identity = this.#begin();
    const answeredBy = modelsOf(this.known);
    const notes = this.inbound.hasNoComments
      ? ''
      : notesOf({
          ...(answeredBy === identity.answeredBy ? {} : answeredHeaders(answeredBy)),
          ...usageHeaders(this.usage),
        });
    const text =
      notes === ''
        ? encoder.encode(events)
        : encoder.encode(events.slice(0, -1)) + notes + encoder.encode(events.slice(-1));
    const isBroken = events.at(-1)?.type === 'error';
    const several = this.choices.length > 1 && !isBroken ? this.inbound.choices : undefined;
    const last = text + (several?.encodeEnd(identity, this.optionsFor(choice), this.usage) ?? '');
    if (!this.#isChunked) this.response.end(last);
    else if (last === '') this.response.end(lastChunk);
    else this.response.end(...chunkOf(last, lastChunk));
  }

  /** False: the client is behind, and 'drain' will say when it has caught up. */
  #send(text: string): boolean {
    if (text === '') return true;
    if (!this.#isChunked) return this.response.write(text);
    if (this.#socket) return this.#socket.destroyed || this.#socket.write(...chunkOf(text));
    const isTaken = this.response.write(...chunkOf(text));
    // Until a client that is behind already has caught up, the response says when.
    if (isTaken) this.#socket = this.response.socket ?? undefined;
    return isTaken;
  }

  protected override keepAlive(now: number): void {
    if (this.isOver || this.drained) return;
    if (now - this.#lastWriteAt < (this.#begun ? keepAliveEveryMs : beginAfterMs)) return;
    this.#lastWriteAt = now;
    // Before the first content another attempt may give the answer, in another form.
    this.#send((this.#encoders[0] ?? this.#newEncoder(0)).keepAlive);
  }

  #begin(): AnswerIdentity {
    if (this.#begun) return this.#begun;
    const headers: Record<string, string> = Object.assign(this.headers(), streamHeaders);
    if (this.inbound.streamType !== undefined) headers['content-type'] = this.inbound.streamType;
    this.response.writeHead(200, headers);
    this.#isChunked = this.response.chunkedEncoding;
    this.response.chunkedEncoding = false;
    this.#begun = this.identity;
    return this.#begun;
  }

  #encoderOf(choice: number): StreamEncoder {
    const known = this.#encoders[choice];
    if (known) return known;
    const encoder = this.#newEncoder(choice);
    this.#encoders[choice] = encoder;
    return encoder;
  }

  #newEncoder(choice: number): StreamEncoder {
    const several = this.choices.length > 1 ? this.inbound.choices : undefined;
    const options = this.optionsFor(choice);
    return (
      several?.streamEncoder(this.#begin(), options, choice) ??
      this.inbound.streamEncoder(this.#begin(), options)
    );
  }
}

/** Answers once every choice is there. */
export class WholeAnswer<Options> extends HttpAnswer<Options> {
  readonly isBuffered = true;
  readonly #answers: CollectedTurn[] = [];

  override write(): undefined {}

  override finish(choice: number, answer: CollectedTurn): void {
    if (this.isOver) return;
    this.#answers[choice] = answer;
    if (this.unfinished > 1) {
      this.unfinished -= 1;
      return;
    }
    let { usage } = answer;
    if (this.choices.length > 1) usage = this.#answers.map((one) => one.usage).reduce(sumUsage, undefined);
    const headers = Object.assign(this.headers(), usageHeaders(usage));
    // An answer that cannot be written, such as a summary that is none, becomes an error.
    const body = this.#bodyOf(answer, this.optionsFor(choice), usage);
    this.isOver = true;
    answerJson(this.response, 200, body, headers);
  }

  #bodyOf(answer: CollectedTurn, options: Options, usage: Usage | undefined): string {
    const { inbound } = this;
    const several = this.choices.length > 1 ? inbound.choices : undefined;
    if (several) return several.encodeAnswers(this.identity, this.#answers, options, usage);
    return answer.relayed ?? inbound.encodeAnswer(this.identity, answer, options);
  }
}

/** An answer whose bytes are the upstream's. One that breaks off is cut, since nothing within it could say so. */
export class PassedAnswer<Options> extends HttpAnswer<Options> {
  readonly isBuffered = false;
  #isBegun = false;

  override write(_choice: number, events: readonly TurnEvent[]): Promise<void> | undefined {
    if (this.isOver) return undefined;
    this.#begin({});
    return this.response.write(bytesOf(events)) ? undefined : this.drainOf(this.response);
  }

  override finish(_choice: number, { usage }: CollectedTurn, events: readonly TurnEvent[]): void {
    if (this.isOver) return;
    this.isOver = true;
    const bytes = bytesOf(events);
    this.#begin({ ...usageHeaders(usage), 'content-length': bytes.length });
    this.response.end(bytes);
  }

  protected override writeError(choice: number, error: AppError, events: readonly TurnEvent[]): void {
    if (this.#isBegun) this.cut();
    else super.writeError(choice, error, events);
  }

  #begin(more: Readonly<Record<string, string | number>>): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    const [attempt] = this.known;
    const contentType = attempt?.contentType || 'application/octet-stream';
    this.response.writeHead(200, { ...this.headers(), ...more, 'content-type': contentType });
  }
}

function bytesOf(events: readonly TurnEvent[]): Buffer {
  return Buffer.concat(events.flatMap((event) => (event.type === 'passed' ? [event.bytes] : [])));
}

/**
 * A chunk of a body in chunked encoding (RFC 9112, section 7.1), and the encoding to write it in: as text of ASCII takes the bytes that
 * it has characters, it needs no room for more, and no conversion.
 */
function chunkOf(text: string, next = ''): readonly [chunk: string, encoding: 'latin1' | 'utf8'] {
  const size = Buffer.byteLength(text);
  return [`${size.toString(16)}\r\n${text}\r\n${next}`, size === text.length ? 'latin1' : 'utf8'];
}

const lastChunk = '0\r\n\r\n';

function notesOf(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers)
    .map(([name, value]) => `: ${name} ${value}\n\n`)
    .join('');
}

/** What clients' own usage objects have no field for. */
function usageHeaders(usage: Usage | undefined): Record<string, string> {
  const headers: Record<string, string> = {};
  if (usage?.isEstimated) headers['x-warp2api-usage'] = 'estimated';
  if (usage?.credits !== undefined) headers['x-warp2api-credits'] = String(usage.credits);
  if (usage?.costCents !== undefined) headers['x-warp2api-cost-cents'] = String(usage.costCents);
  return headers;
}

/** An error before the first byte: status, headers and the dialect's own body. */
function answerError<Options>(
  response: ServerResponse,
  inbound: Pick<Inbound<Options>, 'encodeError' | 'errorStatus'>,
  error: AppError,
  headers: Record<string, string>,
): void {
  if (response.headersSent || response.destroyed) return;
  const body = inbound.encodeError(error, headers['x-request-id'] ?? '');
  answerJson(response, inbound.errorStatus(error), body, Object.assign(headers, errorHeaders(error)));
}

/** Head and body leave in one write. `headers` get those of the body. */
export function answerJson(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Record<string, string>,
): void {
  headers['content-type'] = 'application/json; charset=utf-8';
  headers['content-length'] = String(Buffer.byteLength(body));
  response.writeHead(status, headers);
  response.end(body);
}

export function errorHeaders(error: AppError): Record<string, string> {
  const { retryAfterSeconds } = error;
  return {
    ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
    ...(isLasting(error) ? { 'x-should-retry': 'false' } : {}),
    ...error.headers,
  };
}

const lasting: ReadonlySet<ErrorCode> = new Set([
  'invalid_key',
  'forbidden',
  'operator_only',
  'host_not_allowed',
  'origin_not_allowed',
  'turn_interrupted',
]);

/** Clients repeat any 429 by themselves, and some a 401 for minutes; neither changes in a second. */
function isLasting({ code, openaiCode }: AppError): boolean {
  return openaiCode === 'insufficient_quota' || lasting.has(code);
}
