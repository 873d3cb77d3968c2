import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Dispatcher, Client as UndiciClient } from 'undici';
import { Client } from '../undici.ts';
import type { Connection, NetworkDispatchOptions, OriginOptions, PooledConnection } from './exchange.ts';
import { proxyAuthorization } from './proxy-rules.ts';
import { closedBefore } from './transport-errors.ts';

const keepAliveMs = 30_000;

interface Http1Options extends Pick<OriginOptions, 'origin' | 'isKept'>, PooledConnection {
  /** A proxy that the requests are addressed to. */
  readonly forwardProxy: URL | undefined;
}

/** One HTTP/1.1 connection, carried by undici's client. It passes on what it hears about its one request at a time. */
export class Http1Connection implements Connection, Dispatcher.DispatchHandler {
  readonly serial: number;
  readonly isHttp2 = false;
  used = 0;
  heard = 0;
  readonly #client: UndiciClient;
  readonly #socket: Socket;
  readonly #options: Http1Options;
  readonly #forwardHeaders: Readonly<Record<string, string>>;
  /** Of the request that it carries. */
  #handler: Dispatcher.DispatchHandler | undefined;
  #isClosing = false;
  #isClosed = false;

  constructor(socket: Socket, options: Http1Options) {
    this.serial = options.serial;
    this.#socket = socket;
    this.#options = options;
    const authorization = options.forwardProxy && proxyAuthorization(options.forwardProxy);
    this.#forwardHeaders = authorization === undefined ? {} : { 'proxy-authorization': authorization };
    // The client passes on whole heads only; a part of one says as well that the request has arrived.
    const push = socket.push.bind(socket);
    socket.push = (chunk, encoding) => {
      if (chunk !== null) this.heard += 1;
      return push(chunk, encoding);
    };
    let connected: Socket | undefined = socket;
    this.#client = new Client(options.origin, {
      // A client that has lost its connection would open another one: here that is for the pool to do.
      connect(_options, callback) {
        const given = connected;
        connected = undefined;
        // The client does not expect an answer before it has asked.
        queueMicrotask(() => {
          if (given?.destroyed === false) callback(null, given);
          else callback(closedBefore(), null);
        });
      },
      pipelining: options.isKept ? 1 : 0,
      keepAliveTimeout: keepAliveMs,
    });
    this.#client.once('disconnect', () => this.#close());
    this.#client.once('connectionError', () => this.#close());
  }

  get room(): number {
    if (this.#handler || this.#isClosing || this.#isClosed) return 0;
    return this.used > 0 && !this.#options.isKept ? 0 : 1;
  }

  send(options: NetworkDispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#handler = handler;
    this.used += 1;
    this.#client.dispatch(this.#addressed(options), this);
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#handler?.onRequestStart?.(controller, context);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    message?: string,
  ): void {
    if (/^close$/i.test(String(headers['connection']))) this.#isClosing = true;
    this.#handler?.onResponseStart?.(controller, status, headers, message);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#handler?.onResponseData?.(controller, chunk);
  }

  onResponseEnd(controller: Dispatcher.DispatchController, trailers: IncomingHttpHeaders): void {
    this.#handler?.onResponseEnd?.(controller, trailers);
    this.#onOver();
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    // The client may be about to lose its connection, and must not be given another request then.
    this.#isClosing = true;
    this.#handler?.onResponseError?.(controller, error);
    this.#onOver();
    queueMicrotask(() => this.destroy(error));
  }

  destroy(error: Error): void {
    // The client knows of the socket from its first request on.
    if (this.used === 0) this.#socket.destroy();
    void this.#client.destroy(error);
    this.#close();
  }

  #addressed(options: NetworkDispatchOptions): NetworkDispatchOptions {
    const { origin, forwardProxy } = this.#options;
    if (forwardProxy === undefined) return options;
    return {
      ...options,
      path: `${origin.origin}${options.path}`,
      headers: { ...(options.headers as Record<string, string>), ...this.#forwardHeaders },
    };
  }

  #onOver(): void {
    this.#handler = undefined;
    this.#options.listener.onChange(this);
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    void this.#client.destroy(closedBefore());
    this.#options.listener.onClosed(this);
  }
}
