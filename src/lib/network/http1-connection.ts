import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import type { Connection, NetworkDispatchOptions, OriginOptions, PooledConnection } from './exchange.ts';
import { Http1Exchange } from './http1-exchange.ts';
import { proxyAuthorization } from './proxy-rules.ts';
import { ConnectionLostError } from './transport-errors.ts';

const keepAliveMs = 30_000;
const mostKeepAliveMs = 600_000;
/** A server that says how long it keeps a connection means the time when it heard of it last. */
const keepAliveMarginMs = 2_000;

interface Http1Options extends Pick<OriginOptions, 'origin' | 'isKept' | 'clock'>, PooledConnection {
  /** A proxy that the requests are addressed to. */
  readonly forwardProxy: URL | undefined;
}

/** One HTTP/1.1 connection, with one request at a time. */
export class Http1Connection implements Connection {
  readonly serial: number;
  readonly isHttp2 = false;
  used = 0;
  heard = 0;
  readonly #socket: Socket;
  readonly #options: Http1Options;
  readonly #forwardHeaders: Readonly<Record<string, string>>;
  #exchange: Http1Exchange | undefined;
  #isClosed = false;
  #idleSince = 0;
  #idleMs = keepAliveMs;
  #cancelIdle: (() => void) | undefined;

  constructor(socket: Socket, options: Http1Options) {
    this.serial = options.serial;
    this.#socket = socket;
    this.#options = options;
    const authorization = options.forwardProxy && proxyAuthorization(options.forwardProxy);
    this.#forwardHeaders = authorization === undefined ? {} : { 'proxy-authorization': authorization };
    socket.on('data', (bytes: Buffer) => {
      this.heard += 1;
      if (this.#exchange) this.#exchange.read(bytes);
      // Nothing was asked: this must not be taken for the answer to the next request.
      else socket.destroy();
    });
    socket.on('end', () => {
      this.#exchange?.close();
      socket.destroy();
    });
    socket.on('error', (error) => this.#exchange?.lose(error));
    socket.once('close', () => this.#close());
  }

  get room(): number {
    if (this.#exchange || this.#isClosed || this.#socket.destroyed) return 0;
    return this.used > 0 && !this.#options.isKept ? 0 : 1;
  }

  send(options: NetworkDispatchOptions, handler: Dispatcher.DispatchHandler): void {
    const { origin, isKept } = this.#options;
    const exchange = new Http1Exchange(
      this.#addressed(options),
      handler,
      this.#socket,
      (mayBeKept, keepAlive) => this.#onOver(mayBeKept, keepAlive),
    );
    this.#exchange = exchange;
    this.#socket.ref();
    this.used += 1;
    if (this.used === 1) exchange.start(origin, isKept);
    // What has come unasked since the last answer shows first, as does an end: it must not be taken for the next answer.
    else setImmediate(() => exchange.start(origin, isKept));
  }

  destroy(error: Error): void {
    this.#exchange?.lose(error);
    this.#socket.destroy();
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

  #onOver(mayBeKept: boolean, keepAlive: string | undefined): void {
    this.#exchange = undefined;
    const idleMs = idleMsOf(keepAlive);
    if (idleMs !== this.#idleMs) {
      this.#cancelIdle?.();
      this.#cancelIdle = undefined;
    }
    this.#idleMs = idleMs;
    if (!mayBeKept || !this.#options.isKept || this.#idleMs <= 0) this.#socket.destroy();
    else {
      const { clock } = this.#options;
      this.#socket.unref();
      this.#idleSince = clock.monotonic();
      this.#cancelIdle ??= clock.after(this.#idleMs, () => this.#checkIdle());
    }
    this.#options.listener.onChange(this);
  }

  /** Set again only when it has run: not for each request. */
  #checkIdle(): void {
    this.#cancelIdle = undefined;
    if (this.#exchange) return;
    const { clock } = this.#options;
    const leftMs = this.#idleSince + this.#idleMs - clock.monotonic();
    if (leftMs <= 0) this.#socket.destroy();
    else this.#cancelIdle = clock.after(leftMs, () => this.#checkIdle());
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelIdle?.();
    this.#exchange?.lose(new ConnectionLostError('The connection was closed.'));
    this.#options.listener.onClosed(this);
  }
}

function idleMsOf(keepAlive: string | undefined): number {
  const [, seconds] = /(?:^|[\s,;])timeout=(\d{1,9})/i.exec(keepAlive ?? '') ?? [];
  if (seconds === undefined) return keepAliveMs;
  return Math.min(Number(seconds) * 1_000 - keepAliveMarginMs, mostKeepAliveMs);
}
