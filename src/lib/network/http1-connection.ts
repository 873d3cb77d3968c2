import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import {
  type Connection,
  connectionHeaders,
  Exchange,
  type NetworkDispatchOptions,
  type OriginOptions,
  type PendingRequest,
  type PooledConnection,
} from './exchange.ts';
import { Http1Reader, headerName } from './http1-reader.ts';
import { proxyAuthorization } from './proxy-rules.ts';
import { ConnectionLostError, closedBefore, isSurelyUnsent } from './transport-errors.ts';

/** Head and body up to this size leave in one piece. */
const mostAtOnce = 64 * 1024;

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

  send(request: PendingRequest): void {
    const exchange = new Http1Exchange(request, this, this.#socket);
    this.#exchange = exchange;
    this.#socket.ref();
    this.used += 1;
    if (this.used === 1) exchange.start();
    // What has come unasked since the last answer shows first, as does an end: it must not be taken for the next answer.
    else setImmediate(() => exchange.start());
  }

  destroy(error: Error): void {
    this.#exchange?.lose(error);
    this.#socket.destroy();
  }

  /** Throws on what would be read as another request than was meant. */
  headOf(options: NetworkDispatchOptions): string {
    const { origin, isKept, forwardProxy } = this.#options;
    if (forwardProxy === undefined) return headOf(origin, options, isKept);
    const path = `${origin.origin}${options.path}`;
    const headers = { ...(options.headers as Record<string, string>), ...this.#forwardHeaders };
    return headOf(origin, { ...options, path, headers }, isKept);
  }

  /** The connection may carry another request, and for how long it is kept in the words of the other side. */
  onOver(mayBeKept: boolean, keepAlive?: string): void {
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
    this.#options.pool.changed(this);
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
    this.#options.pool.closed(this);
  }
}

function idleMsOf(keepAlive: string | undefined): number {
  const [, seconds] = /(?:^|[\s,;])timeout=(\d{1,9})/i.exec(keepAlive ?? '') ?? [];
  if (seconds === undefined) return keepAliveMs;
  return Math.min(Number(seconds) * 1_000 - keepAliveMarginMs, mostKeepAliveMs);
}

/** One request and its answer. */
class Http1Exchange extends Exchange {
  readonly #connection: Http1Connection;
  readonly #socket: Socket;
  readonly #reader: Http1Reader;
  #isSent = false;

  constructor(request: PendingRequest, connection: Http1Connection, socket: Socket) {
    super(request);
    this.#connection = connection;
    this.#socket = socket;
    this.#reader = new Http1Reader(this, request.options.method);
  }

  start(): void {
    if (this.isOver) return;
    let fault: Error;
    try {
      if (this.begin()) {
        this.#write(this.#connection.headOf(this.request.options));
        this.#isSent = true;
        return;
      }
      fault = this.reason as Error;
    } catch (error) {
      fault = error as Error;
    }
    process.nextTick(() => this.#fail(fault, true));
  }

  #write(head: string): void {
    const { body } = this.request.options;
    const socket = this.#socket;
    if (body == null || body.length === 0) {
      socket.write(head, 'latin1');
      return;
    }
    const content = typeof body === 'string' ? Buffer.from(body) : body;
    if (head.length + content.length <= mostAtOnce) {
      socket.write(Buffer.concat([Buffer.from(head, 'latin1'), content]));
      return;
    }
    socket.cork();
    socket.write(head, 'latin1');
    socket.write(content);
    socket.uncork();
  }

  override pause(): void {
    if (this.isOver) return;
    this.paused = true;
    this.#socket.pause();
  }

  override resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#socket.resume();
  }

  protected override cut(): void {
    if (this.#isSent) this.#socket.destroy();
  }

  /** Bytes of its connection. */
  read(bytes: Buffer): void {
    try {
      if (!this.#isSent) throw new ConnectionLostError('The other side answered what was not asked.');
      this.#reader.read(bytes);
    } catch (error) {
      this.lose(error as Error);
      this.#socket.destroy();
    }
  }

  /** The other side has closed. */
  close(): void {
    if (!this.#reader.end()) this.lose(new ConnectionLostError('The other side closed the connection.'));
  }

  /** The connection is lost. */
  lose(error: Error): void {
    if (!this.#isSent) this.#fail(closedBefore(error), false);
    else if (isSurelyUnsent(error)) this.#fail(new ConnectionLostError(error.message, error), false);
    else this.#fail(error, false);
  }

  onEnd(trailers: IncomingHttpHeaders): void {
    if (this.isDeaf) return;
    this.isOver = true;
    this.rawTrailers = trailers;
    this.resume();
    this.request.handler.onResponseEnd?.(this, trailers);
    // The rest of a request that was answered early would come before the next one.
    const { isKept, keepAlive } = this.#reader;
    this.#connection.onOver(isKept && this.#socket.writableLength === 0, keepAlive);
  }

  /** The end, unless there was one. */
  #fail(error: Error, isKept: boolean): void {
    if (this.isOver) return;
    this.isOver = true;
    this.request.lose(this, this.reason ?? error);
    this.#connection.onOver(isKept);
  }
}

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;
const target = /^[\x21-\xff]+$/;

function headOf(
  origin: URL,
  { method, path, headers, body }: NetworkDispatchOptions,
  isKept: boolean,
): string {
  if (!token.test(method) || !target.test(path)) throw new TypeError('The request has no method or path.');
  let { host } = origin;
  let others = '';
  for (const [name, values] of Object.entries(headers ?? {})) {
    if (values === undefined || values === null) continue;
    const lower = headerName(name);
    const isHost = lower === 'host';
    if (!isHost && lower !== undefined && (lower === 'content-length' || connectionHeaders.has(lower)))
      continue;
    for (const value of Array.isArray(values) ? values : [values]) {
      if (lower === undefined || !headerValue.test(value))
        throw new TypeError(`The header ${name.toLowerCase()} of the request cannot be sent.`);
      if (isHost) host = value;
      else others += `${name}: ${value}\r\n`;
    }
  }
  const takesBody = body != null || method === 'POST' || method === 'PUT' || method === 'PATCH';
  const length = takesBody ? `content-length: ${Buffer.byteLength(body ?? '')}\r\n` : '';
  const connection = isKept ? 'keep-alive' : 'close';
  return `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: ${connection}\r\n${others}${length}\r\n`;
}
