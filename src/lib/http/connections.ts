import { readFileSync } from 'node:fs';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { HttpFault } from './http-fault.ts';

export interface ConnectionLimits {
  /** All connections of a service. */
  readonly most: number;
  /** Those among them on which no key has been shown yet. */
  readonly mostWithoutKey: number;
  /** Those on which one and the same key was shown last. */
  readonly mostOfKey: number;
  /** The time for the headers of a request, also for the first one of a new connection. */
  readonly headersMs: number;
  /** How often arriving bodies are looked at, and by how many bytes each must have grown since the last look. */
  readonly lookEveryMs: number;
  readonly leastGrowth: number;
  /** After this time a connection is closed whose client neither reads nor sends anything. */
  readonly silentMs: number;
}

/**
 * A thousand streams and as many idle connections of a team's clients are nothing unusual. The files a process may open are
 * shared with the other service and with the connections to vendors, so one service gets a quarter at most.
 */
const mostConnections = 4_000;

export const connectionLimits = (): ConnectionLimits => {
  const most = Math.min(mostConnections, Math.floor(openFilesLimit() / 4));
  return {
    most,
    mostWithoutKey: Math.ceil(most / 4),
    mostOfKey: Math.ceil((most * 3) / 4),
    headersMs: 30_000,
    lookEveryMs: 15_000,
    // Half a kilobyte a second; a phone with hardly any network sends more.
    leastGrowth: 8 * 1024,
    silentMs: 300_000,
  };
};

/** Without limit where the system does not say. */
function openFilesLimit(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

interface Known {
  readonly keyId: string;
  /** Counts the requests of all connections: the lower, the longer ago its last one. */
  lastRequest: number;
}

const tooManyOfKey =
  'Too many connections with this key are open: close those that are not needed, or use them again.';

/** Why a connection is closed without an answer of a route. */
export type CutReason = 'full' | 'slow';

/**
 * Bounds the connections of a service in number and time. Where there are too many, those without a key are closed first,
 * oldest first, and then idle ones, the longest idle first.
 */
export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #refuse: (socket: Socket, reason: CutReason) => void;
  readonly #onCrowded: (count: number) => void;
  /** In the order they were opened. */
  readonly #withoutKey = new Set<Socket>();
  /** Nothing is moved in it with each request: V8 links each table that a map has outgrown to the next, and so keeps what was there. */
  readonly #known = new Map<Socket, Known>();
  #requests = 0;
  /** How many of them show each key. */
  readonly #ofKey = new Map<string, number>();
  /** Arriving bodies, with the bytes of their connections at the last look. */
  #growing = new Map<ServerResponse, number>();
  #closed = 0;
  readonly #servers = new Set<Server>();
  #timer: NodeJS.Timeout | undefined;

  constructor(
    limits: ConnectionLimits,
    on: {
      /** Answers and cuts a connection. */
      refuse(socket: Socket, reason: CutReason): void;
      /** How many were closed to make room since it was last called. At most once a minute. */
      crowded(count: number): void;
    },
  ) {
    this.#limits = limits;
    this.#refuse = on.refuse;
    this.#onCrowded = on.crowded;
  }

  watch(server: Server): void {
    gateRequests(server);
    server.on('connection', (socket) => this.#enter(socket));
    server.on('timeout', (socket) => {
      if (!this.#isWaiting(socket)) socket.destroy();
    });
    server.once('close', () => {
      this.#servers.delete(server);
      if (this.#servers.size === 0) clearInterval(this.#timer);
    });
    this.#servers.add(server);
    // One for all servers, so that every body has the same time to grow.
    this.#timer ??= setInterval(() => this.#look(), this.#limits.lookEveryMs).unref();
  }

  /** To be called once a request has shown a key. Throws HttpFault where too many connections show it already. */
  showedKey(socket: Socket, keyId: string): void {
    const before = this.#known.get(socket);
    if (!before && !this.#withoutKey.has(socket)) return;
    const known = before?.keyId === keyId ? before : this.#know(socket, keyId);
    this.#requests += 1;
    known.lastRequest = this.#requests;
    while ((this.#ofKey.get(keyId) ?? 0) > this.#limits.mostOfKey) {
      const idle = this.#idle(keyId);
      if (idle === undefined) throw new HttpFault('overloaded', tooManyOfKey, { retryAfterMs: 5_000 });
      this.#close(idle);
    }
  }

  #know(socket: Socket, keyId: string): Known {
    this.#forget(socket);
    const known: Known = { keyId, lastRequest: this.#requests };
    this.#known.set(socket, known);
    this.#ofKey.set(keyId, (this.#ofKey.get(keyId) ?? 0) + 1);
    return known;
  }

  #forget(socket: Socket): void {
    this.#withoutKey.delete(socket);
    const known = this.#known.get(socket);
    if (known === undefined) return;
    this.#known.delete(socket);
    const left = (this.#ofKey.get(known.keyId) ?? 1) - 1;
    if (left === 0) this.#ofKey.delete(known.keyId);
    else this.#ofKey.set(known.keyId, left);
  }

  /** For a server that is closing, since Node then checks no time limits: ends those that are not being answered. */
  closeUnserved(): void {
    for (const socket of this.#withoutKey) socket.destroy();
    for (const socket of this.#known.keys()) {
      const response = lastResponse(socket);
      if (!response?.req.complete || response.writableEnded) socket.destroy();
    }
  }

  #enter(socket: Socket): void {
    this.#withoutKey.add(socket);
    socket.once('close', () => this.#forget(socket));
    const { most, mostWithoutKey } = this.#limits;
    const isCrowded = this.#withoutKey.size > mostWithoutKey;
    if (!isCrowded && this.#withoutKey.size + this.#known.size <= most) return;
    this.#closed += 1;
    if (this.#closed === 1) this.#reportCrowded();
    const one = this.#oneToSpare(socket);
    if (one === undefined) this.#close(socket, 'full');
    else this.#close(one);
  }

  #oneToSpare(newest: Socket): Socket | undefined {
    const [oldest] = this.#withoutKey;
    if (oldest !== newest) return oldest;
    return this.#idle();
  }

  /** The one that has waited longest for its client, of all or of those that show one key. */
  #idle(ofKey?: string): Socket | undefined {
    let longest: readonly [Socket, Known] | undefined;
    for (const [socket, known] of this.#known) {
      if (lastResponse(socket)?.writableFinished === false) continue;
      if (ofKey !== undefined && ofKey !== known.keyId) continue;
      if (!longest || known.lastRequest < longest[1].lastRequest) longest = [socket, known];
    }
    return longest?.[0];
  }

  #close(socket: Socket, reason?: CutReason): void {
    this.#forget(socket);
    if (reason === undefined) socket.destroy();
    else this.#refuse(socket, reason);
  }

  /** Reports the first one immediately, the others of the same minute together. */
  #reportCrowded(): void {
    this.#onCrowded(this.#closed);
    setTimeout(() => {
      if (this.#closed > 1) this.#onCrowded(this.#closed - 1);
      this.#closed = 0;
    }, 60_000).unref();
  }

  /** A client may be silent while it waits for an answer and has read all that was written. */
  #isWaiting(socket: Socket): boolean {
    const response = this.#known.has(socket) ? lastResponse(socket) : undefined;
    if (response === undefined || response.writableFinished || !response.req.complete) return false;
    return socket.writableLength === 0 && response.writableLength === 0;
  }

  #look(): void {
    const before = this.#growing;
    this.#growing = new Map();
    for (const socket of this.#known.keys()) {
      const response = lastResponse(socket);
      if (response === undefined) continue;
      // The handshake of a WebSocket may name the length of a body, but frames follow it.
      const { complete, upgrade } = response.req as typeof response.req & { readonly upgrade?: boolean };
      if (complete || upgrade || response.headersSent) continue;
      const least = (before.get(response) ?? Number.NEGATIVE_INFINITY) + this.#limits.leastGrowth;
      this.#growing.set(response, socket.bytesRead);
      if (socket.bytesRead >= least) continue;
      // Bytes that arrived while the process was busy or stopped are read before this runs.
      setImmediate(() => {
        if (!response.req.complete && socket.bytesRead < least) this.#refuse(socket, 'slow');
      });
    }
  }
}

/**
 * Requests of one connection that may wait for their turn. Clients that pipeline at all send a handful; without a bound a few
 * kilobytes of tiny requests keep the process busy for seconds.
 */
const mostWaiting = 32;

const awaitsContinue = new WeakSet<IncomingMessage>();

/** What is known of a connection. */
interface Served {
  /** How much of it had been read when its last request was served. */
  bytesRead: number;
  /** How many of its requests wait for their turn. */
  waiting: number;
  /** To the request that its server was given last, until both have ended. */
  response: ServerResponse | undefined;
}

const served = new WeakMap<Socket, Served>();

function servedOn(socket: Socket): Served {
  const known = served.get(socket);
  if (known) return known;
  const connection = { bytesRead: -1, waiting: 0, response: undefined };
  served.set(socket, connection);
  return connection;
}

/**
 * Lets requests reach the server's listener one after another for each connection, and those that were read together each in
 * another turn of the event loop, so that other connections have theirs between. A client that asks first whether to send its
 * body (`Expect: 100-continue`) waits for `takeBody`.
 */
function gateRequests(server: Server): void {
  const [serve] = server.listeners('request') as RequestListener[];
  if (serve === undefined) throw new Error('The server has no listener for requests yet.');

  function serveNow(connection: Served, request: IncomingMessage, response: ServerResponse): void {
    connection.bytesRead = request.socket.bytesRead;
    connection.response = response;
    response.on('close', forget);
    // A reader that breaks off mid-write ends its own answer, not the process.
    response.on('error', ignore);
    serve?.(request, response);
  }

  function enter(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const connection = servedOn(socket);
    // Node gives a response its socket when those before it have ended.
    const isNext = response.socket !== null;
    if (isNext && connection.bytesRead !== socket.bytesRead) {
      serveNow(connection, request, response);
      return;
    }
    if (socket.destroyed) return;
    connection.waiting += 1;
    if (connection.waiting > mostWaiting) {
      socket.destroy();
      return;
    }
    const serveLater = (): void => {
      setImmediate(() => {
        connection.waiting -= 1;
        if (!socket.destroyed) serveNow(connection, request, response);
      });
    };
    if (isNext) serveLater();
    else response.once('socket', serveLater);
  }

  server.removeListener('request', serve);
  server.on('request', enter);
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    awaitsContinue.add(request);
    enter(request, response);
  });
  // Node answers an Expect it does not know with a bare 417; it may be passed over.
  server.on('checkExpectation', enter);
}

function ignore(): void {}

/** A response holds all of its request, which a connection that waits for the next one must not keep. */
function forget(this: ServerResponse): void {
  const connection = served.get(this.req.socket);
  if (connection?.response === this && this.req.complete) connection.response = undefined;
}

/** To the last request of a connection, until both have ended. */
function lastResponse(socket: Socket): ServerResponse | undefined {
  return served.get(socket)?.response;
}

/** To be called when a body is about to be read: a client that asked first (`Expect: 100-continue`) gets its 100 now. */
export function takeBody(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.expect !== undefined && awaitsContinue.delete(request)) response.writeContinue();
}

/** Whether a connection has part of an answer, or all of one whose request is still on its way, so that nothing may follow. */
export function isAnswering(socket: Socket): boolean {
  const response = lastResponse(socket);
  return response?.headersSent === true && !(response.writableFinished && response.req.complete);
}
