import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Dispatcher, Client as UndiciClient } from 'undici';
import { Client } from '../undici.ts';
import type { Connection, NetworkDispatchOptions, OriginOptions, PooledConnection } from './exchange.ts';
import { PassingHandler } from './passing-handler.ts';
import { proxyAuthorization } from './proxy-rules.ts';
import { closedBefore } from './transport-errors.ts';

const keepAliveMs = 30_000;

interface Http1Options extends Pick<OriginOptions, 'origin' | 'isKept'>, PooledConnection {
  /** A proxy that the requests are addressed to. */
  readonly forwardProxy: URL | undefined;
}

/** One HTTP/1.1 connection, carried by undici's client. */
export class Http1Connection implements Connection {
  readonly serial: number;
  readonly isHttp2 = false;
  used = 0;
  heard = 0;
  readonly #client: UndiciClient;
  readonly #socket: Socket;
  readonly #options: Http1Options;
  readonly #forwardHeaders: Readonly<Record<string, string>>;
  #isBusy = false;
  #isClosing = false;
  #isClosed = false;

  constructor(socket: Socket, options: Http1Options) {
    this.serial = options.serial;
    this.#socket = socket;
    this.#options = options;
    const authorization = options.forwardProxy && proxyAuthorization(options.forwardProxy);
    this.#forwardHeaders = authorization === undefined ? {} : { 'proxy-authorization': authorization };
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
    return this.#isBusy || this.#isClosing || this.#isClosed || (this.used > 0 && !this.#options.isKept)
      ? 0
      : 1;
  }

  send(options: NetworkDispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#isBusy = true;
    this.used += 1;
    this.#client.dispatch(
      this.#addressed(options),
      new Http1Exchange(handler, {
        onHead: (headers) => {
          this.heard += 1;
          if (/^close$/i.test(String(headers['connection']))) this.#isClosing = true;
        },
        onOver: () => this.#onOver(),
      }),
    );
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
    this.#isBusy = false;
    this.#options.listener.onChange(this);
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    void this.#client.destroy(closedBefore());
    this.#options.listener.onClosed(this);
  }
}

/** Says when the answer begins, and when the connection is free again. */
class Http1Exchange extends PassingHandler {
  readonly #hooks: { readonly onHead: (headers: IncomingHttpHeaders) => void; readonly onOver: () => void };

  constructor(
    handler: Dispatcher.DispatchHandler,
    hooks: { readonly onHead: (headers: IncomingHttpHeaders) => void; readonly onOver: () => void },
  ) {
    super(handler);
    this.#hooks = hooks;
  }

  override onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    message?: string,
  ): void {
    this.#hooks.onHead(headers);
    super.onResponseStart(controller, status, headers, message);
  }

  override onResponseEnd(controller: Dispatcher.DispatchController, trailers: IncomingHttpHeaders): void {
    super.onResponseEnd(controller, trailers);
    this.#hooks.onOver();
  }

  override onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    super.onResponseError(controller, error);
    this.#hooks.onOver();
  }
}
