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

export const bodyTooLarge = (): HttpFault =>
  new HttpFault('too_large', 'The body is larger than this service takes: send a smaller one.');
