import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { Dispatcher } from 'undici';
import { connectionHeaders, mostAnnouncements, type NetworkDispatchOptions } from './exchange.ts';
import { ConnectionLostError, closedBefore, StreamResetError, UnsentError } from './transport-errors.ts';

/** One request and its answer on a stream of an HTTP/2 session. Its handler hears exactly one end. */
export class Http2Exchange implements Dispatcher.DispatchController {
  rawHeaders: IncomingHttpHeaders | null = null;
  rawTrailers: IncomingHttpHeaders | null = null;
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #onHeard: () => void;
  readonly #onOver: (exchange: Http2Exchange) => void;
  #session: ClientHttp2Session | undefined;
  #stream: ClientHttp2Stream | undefined;
  #reason: Error | null = null;
  #isPaused = false;
  #isOver = false;
  #hasWholeBody = false;
  #isUnprocessed = false;
  #error: Error | undefined;

  constructor(
    handler: Dispatcher.DispatchHandler,
    hooks: { readonly onHeard: () => void; readonly onOver: (exchange: Http2Exchange) => void },
  ) {
    this.#handler = handler;
    this.#onHeard = hooks.onHeard;
    this.#onOver = hooks.onOver;
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

  start(session: ClientHttp2Session, origin: URL, options: NetworkDispatchOptions): void {
    this.#session = session;
    this.#handler.onRequestStart?.(this, null);
    const { body } = options;
    if (this.#reason !== null) {
      process.nextTick(() => this.#fail());
      return;
    }
    try {
      const stream = session.request(headersOf(origin, options), { endStream: body == null });
      this.#stream = stream;
      this.#listen(stream);
      if (body != null) stream.end(body);
    } catch (cause) {
      const isGone = session.closed || session.destroyed;
      this.#error = isGone ? closedBefore(cause) : (cause as Error);
      process.nextTick(() => this.#fail());
    }
  }

  abort(reason: Error): void {
    if (this.#isOver || this.#reason !== null) return;
    this.#reason = reason;
    this.#stream?.close(constants.NGHTTP2_CANCEL);
  }

  pause(): void {
    this.#isPaused = true;
    this.#stream?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#stream?.resume();
  }

  /** The other side goes away: the streams above the last one that it names were not processed. */
  goAway(lastStreamId: number): void {
    if (this.#stream?.id !== undefined && this.#stream.id > lastStreamId) this.#isUnprocessed = true;
  }

  /** The session is lost. */
  lose(error: Error): void {
    this.#error ??= new ConnectionLostError('The connection was lost.', error);
  }

  #listen(stream: ClientHttp2Stream): void {
    // Whether the other side has ended the stream shows nowhere else: after a reset of code NO_ERROR, too, node:http2
    // pushes the null that makes it look like an end.
    const push = stream.push.bind(stream);
    stream.push = (chunk, encoding) => {
      if (chunk === null && !stream.closed) this.#hasWholeBody = true;
      return push(chunk, encoding);
    };
    let announcements = 0;
    stream.on('headers', () => {
      announcements += 1;
      if (announcements <= mostAnnouncements) return;
      const error = new ConnectionLostError('The other side sent interim answers without end.');
      this.lose(error);
      this.#session?.destroy(error);
    });
    stream.on('response', (headers) => {
      if (this.#isOver || this.#reason !== null) return;
      this.#onHeard();
      const { ':status': status = 0, ...rest } = headers;
      this.rawHeaders = rest;
      this.#handler.onResponseStart?.(this, status, rest, '');
    });
    stream.on('data', (chunk: Buffer) => {
      if (this.#isOver || this.#reason !== null) return;
      this.#onHeard();
      this.#handler.onResponseData?.(this, chunk);
    });
    stream.on('trailers', (trailers) => {
      this.rawTrailers = trailers;
    });
    stream.on('end', () => {
      if (!this.#hasWholeBody || this.#isOver || this.#reason !== null) return;
      // Answered before the request was read to its end: the rest is not wanted.
      if (!stream.writableFinished) stream.close(constants.NGHTTP2_NO_ERROR);
      this.#end();
      this.#handler.onResponseEnd?.(this, this.rawTrailers ?? {});
    });
    stream.on('error', (error) => {
      this.#error ??= error;
    });
    stream.on('close', () => this.#fail());
  }

  #end(): void {
    this.#isOver = true;
    this.#onOver(this);
  }

  /** The end, unless there was one. */
  #fail(): void {
    if (this.#isOver) return;
    if (this.#reason === null && this.#hasWholeBody && this.#stream?.readableLength === 0) {
      this.#end();
      this.#handler.onResponseEnd?.(this, this.rawTrailers ?? {});
      return;
    }
    const error = this.#failure();
    this.#end();
    this.#handler.onResponseError?.(this, error);
  }

  #failure(): Error {
    if (this.#reason !== null) return this.#reason;
    const stream = this.#stream;
    if (stream === undefined) return this.#error ?? new ConnectionLostError('The connection was lost.');
    const isRefused = this.#isUnprocessed || stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
    // What was answered was processed, whatever the other side says.
    if (isRefused && this.rawHeaders === null) {
      return new UnsentError('refused', 'The server did not process the request. Try again.');
    }
    if (this.#error instanceof UnsentError || this.#error instanceof ConnectionLostError) return this.#error;
    if (this.#session?.destroyed) {
      return new ConnectionLostError('The connection was lost.', this.#error);
    }
    return new StreamResetError(nameOf(stream.rstCode ?? constants.NGHTTP2_INTERNAL_ERROR));
  }
}

function headersOf(origin: URL, options: NetworkDispatchOptions): OutgoingHttpHeaders {
  const { method, path, headers, body } = options;
  const sent: OutgoingHttpHeaders = {
    ':method': method,
    ':scheme': 'https',
    ':authority': origin.host,
    ':path': path,
  };
  for (const [name, value] of Object.entries(headers ?? {})) {
    const lower = name.toLowerCase();
    if (value !== undefined && !connectionHeaders.has(lower)) sent[lower] = value;
  }
  if (body != null) sent['content-length'] = Buffer.byteLength(body);
  return sent;
}

function nameOf(code: number): string {
  const found = Object.entries(constants).find(
    ([name, value]) =>
      value === code &&
      /^NGHTTP2_(?!ERR_|NV_|HCAT_|FLAG_|SETTINGS_|DEFAULT_|SESSION_|STREAM_STATE)/.test(name),
  );
  return found?.[0] ?? `code ${code}`;
}
