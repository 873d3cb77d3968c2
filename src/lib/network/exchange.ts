import type { Dispatcher } from 'undici';
import type { Clock } from '../clock.ts';

export interface NetworkDispatchOptions extends Dispatcher.DispatchOptions {
  readonly body?: string | Uint8Array | null;
  /** Ends the wait for a connection. Once the request is sent, its controller does that. */
  readonly signal?: AbortSignal | null;
  /** Fails, unsent, where the origin does not speak HTTP/2. */
  readonly needsHttp2?: boolean;
  /** A kept connection that closes as it is used again: the request is sent once more. Idempotent methods always are. */
  readonly mayResend?: boolean;
}

/** Headers about a connection, which are not the caller's to give. */
export const connectionHeaders: ReadonlySet<string> = new Set([
  'connection',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** Interim answers such as 103 (Early Hints): a server sends one or two before its real answer. */
export const mostAnnouncements = 100;

/** One connection to an origin. */
export interface Connection {
  /** Increases with each connection to an origin. */
  readonly serial: number;
  readonly isHttp2: boolean;
  /** Requests it can begin now. */
  readonly room: number;
  /** Requests it has been given so far. */
  readonly used: number;
  /** Counts what has come from the other side. */
  readonly heard: number;
  send(options: NetworkDispatchOptions, handler: Dispatcher.DispatchHandler): void;
  destroy(error: Error): void;
}

/** How the connections to one origin are made and used. */
export interface OriginOptions {
  readonly origin: URL;
  readonly clock: Clock;
  /** Streams of one HTTP/2 session at a time, at most: a lost session costs no more turns than that. */
  readonly maxStreams: number;
  /** False: every request has its own connection, and is sent once. */
  readonly isKept: boolean;
  readonly connectTimeoutMs: number;
}

/** How one of them is known to the pool it is in. */
export interface PooledConnection {
  readonly serial: number;
  readonly listener: ConnectionListener;
}

/** What a connection says to the pool it is in. */
export interface ConnectionListener {
  /** Its room may have changed. */
  onChange(connection: Connection): void;
  onClosed(connection: Connection): void;
}
