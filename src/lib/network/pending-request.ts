import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { Connection, NetworkDispatchOptions } from './exchange.ts';
import { isConnectionLoss, UnsentError } from './transport-errors.ts';

/** Against a peer that refuses every time. */
const maxResends = 3;
/** A kept connection that closes later than this after the request was written was not stale. */
const staleWithinMs = 2_000;

/**
 * A request that waits for a connection, then what passes its answer on. If the connection turns out to be dead, it is given back to be
 * sent on another.
 */
export class PendingRequest implements Dispatcher.DispatchHandler {
  readonly options: NetworkDispatchOptions;
  /** Only a connection younger than this one will do. */
  afterSerial = 0;
  /** Stops listening for the caller's signal. */
  stopWaiting: (() => void) | undefined;
  readonly #handler: Dispatcher.DispatchHandler;
  /** A monotonic time in milliseconds. */
  readonly #now: () => number;
  #resends = 0;
  #hasMetStaleConnection = false;
  #connection: Connection | undefined;
  #resend: ((request: PendingRequest) => void) | undefined;
  #isReuse = false;
  #heardBefore = 0;
  #sentAt = 0;
  #hasResponse = false;

  constructor(options: NetworkDispatchOptions, handler: Dispatcher.DispatchHandler, now: () => number) {
    this.options = options;
    this.#handler = handler;
    this.#now = now;
  }

  suits(connection: Connection): boolean {
    return connection.serial > this.afterSerial && (connection.isHttp2 || this.options.needsHttp2 !== true);
  }

  fail(error: Error): void {
    this.stopWaiting?.();
    this.#handler.onResponseError?.(neverStarted, error);
  }

  /** Without `resend` the request is sent once, whatever happens. */
  sendOn(connection: Connection, resend: ((request: PendingRequest) => void) | undefined): void {
    this.#connection = connection;
    this.#resend = resend;
    this.#isReuse = connection.used > 0;
    this.#heardBefore = connection.heard;
    this.#sentAt = this.#now();
    connection.send(this.options, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#handler.onRequestStart?.(controller, context);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    message?: string,
  ): void {
    this.#hasResponse = true;
    this.#handler.onResponseStart?.(controller, status, headers, message);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#handler.onResponseData?.(controller, chunk);
  }

  onResponseEnd(controller: Dispatcher.DispatchController, trailers: IncomingHttpHeaders): void {
    this.#handler.onResponseEnd?.(controller, trailers);
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    if (!this.#resend || this.#hasResponse || controller?.aborted || !this.#mayResend(error)) {
      this.#handler.onResponseError?.(controller, error);
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
