// The connections that clients made, and what can go wrong with one of them.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type Http2ServerResponse, type Http2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';

/** One connection, as tests look at it. */
export interface SandboxConnection {
  /** Counted from 1. */
  readonly id: number;
  readonly isSecure: boolean;
  /** Undefined until its first request. */
  readonly protocol: 'http/1.1' | 'h2' | undefined;
  /** Requests so far: streams, of h2. */
  readonly requests: number;
  /** Those not answered yet. */
  readonly open: number;
  /** The most that were open at a time. */
  readonly mostOpen: number;
  /** Chat requests among them, and the most of these that were open at a time. */
  readonly turns: number;
  readonly mostTurnsOpen: number;
  readonly isClosed: boolean;
}

/** What this module uses of the handle below a socket. */
interface SocketHandle {
  readStop(): void;
}

export class Connection implements SandboxConnection {
  readonly id: number;
  readonly isSecure: boolean;
  protocol: 'http/1.1' | 'h2' | undefined;
  requests = 0;
  open = 0;
  mostOpen = 0;
  turns = 0;
  mostTurnsOpen = 0;
  isClosed = false;
  /** Nothing is read or sent any more. */
  isFrozen = false;
  readonly #socket: Socket;
  #session: Http2Session | undefined;
  #turnsOpen = 0;

  constructor(id: number, isSecure: boolean, socket: Socket) {
    this.id = id;
    this.isSecure = isSecure;
    this.#socket = socket;
    socket.once('close', () => {
      this.isClosed = true;
    });
  }

  count(response: ServerResponse, isTurn: boolean): void {
    const stream = streamOf(response);
    this.protocol = stream ? 'h2' : 'http/1.1';
    this.#session = stream?.session;
    this.requests += 1;
    this.open += 1;
    this.mostOpen = Math.max(this.mostOpen, this.open);
    if (isTurn) {
      this.turns += 1;
      this.#turnsOpen += 1;
      this.mostTurnsOpen = Math.max(this.mostTurnsOpen, this.#turnsOpen);
    }
    response.once('close', () => {
      this.open -= 1;
      if (isTurn) this.#turnsOpen -= 1;
    });
  }

  /** Ends the connection and all that runs on it. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Tells the client to open no more streams here; the open ones go on. Nothing, over HTTP/1.1. */
  goAway(code: number = constants.NGHTTP2_NO_ERROR): void {
    if (this.#session?.destroyed === false) this.#session.goaway(code);
  }

  /** GOAWAY that disowns this stream and all later ones: of them nothing more is sent. */
  goAwayBelow(response: ServerResponse): void {
    const stream = streamOf(response);
    // There is no stream below the first: Node reads 0 as the last one.
    if (!stream?.session || stream.id === undefined || stream.id <= 1) this.destroy();
    else stream.session.goaway(constants.NGHTTP2_NO_ERROR, stream.id - 2);
  }

  /** What a server does whose idle time ended while this request was on its way. Others on the session go on. */
  closeAsUsedAgain(response: ServerResponse): void {
    if (this.open > 1) this.goAwayBelow(response);
    else this.destroy();
  }

  /** From now on the connection is dead without being closed: no PING is answered and nothing is sent. */
  freeze(): void {
    this.isFrozen = true;
    // Node has no call for this: a TLS socket reads from the handle and not through the socket below it.
    const { _handle: handle } = this.#socket as unknown as { _handle?: SocketHandle | null };
    handle?.readStop();
  }
}

export class Connections {
  /** The last 1,000, oldest first. */
  readonly list: Connection[] = [];
  readonly #open = new Map<string, Connection>();
  #count = 0;

  add(socket: Socket, isSecure: boolean): void {
    this.#count += 1;
    const connection = new Connection(this.#count, isSecure, socket);
    const key = keyOf(socket);
    this.#open.set(key, connection);
    this.list.push(connection);
    if (this.list.length > kept) this.list.shift();
    socket.once('close', () => {
      if (this.#open.get(key) === connection) this.#open.delete(key);
    });
  }

  /** The connection a request came on. */
  of(request: IncomingMessage): Connection | undefined {
    return this.#open.get(keyOf(request.socket));
  }

  get open(): Connection[] {
    return [...this.#open.values()];
  }
}

const kept = 1_000;

/** The other end: it names a connection whatever wraps its socket. */
function keyOf({ remoteAddress, remotePort, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localPort}`;
}

/** The stream of an HTTP/2 response; undefined over HTTP/1.1. */
function streamOf(response: ServerResponse): ServerHttp2Stream | undefined {
  return (response as unknown as Partial<Http2ServerResponse>).stream;
}

/** What a response writes to. Over HTTP/2 the stream alone tells whether it takes more. */
export function bodyOf(response: ServerResponse): Writable {
  return streamOf(response) ?? response;
}

/** Breaks off one answer: RST_STREAM over HTTP/2, else the connection is closed. */
export function breakOff(response: ServerResponse, code: number = constants.NGHTTP2_INTERNAL_ERROR): void {
  const stream = streamOf(response);
  if (stream) stream.close(code);
  else response.destroy();
}

/** As `breakOff`, but what was sent may be lost as well. */
export function resetConnection(response: ServerResponse): void {
  const stream = streamOf(response);
  if (stream) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  else response.socket?.resetAndDestroy();
}
