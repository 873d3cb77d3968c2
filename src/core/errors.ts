/** What an error does to the choice of account: never another, another, another but once, or after a refresh. */
type Failover = 'no' | 'yes' | 'once';

interface ErrorRow {
  readonly status: number;
  readonly openaiType: string;
  /** The `code` word of the OpenAI dialect; null where the convention is null. */
  readonly openaiCode: string | null;
  readonly failover: Failover;
  /** The Anthropic dialect's `type`, and its status where that differs. */
  readonly anthropicType: string;
  readonly anthropicStatus: number;
}

/** The one table of errors: every surface maps from it, nobody picks a status of their own. */
const table = {
  invalid_request: row(400, 'invalid_request_error', null, 'no', 'invalid_request_error'),
  context_too_long: row(
    400,
    'invalid_request_error',
    'context_length_exceeded',
    'no',
    'invalid_request_error',
  ),
  previous_response_not_found: row(
    400,
    'invalid_request_error',
    'previous_response_not_found',
    'no',
    'invalid_request_error',
  ),
  websocket_connection_limit_reached: row(
    400,
    'invalid_request_error',
    'websocket_connection_limit_reached',
    'no',
    'invalid_request_error',
  ),
  invalid_key: row(401, 'invalid_request_error', 'invalid_api_key', 'no', 'authentication_error'),
  forbidden: row(403, 'permission_error', 'model_not_allowed', 'no', 'permission_error'),
  model_not_found: row(404, 'invalid_request_error', 'model_not_found', 'no', 'not_found_error'),
  not_found: row(404, 'invalid_request_error', 'not_found', 'no', 'not_found_error'),
  method_not_allowed: row(405, 'invalid_request_error', 'method_not_allowed', 'no', 'invalid_request_error'),
  request_timeout: row(408, 'invalid_request_error', 'request_timeout', 'no', 'invalid_request_error'),
  too_large: row(413, 'invalid_request_error', 'request_too_large', 'no', 'request_too_large'),
  unsupported_media_type: row(
    415,
    'invalid_request_error',
    'unsupported_media_type',
    'no',
    'invalid_request_error',
  ),
  key_rate_limited: row(429, 'rate_limit_error', 'rate_limit_exceeded', 'no', 'rate_limit_error'),
  key_quota_exhausted: row(429, 'insufficient_quota', 'insufficient_quota', 'no', 'rate_limit_error'),
  upstream_rate_limited: row(429, 'rate_limit_error', 'rate_limit_exceeded', 'yes', 'rate_limit_error'),
  upstream_quota_exhausted: row(429, 'insufficient_quota', 'insufficient_quota', 'yes', 'rate_limit_error'),
  upstream_refused: row(403, 'permission_error', 'upstream_refused', 'no', 'permission_error'),
  upstream_unauthorized: row(502, 'server_error', 'upstream_unauthorized', 'yes', 'api_error', 500),
  upstream_unavailable: row(502, 'server_error', 'upstream_unavailable', 'yes', 'api_error', 500),
  upstream_timeout: row(504, 'server_error', 'upstream_timeout', 'yes', 'api_error', 500),
  model_unavailable: row(503, 'server_error', 'model_unavailable', 'once', 'overloaded_error', 529),
  upstream_protocol: row(502, 'server_error', 'upstream_protocol', 'yes', 'api_error', 500),
  no_account_available: row(503, 'server_error', 'no_account_available', 'no', 'overloaded_error', 529),
  pool_unavailable: row(503, 'server_error', 'pool_unavailable', 'no', 'overloaded_error', 529),
  storage_unavailable: row(503, 'server_error', 'storage_unavailable', 'no', 'overloaded_error', 529),
  shutting_down: row(503, 'server_error', 'shutting_down', 'no', 'overloaded_error', 529),
  cancelled: row(499, 'server_error', 'cancelled', 'no', 'api_error'),
  internal: row(500, 'server_error', 'internal_error', 'no', 'api_error'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof table;

export interface AppErrorOptions {
  readonly cause?: unknown;
  /** Milliseconds after which another try makes sense; becomes Retry-After. */
  readonly retryAfterMs?: number;
  /** The request field at fault, as the client spelled it. */
  readonly param?: string;
  /** When the vendor says the quota comes back. */
  readonly resetAt?: Date;
  /** What a dialect's clients read beside the message, in that dialect's own words. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Work may have been done that must not be done twice: no other account is tried. */
  readonly isFinal?: boolean;
}

/** The only error that crosses a layer. Its message may be shown to the client; its cause goes to the log only. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly retryAfterMs: number | undefined;
  readonly param: string | undefined;
  readonly resetAt: Date | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  readonly isFinal: boolean;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.param = options.param;
    this.resetAt = options.resetAt;
    this.details = options.details;
    this.isFinal = options.isFinal === true;
  }

  get status(): number {
    return table[this.code].status;
  }
  get openaiType(): string {
    return table[this.code].openaiType;
  }
  get openaiCode(): string | null {
    return table[this.code].openaiCode;
  }
  get anthropicType(): string {
    return table[this.code].anthropicType;
  }
  get anthropicStatus(): number {
    return table[this.code].anthropicStatus;
  }
  get failover(): Failover {
    return this.isFinal ? 'no' : table[this.code].failover;
  }

  /** The funnel: whatever was thrown, as an AppError. An unknown error keeps its message to the log. */
  static from(error: unknown): AppError {
    if (error instanceof AppError) return error;
    return new AppError('internal', 'The service met an internal error; its log has the details.', {
      cause: error,
    });
  }
}

function row(
  status: number,
  openaiType: string,
  openaiCode: string | null,
  failover: Failover,
  anthropicType: string,
  anthropicStatus = status,
): ErrorRow {
  return { status, openaiType, openaiCode, failover, anthropicType, anthropicStatus };
}
