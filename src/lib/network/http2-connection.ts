import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { Socket } from 'node:net';
import {
  type Connection,
  connectionHeaders,
  Exchange,
  maxStreams,
  mostAnnouncements,
  type NetworkDispatchOptions,
  type OriginOptions,
  type PendingRequest,
  type PooledConnection,
} from './exchange.ts';
import { ConnectionLostError, closedBefore, StreamResetError, UnsentError } from './transport-errors.ts';

/** How much of an answer the other side may send before we have read it. */
const streamWindowBytes = 256 * 1024;
const sessionWindowBytes = 8 * 1024 * 1024;
/** Node counts what waits to be sent: several large requests must fit. */
const sessionMemoryMegabytes = 512;

/** Time is counted in ticks, so that a process that was paused reads what has come meanwhile before it judges. */
const tickMs = 5_000;
const pingEveryTicks = 4;
const deadAfterTicks = 3;
const idleTicks = 12;

type Http2Options = OriginOptions & PooledConnection;

/** Begins HTTP/2 on a connection that has negotiated it. Rejects with UnsentError. */
export function openHttp2(socket: Socket, options: Http2Options): Promise<Http2Connection> {
  const { promise, resolve, reject } = Promise.withResolvers<Http2Connection>();
  const session = connect(options.origin, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: streamWindowBytes },
    maxSessionMemory: sessionMemoryMegabytes,
  });
  const fail = (cause: unknown): void => {
    cancel();
    session.destroy();
    const message = `${options.origin.host} closed the connection before it was ready: try again; if it lasts, check for a proxy or a firewall on the way.`;
    reject(new UnsentError('connect', message, cause));
  };
  const cancel = options.clock.after(options.connectTimeoutMs, () => fail(new Error('no SETTINGS in time')));
  session.on('error', fail);
  session.once('close', fail);
  session.once('connect', () => session.setLocalWindowSize(sessionWindowBytes));
  // Only then it is known how many streams the other side takes.
  session.once('remoteSettings', ({ maxConcurrentStreams }) => {
    if (maxConcurrentStreams === 0) {
      fail(new Error('no streams are allowed'));
      return;
    }
    cancel();
    session.off('error', fail);
    session.off('close', fail);
    resolve(new Http2Connection(session, socket, options));
  });
  return promise;
}

/**
 * One HTTP/2 session. Each of its streams ends exactly once, with the session or before it. While streams are open the other side
 * is pinged every 20 seconds, and counts as dead when it has not answered for 15; a session without streams ends after a minute.
 */
export class Http2Connection implements Connection {
  readonly serial: number;
  readonly isHttp2 = true;
  used = 0;
  heard = 0;
  readonly #session: ClientHttp2Session;
  readonly #socket: Socket;
  readonly #options: Http2Options;
  readonly #open = new Set<Http2Exchange>();
  #peerMaxStreams: number;
  #isGoingAway = false;
  #cancelTick: () => void;
  #ticksSinceAnswer = 0;
  #ticksSincePing: number | undefined;
  #ticksIdle = 0;

  constructor(session: ClientHttp2Session, socket: Socket, options: Http2Options) {
    const { serial, clock, pool } = options;
    this.serial = serial;
    this.#session = session;
    this.#socket = socket;
    this.#options = options;
    this.#peerMaxStreams = session.remoteSettings.maxConcurrentStreams ?? maxStreams;
    this.#cancelTick = clock.after(tickMs, () => this.#tick());
    session.unref();
    session.on('remoteSettings', ({ maxConcurrentStreams }) => {
      this.#peerMaxStreams = maxConcurrentStreams ?? maxStreams;
      pool.changed(this);
    });
    session.on('goaway', (_code, lastStreamId) => {
      this.#isGoingAway = true;
      for (const exchange of this.#open) exchange.goAway(lastStreamId);
      pool.changed(this);
    });
    session.on('error', (error) => this.#lose(error));
    session.once('close', () => {
      this.#lose(new Error('the session closed'));
      this.#cancelTick();
      pool.closed(this);
    });
  }

  get room(): number {
    if (this.#isGoingAway || this.#session.closed || this.#session.destroyed) return 0;
    const { isKept } = this.#options;
    if (this.used > 0 && !isKept) return 0;
    return Math.max(0, Math.min(isKept ? maxStreams : 1, this.#peerMaxStreams) - this.#open.size);
  }

  send(request: PendingRequest): void {
    const exchange = new Http2Exchange(request, this, this.#session);
    this.used += 1;
    if (this.#open.size === 0) {
      this.#session.ref();
      this.#ticksIdle = 0;
      // A session that was idle may have lost its other side unseen.
      if (this.#ticksSinceAnswer > 0) this.#ping();
    }
    this.#open.add(exchange);
    exchange.start(this.#options.origin);
  }

  destroy(error: Error): void {
    this.#lose(error);
    this.#session.destroy();
  }

  onOver(exchange: Http2Exchange): void {
    this.#open.delete(exchange);
    // Not `close`, which waits for the other side to close as well.
    if (!this.#options.isKept) this.#session.destroy();
    else if (this.#open.size === 0) this.#session.unref();
    this.#options.pool.changed(this);
  }

  #lose(error: Error): void {
    this.#isGoingAway = true;
    for (const exchange of this.#open) exchange.lose(error);
  }

  #tick(): void {
    this.#cancelTick = this.#options.clock.after(tickMs, () => this.#tick());
    this.#ticksSinceAnswer += 1;
    if (this.#ticksSincePing !== undefined) {
      this.#ticksSincePing += 1;
      if (this.#ticksSincePing >= deadAfterTicks) this.destroy(new Error('the other side no longer answers'));
    } else if (this.#open.size > 0) {
      this.#ticksIdle = 0;
      if (this.#ticksSinceAnswer >= pingEveryTicks) this.#ping();
    } else {
      this.#ticksIdle += 1;
      if (this.#ticksIdle < idleTicks) return;
      // Of a session that has closed, the other side may keep its half of the connection for ever.
      if (this.#session.destroyed) this.#socket.destroy();
      else this.destroy(new Error('nothing uses it'));
    }
  }

  #ping(): void {
    if (this.#ticksSincePing !== undefined) return;
    this.#ticksSincePing = 0;
    if (this.#session.destroyed) return;
    // An answer that never comes shows at a later tick; an error ends the session anyway.
    this.#session.ping((error) => {
      if (error) return;
      this.#ticksSincePing = undefined;
      this.#ticksSinceAnswer = 0;
    });
  }
}

/** One request and its answer on a stream of the session. */
class Http2Exchange extends Exchange {
  readonly #connection: Http2Connection;
  readonly #session: ClientHttp2Session;
  #stream: ClientHttp2Stream | undefined;
  #hasWholeBody = false;
  #isUnprocessed = false;
  #error: Error | undefined;

  constructor(request: PendingRequest, connection: Http2Connection, session: ClientHttp2Session) {
    super(request);
    this.#connection = connection;
    this.#session = session;
  }

  start(origin: URL): void {
    const { options } = this.request;
    const { body } = options;
    const session = this.#session;
    if (!this.begin()) {
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

  override pause(): void {
    this.paused = true;
    this.#stream?.pause();
  }

  override resume(): void {
    this.paused = false;
    this.#stream?.resume();
  }

  protected override cut(): void {
    this.#stream?.close(constants.NGHTTP2_CANCEL);
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
      this.#session.destroy(error);
    });
    stream.on('response', ({ ':status': status = 0, ...headers }) => {
      this.#connection.heard += 1;
      this.onHead(status, headers);
    });
    stream.on('data', (chunk: Buffer) => {
      this.#connection.heard += 1;
      this.onBody(chunk);
    });
    stream.on('trailers', (trailers) => {
      this.rawTrailers = trailers;
    });
    stream.on('end', () => {
      if (!this.#hasWholeBody || this.isDeaf) return;
      // Answered before the request was read to its end: the rest is not wanted.
      if (!stream.writableFinished) stream.close(constants.NGHTTP2_NO_ERROR);
      this.#end();
    });
    stream.on('error', (error) => {
      this.#error ??= error;
    });
    stream.on('close', () => this.#fail());
  }

  #end(): void {
    this.isOver = true;
    this.#connection.onOver(this);
    this.request.handler.onResponseEnd?.(this, this.rawTrailers ?? {});
  }

  /** The end, unless there was one. */
  #fail(): void {
    if (this.isOver) return;
    if (this.reason === null && this.#hasWholeBody && this.#stream?.readableLength === 0) {
      this.#end();
      return;
    }
    const error = this.#failure();
    this.isOver = true;
    this.#connection.onOver(this);
    this.request.lose(this, error);
  }

  #failure(): Error {
    if (this.reason !== null) return this.reason;
    const stream = this.#stream;
    if (stream === undefined) return this.#error ?? new ConnectionLostError('The connection was lost.');
    const isRefused = this.#isUnprocessed || stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
    // What was answered was processed, whatever the other side says.
    if (isRefused && this.rawHeaders === null) {
      return new UnsentError('refused', 'The server did not process the request. Try again.');
    }
    if (this.#error instanceof UnsentError || this.#error instanceof ConnectionLostError) return this.#error;
    if (this.#session.destroyed) {
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
