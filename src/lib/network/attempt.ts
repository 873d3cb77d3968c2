import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { Connection, NetworkDispatchOptions } from './exchange.ts';
import { PassingHandler } from './passing-handler.ts';
import { isConnectionLoss, UnsentError } from './transport-errors.ts';

/** Against a peer that refuses every time. */
const maxResends = 3;
/** A kept connection that closes later than this after the request was written was not stale. */
const staleWithinMs = 2_000;

/** A request, with what a second sending needs to know. */
export class PendingRequest {
  readonly options: NetworkDispatchOptions;
  readonly handler: Dispatcher.DispatchHandler;
  /** Only a connection younger than this one will do. */
  afterSerial = 0;
  resends = 0;
  hasMetStaleConnection = false;
  /** Stops listening for the caller's signal. */
  stopWaiting: (() => void) | undefined;

  constructor(options: NetworkDispatchOptions, handler: Dispatcher.DispatchHandler) {
    this.options = options;
    this.handler = handler;
  }

  suits(connection: Connection): boolean {
    return connection.serial > this.afterSerial && (connection.isHttp2 || this.options.needsHttp2 !== true);
  }

  fail(error: Error): void {
    this.stopWaiting?.();
    this.handler.onResponseError?.(neverStarted, error);
  }
}

/** One sending of a request. If the connection turns out to be dead, the request is given back to be sent on another. */
export class Attempt extends PassingHandler {
  readonly #request: PendingRequest;
  readonly #connection: Connection;
  readonly #resend: ((request: PendingRequest) => void) | undefined;
  readonly #isReuse: boolean;
  readonly #heardBefore: number;
  readonly #now: () => number;
  readonly #sentAt: number;
  #hasResponse = false;

  /** Without `resend` the request is sent once, whatever happens. `now` is a monotonic time in milliseconds. */
  constructor(
    request: PendingRequest,
    connection: Connection,
    now: () => number,
    resend: ((request: PendingRequest) => void) | undefined,
  ) {
    super(request.handler);
    this.#request = request;
    this.#connection = connection;
    this.#now = now;
    this.#sentAt = now();
    this.#resend = resend;
    this.#isReuse = connection.used > 0;
    this.#heardBefore = connection.heard;
  }

  override onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    message?: string,
  ): void {
    this.#hasResponse = true;
    super.onResponseStart(controller, status, headers, message);
  }

  override onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    const request = this.#request;
    if (!this.#resend || this.#hasResponse || controller?.aborted || !this.#mayResend(error)) {
      super.onResponseError(controller, error);
      return;
    }
    request.resends += 1;
    this.#resend(request);
  }

  #mayResend(error: Error): boolean {
    const request = this.#request;
    if (error instanceof UnsentError) return request.resends < maxResends;
    const { method, mayResend } = request.options;
    const isAllowed = mayResend ?? (method === 'GET' || method === 'HEAD');
    if (!isAllowed || request.hasMetStaleConnection || !this.#isReuse || !isConnectionLoss(error))
      return false;
    request.hasMetStaleConnection = true;
    const isSilent = this.#connection.heard === this.#heardBefore;
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
