import { type ClientHttp2Session, connect } from 'node:http2';
import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import type { Connection, NetworkDispatchOptions, OriginOptions, PooledConnection } from './exchange.ts';
import { Http2Exchange } from './http2-exchange.ts';
import { UnsentError } from './transport-errors.ts';

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
    resolve(new Http2Connection(session, options));
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
  readonly #options: Http2Options;
  readonly #open = new Set<Http2Exchange>();
  readonly #hooks = {
    onHeard: () => {
      this.heard += 1;
    },
    onOver: (exchange: Http2Exchange) => this.#onOver(exchange),
  };
  #peerMaxStreams: number;
  #isGoingAway = false;
  #cancelTick: () => void;
  #ticksSinceAnswer = 0;
  #ticksSincePing: number | undefined;
  #ticksIdle = 0;

  constructor(session: ClientHttp2Session, options: Http2Options) {
    const { serial, clock, maxStreams, listener } = options;
    this.serial = serial;
    this.#session = session;
    this.#options = options;
    this.#peerMaxStreams = session.remoteSettings.maxConcurrentStreams ?? maxStreams;
    this.#cancelTick = clock.after(tickMs, () => this.#tick());
    session.unref();
    session.on('remoteSettings', ({ maxConcurrentStreams }) => {
      this.#peerMaxStreams = maxConcurrentStreams ?? maxStreams;
      listener.onChange(this);
    });
    session.on('goaway', (_code, lastStreamId) => {
      this.#isGoingAway = true;
      for (const exchange of this.#open) exchange.goAway(lastStreamId);
      listener.onChange(this);
    });
    session.on('error', (error) => this.#lose(error));
    session.once('close', () => {
      this.#lose(new Error('the session closed'));
      this.#cancelTick();
      listener.onClosed(this);
    });
  }

  get room(): number {
    if (this.#isGoingAway || this.#session.closed || this.#session.destroyed) return 0;
    const { isKept, maxStreams } = this.#options;
    if (this.used > 0 && !isKept) return 0;
    return Math.max(0, Math.min(isKept ? maxStreams : 1, this.#peerMaxStreams) - this.#open.size);
  }

  send(options: NetworkDispatchOptions, handler: Dispatcher.DispatchHandler): void {
    const exchange = new Http2Exchange(handler, this.#hooks);
    this.used += 1;
    if (this.#open.size === 0) {
      this.#session.ref();
      this.#ticksIdle = 0;
      // A session that was idle may have lost its other side unseen.
      if (this.#ticksSinceAnswer > 0) this.#ping();
    }
    this.#open.add(exchange);
    exchange.start(this.#session, this.#options.origin, options);
  }

  destroy(error: Error): void {
    this.#lose(error);
    this.#session.destroy();
  }

  #onOver(exchange: Http2Exchange): void {
    this.#open.delete(exchange);
    if (!this.#options.isKept) this.#session.close();
    else if (this.#open.size === 0) this.#session.unref();
    this.#options.listener.onChange(this);
  }

  /** Takes no more streams, and closes when the open ones have ended. */
  #retire(): void {
    this.#isGoingAway = true;
    this.#options.listener.onChange(this);
    this.#session.close();
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
      if (this.#ticksIdle >= idleTicks) this.#retire();
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
