import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { Clock } from '../clock.ts';
import { isConnectionLoss, UnsentError } from './transport-errors.ts';

export interface NetworkDispatchOptions extends Dispatcher.DispatchOptions {
  readonly body?: string | Uint8Array | null;
  /** Ends the wait for a connection. Once the request is sent, its controller does that. */
  readonly signal?: AbortSignal | null;
  /** Fails, unsent, where the origin does not speak HTTP/2. */
  readonly needsHttp2?: boolean;
  /** A kept connection that closes as it is used again: the request is sent once more. Idempotent methods always are. */
  readonly mayResend?: boolean;
}

/** Headers about a connection, which are not the caller's to give. */
export const connectionHeaders: ReadonlySet<string> = new Set([
  'connection',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** Interim answers such as 103 (Early Hints): a server sends one or two before its real answer. */
export const mostAnnouncements = 100;

/** Of one HTTP/2 session at a time: a lost session costs no more turns than that. */
export const maxStreams = 10;

/** One connection to an origin. */
export interface Connection {
  /** Increases with each connection to an origin. */
  readonly serial: number;
  readonly isHttp2: boolean;
  /** Requests it can begin now. */
  readonly room: number;
  /** Requests it has been given so far. */
  readonly used: number;
  /** Counts what has come from the other side. */
  readonly heard: number;
  send(request: PendingRequest): void;
  destroy(error: Error): void;
}

/** How the connections to one origin are made and used. */
export interface OriginOptions {
  readonly origin: URL;
  readonly clock: Clock;
  /** False: every request has its own connection, and is sent once. */
  readonly isKept: boolean;
  readonly connectTimeoutMs: number;
}

/** How one of them is known to the pool it is in. */
export interface PooledConnection {
  readonly serial: number;
  readonly pool: {
    /** Its room may have changed. */
    changed(connection: Connection): void;
    closed(connection: Connection): void;
  };
}

/** One request and its answer on a connection. The request's handler hears exactly one end. */
export abstract class Exchange implements Dispatcher.DispatchController {
  rawHeaders: IncomingHttpHeaders | null = null;
  rawTrailers: IncomingHttpHeaders | null = null;
  paused = false;
  reason: Error | null = null;
  protected isOver = false;
  protected readonly request: PendingRequest;

  constructor(request: PendingRequest) {
    this.request = request;
  }

  get aborted(): boolean {
    return this.reason !== null;
  }

  abort(reason: Error): void {
    if (this.isDeaf) return;
    this.reason = reason;
    this.cut();
  }

  abstract pause(): void;
  abstract resume(): void;

  /** The handler has aborted it. */
  protected abstract cut(): void;

  /** Its handler hears nothing more but that it has failed, if that is still to come. */
  protected get isDeaf(): boolean {
    return this.isOver || this.reason !== null;
  }

  /** False: the handler has aborted it already. */
  protected begin(): boolean {
    this.request.handler.onRequestStart?.(this, null);
    return this.reason === null;
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    if (this.isDeaf) return;
    this.rawHeaders = headers;
    this.request.noteAnswer();
    this.request.handler.onResponseStart?.(this, status, headers, '');
  }

  onBody(bytes: Buffer): void {
    if (!this.isDeaf) this.request.handler.onResponseData?.(this, bytes);
  }
}

/** Against a peer that refuses every time. */
const maxResends = 3;
/** A kept connection that closes later than this after the request was written was not stale. */
const staleWithinMs = 2_000;

/** A request that waits for a connection, or is on one. If that turns out to be dead, it is given back to be sent on another. */
export class PendingRequest {
  readonly handler: Dispatcher.DispatchHandler;
  /** Only a connection younger than this one will do. */
  afterSerial = 0;
  /** Stops listening for the caller's signal. */
  stopWaiting: (() => void) | undefined;
  /** A monotonic time in milliseconds. */
  readonly #now: () => number;
  #resends = 0;
  #hasMetStaleConnection = false;
  #connection: Connection | undefined;
  #resend: ((request: PendingRequest) => void) | undefined;
  #isReuse = false;
  #heardBefore = 0;
  #sentAt = 0;
  #options: NetworkDispatchOptions | undefined;

  constructor(options: NetworkDispatchOptions, handler: Dispatcher.DispatchHandler, now: () => number) {
    this.#options = options;
    this.handler = handler;
    this.#now = now;
  }

  /** Until some of the answer has come. */
  get options(): NetworkDispatchOptions {
    if (!this.#options) throw new Error('A request that has an answer is not sent again.');
    return this.#options;
  }

  /** Some of the answer has come. It may go on for an hour, and a body of megabytes need not be held for so long. */
  noteAnswer(): void {
    this.#options = undefined;
  }

  suits(connection: Connection): boolean {
    return connection.serial > this.afterSerial && (connection.isHttp2 || this.options.needsHttp2 !== true);
  }

  /** It gets no connection. */
  fail(error: Error): void {
    this.stopWaiting?.();
    this.handler.onResponseError?.(neverStarted, error);
  }

  /** Without `resend` the request is sent once, whatever happens. */
  sendOn(connection: Connection, resend: ((request: PendingRequest) => void) | undefined): void {
    this.#connection = connection;
    this.#resend = resend;
    this.#isReuse = connection.used > 0;
    this.#heardBefore = connection.heard;
    this.#sentAt = this.#now();
    connection.send(this);
  }

  /** Its exchange has failed. */
  lose(exchange: Exchange, error: Error): void {
    if (!this.#resend || !this.#options || exchange.aborted || !this.#mayResend(error)) {
      this.handler.onResponseError?.(exchange, error);
      return;
    }
    this.#resends += 1;
    this.#resend(this);
  }

  #mayResend(error: Error): boolean {
    if (error instanceof UnsentError) return this.#resends < maxResends;
    const { method, mayResend } = this.options;
    const isAllowed = mayResend ?? (method === 'GET' || method === 'HEAD');
    if (!isAllowed || this.#hasMetStaleConnection || !this.#isReuse || !isConnectionLoss(error)) return false;
    this.#hasMetStaleConnection = true;
    const isSilent = this.#connection?.heard === this.#heardBefore;
    return isSilent && this.#now() - this.#sentAt < staleWithinMs;
  }
}

/** For handlers of requests that got no connection. */
const neverStarted: Dispatcher.DispatchController = {
  aborted: false,
  paused: false,
  reason: null,
  abort() {},
  pause() {},
  resume() {},
};
