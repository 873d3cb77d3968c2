import { errorCode } from '../errors.ts';
import type { CutReason } from './connections.ts';
import { pathOf } from './served-routes.ts';

/** What is wrong with a request before any route has read it. */
export type HttpFaultKind =
  | 'foreign_host'
  | 'foreign_origin'
  | 'invalid_key'
  | 'too_many_attempts'
  | 'invalid_request'
  | 'invalid_body'
  | 'client_left'
  | 'too_large'
  | 'overloaded'
  | 'unsupported_encoding'
  | 'not_found'
  | 'method_not_allowed';

export class HttpFault extends Error {
  readonly kind: HttpFaultKind;
  /** When another try makes sense. */
  readonly retryAfterMs: number | undefined;
  constructor(
    kind: HttpFaultKind,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number } = {},
  ) {
    super(message, options);
    this.name = 'HttpFault';
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Node's word for a client that has left, as HttpFault; any other error as it is. */
export function httpFaultFrom(error: unknown): unknown {
  return errorCode(error) === 'ECONNRESET'
    ? new HttpFault('client_left', 'The client left before its request was complete.')
    : error;
}

export const bodyTooLarge = (): HttpFault =>
  new HttpFault('too_large', 'The body is larger than this service takes: send a smaller one.');

export type UnreadableError = NodeJS.ErrnoException & { readonly rawPacket?: unknown };

/** An answer to a connection that no route answers. */
export interface Refusal {
  readonly status: string;
  readonly fault: HttpFault;
}

export const unknownMethod: Refusal = {
  status: '405 Method Not Allowed',
  fault: new HttpFault('method_not_allowed', 'The method of the request is unknown: use GET or POST.'),
};

const tooSlow: Refusal = {
  status: '408 Request Timeout',
  fault: new HttpFault('invalid_request', 'The request did not arrive in time.'),
};

/** By the reason why a connection is closed. */
export const cuts: Record<CutReason, Refusal> = {
  slow: tooSlow,
  full: {
    status: '503 Service Unavailable',
    fault: new HttpFault('overloaded', 'Too many connections are open: close those that are not needed.', {
      retryAfterMs: 5_000,
    }),
  },
};

/** By the code of what Node's parser gave up on; others are `notHttp`. */
const unreadables: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: {
    status: '431 Request Header Fields Too Large',
    fault: new HttpFault('invalid_request', 'The headers of the request are larger than 16 KiB.'),
  },
  ERR_HTTP_REQUEST_TIMEOUT: tooSlow,
};
const notHttp: Refusal = {
  status: '400 Bad Request',
  fault: new HttpFault('invalid_request', 'The request is not valid HTTP.'),
};

/** The answer to what Node's parser gave up on, and the path as far as it could be read. */
export function unreadable({
  code = '',
  rawPacket,
}: UnreadableError): readonly [refusal: Refusal, path: string] {
  const start = Buffer.isBuffer(rawPacket) ? rawPacket.toString('latin1', 0, 2048) : '';
  const [, target] = /^[A-Za-z-]+ (\S+) HTTP\/1\.[01]\r?\n/.exec(start) ?? [];
  const isMethod = code === 'HPE_INVALID_METHOD' && target !== undefined;
  return [
    isMethod ? unknownMethod : (unreadables[code] ?? notHttp),
    target === undefined ? '' : pathOf(target),
  ];
}
