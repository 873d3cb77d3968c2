import { errorCode } from '../errors.ts';

/** Where a request failed that never reached the other side. */
export type UnsentPhase =
  /** The name has no address. */
  | 'name'
  /** No connection: refused, unreachable, too slow. */
  | 'connect'
  /** No trust: the certificate, or the handshake. */
  | 'tls'
  /** The proxy on the way cannot be reached, or would not open the way. */
  | 'proxy'
  /** The other side speaks an HTTP version that the request cannot use. */
  | 'protocol'
  /** The other side said that it did not process the request. */
  | 'refused'
  /** The connection had closed before the request was written. */
  | 'closed';

/** No byte of the request was processed by the other side. The message says what to do and holds no secret. */
export class UnsentError extends Error {
  readonly phase: UnsentPhase;
  /** The system's own word, such as ENOTFOUND. */
  readonly code: string | undefined;

  constructor(phase: UnsentPhase, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'UnsentError';
    this.phase = phase;
    this.code = errorCode(cause);
  }
}

export function closedBefore(cause?: unknown): UnsentError {
  return new UnsentError(
    'closed',
    'The connection had closed before the request was sent. Try again.',
    cause,
  );
}

/** The connection broke while a request was on it. */
export class ConnectionLostError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ConnectionLostError';
  }
}

/** The other side ended one HTTP/2 stream before its end. */
export class StreamResetError extends Error {
  /** Such as NGHTTP2_INTERNAL_ERROR. */
  readonly code: string;

  constructor(code: string) {
    super(`the other side reset the stream (${code})`);
    this.name = 'StreamResetError';
    this.code = code;
  }
}

const lossCodes = new Set(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'UND_ERR_SOCKET']);

/** The connection was closed or reset, as against an answer that cannot be read or an end from our side. */
export function isConnectionLoss(error: unknown): boolean {
  return error instanceof ConnectionLostError || lossCodes.has(errorCode(error) ?? '');
}

/** The failure that proves that no byte of the request was processed, if there is one among the causes of `error`. */
export function unsentIn(error: unknown): UnsentError | undefined {
  let link = error;
  for (let depth = 0; link instanceof Error && depth < 6; depth += 1) {
    if (link instanceof UnsentError) return link;
    link = link.cause;
  }
  return undefined;
}

/** System errors of a connection that was never made; they come from clients that make their own. */
const neverConnected = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
  // No such socket.
  'ENOENT',
]);

/** No byte of the request was processed by the other side. The only judge of that. */
export function isSurelyUnsent(error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || depth > 5) return false;
  if (error instanceof UnsentError) return true;
  // A connection that was there may break with the code of one that is never made, as where a network goes away.
  if (error instanceof ConnectionLostError) return false;
  // Several addresses were tried: each of them must have failed so.
  if (error instanceof AggregateError) {
    return error.errors.length > 0 && error.errors.every((one) => isSurelyUnsent(one, depth + 1));
  }
  return neverConnected.has(errorCode(error) ?? '') || isSurelyUnsent(error.cause, depth + 1);
}
