import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import { connectionHeaders, type NetworkDispatchOptions } from './exchange.ts';
import { type Http1Listener, Http1Reader } from './http1-reader.ts';
import { ConnectionLostError, closedBefore, isSurelyUnsent } from './transport-errors.ts';

/** Head and body up to this size leave in one piece. */
const mostAtOnce = 64 * 1024;

/** One request and its answer on an HTTP/1.1 connection. Its handler hears exactly one end. */
export class Http1Exchange implements Dispatcher.DispatchController, Http1Listener {
  rawHeaders: IncomingHttpHeaders | null = null;
  rawTrailers: IncomingHttpHeaders | null = null;
  readonly #options: NetworkDispatchOptions;
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #socket: Socket;
  readonly #onOver: (isKept: boolean, keepAlive?: string) => void;
  readonly #reader: Http1Reader;
  #reason: Error | null = null;
  #isPaused = false;
  #isSent = false;
  #isOver = false;

  /** `onOver`: the connection may carry another request, and for how long it is kept in the words of the other side. */
  constructor(
    options: NetworkDispatchOptions,
    handler: Dispatcher.DispatchHandler,
    socket: Socket,
    onOver: (isKept: boolean, keepAlive?: string) => void,
  ) {
    this.#options = options;
    this.#handler = handler;
    this.#socket = socket;
    this.#onOver = onOver;
    this.#reader = new Http1Reader(this, options.method);
  }

  get aborted(): boolean {
    return this.#reason !== null;
  }
  get reason(): Error | null {
    return this.#reason;
  }
  get paused(): boolean {
    return this.#isPaused;
  }

  start(origin: URL, isKept: boolean): void {
    if (this.#isOver) return;
    this.#handler.onRequestStart?.(this, null);
    if (this.#reason !== null) {
      const reason = this.#reason;
      process.nextTick(() => this.#fail(reason, true));
      return;
    }
    try {
      this.#write(headOf(origin, this.#options, isKept));
      this.#isSent = true;
    } catch (error) {
      process.nextTick(() => this.#fail(error as Error, true));
    }
  }

  #write(head: string): void {
    const { body } = this.#options;
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

  abort(reason: Error): void {
    if (this.#isOver || this.#reason !== null) return;
    this.#reason = reason;
    if (this.#isSent) this.#socket.destroy();
  }

  pause(): void {
    if (this.#isOver) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
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

  onHead(status: number, headers: IncomingHttpHeaders): void {
    if (this.#isOver || this.#reason !== null) return;
    this.rawHeaders = headers;
    this.#handler.onResponseStart?.(this, status, headers, '');
  }

  onBody(bytes: Buffer): void {
    if (this.#isOver || this.#reason !== null) return;
    this.#handler.onResponseData?.(this, bytes);
  }

  onEnd(trailers: IncomingHttpHeaders): void {
    if (this.#isOver || this.#reason !== null) return;
    this.#isOver = true;
    this.rawTrailers = trailers;
    if (this.#isPaused) this.resume();
    this.#handler.onResponseEnd?.(this, trailers);
    // The rest of a request that was answered early would come before the next one.
    const { isKept, keepAlive } = this.#reader;
    this.#onOver(isKept && this.#socket.writableLength === 0, keepAlive);
  }

  /** The end, unless there was one. */
  #fail(error: Error, isKept: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#handler.onResponseError?.(this, this.#reason ?? error);
    this.#onOver(isKept);
  }
}

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;
const target = /^[\x21-\xff]+$/;

/** Throws on what would be read as another request than was meant. */
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
    const lower = name.toLowerCase();
    const isHost = lower === 'host';
    if (lower === 'content-length' || (connectionHeaders.has(lower) && !isHost)) continue;
    for (const value of Array.isArray(values) ? values : [values]) {
      if (!token.test(name) || !headerValue.test(value))
        throw new TypeError(`The header ${lower} of the request cannot be sent.`);
      if (isHost) host = value;
      else others += `${name}: ${value}\r\n`;
    }
  }
  const takesBody = body != null || method === 'POST' || method === 'PUT' || method === 'PATCH';
  const length = takesBody ? `content-length: ${Buffer.byteLength(body ?? '')}\r\n` : '';
  const connection = isKept ? 'keep-alive' : 'close';
  return `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: ${connection}\r\n${others}${length}\r\n`;
}
