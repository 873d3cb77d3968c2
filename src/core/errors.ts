import { shortened } from '../lib/shown-text.ts';
import type { Outcome } from './outcome.ts';

/** What an error does to the choice of account: never another, another, another but once. */
type Failover = 'no' | 'yes' | 'once';

/**
 * Whose fault an error is. `request`: the same request fails on every account. `model`: the model or its vendor is
 * unavailable. `network`: the request never arrived, or something on the way answered or broke the connection.
 * `upstream`: the upstream failed or fell silent, which says little about the account. `account`: the vendor's own
 * answer about the account. `service`: this service, its pool, or one of its client keys.
 */
export type Fault = 'request' | 'model' | 'network' | 'upstream' | 'account' | 'service';

interface ErrorRow {
  readonly status: number;
  readonly openaiType: string;
  /** The `code` word of the OpenAI dialect; null where the convention is null. */
  readonly openaiCode: string | null;
  /** The Anthropic dialect's `type`, and its status where that differs. */
  readonly anthropicType: string;
  readonly anthropicStatus: number;
  readonly fault: Fault;
  readonly failover: Failover;
  /** The outcome that is reported to the pool; undefined where the error says nothing about the account. */
  readonly outcome: Outcome | undefined;
}

/** The one table of errors: every surface takes its status from it, failover and the account's state their rule. */
const table = {
  invalid_request: row(400, 'request', 'no', ['invalid_request_error', null], ['invalid_request_error']),
  context_too_long: row(
    400,
    'request',
    'no',
    ['invalid_request_error', 'context_length_exceeded'],
    ['invalid_request_error'],
  ),
  previous_response_not_found: row(
    400,
    'request',
    'no',
    ['invalid_request_error', 'previous_response_not_found'],
    ['invalid_request_error'],
  ),
  websocket_connection_limit_reached: row(
    400,
    'service',
    'no',
    ['invalid_request_error', 'websocket_connection_limit_reached'],
    ['invalid_request_error'],
  ),
  invalid_key: row(
    401,
    'service',
    'no',
    ['invalid_request_error', 'invalid_api_key'],
    ['authentication_error'],
  ),
  forbidden: row(403, 'service', 'no', ['permission_error', 'model_not_allowed'], ['permission_error']),
  operator_only: row(403, 'service', 'no', ['permission_error', 'operator_only'], ['permission_error']),
  host_not_allowed: row(403, 'service', 'no', ['permission_error', 'host_not_allowed'], ['permission_error']),
  origin_not_allowed: row(
    403,
    'service',
    'no',
    ['permission_error', 'origin_not_allowed'],
    ['permission_error'],
  ),
  model_not_found: row(
    404,
    'request',
    'no',
    ['invalid_request_error', 'model_not_found'],
    ['not_found_error'],
  ),
  not_found: row(404, 'request', 'no', ['invalid_request_error', 'not_found'], ['not_found_error']),
  method_not_allowed: row(
    405,
    'request',
    'no',
    ['invalid_request_error', 'method_not_allowed'],
    ['invalid_request_error'],
  ),
  request_timeout: row(
    408,
    'request',
    'no',
    ['invalid_request_error', 'request_timeout'],
    ['invalid_request_error'],
  ),
  too_large: row(413, 'request', 'no', ['invalid_request_error', 'request_too_large'], ['request_too_large']),
  unsupported_media_type: row(
    415,
    'request',
    'no',
    ['invalid_request_error', 'unsupported_media_type'],
    ['invalid_request_error'],
  ),
  idempotency_key_reused: row(
    422,
    'request',
    'no',
    ['invalid_request_error', 'idempotency_key_reused'],
    ['invalid_request_error'],
  ),
  turn_running_elsewhere: row(
    409,
    'service',
    'no',
    ['invalid_request_error', 'turn_running_elsewhere'],
    ['invalid_request_error'],
  ),
  turn_interrupted: row(502, 'service', 'no', ['server_error', 'turn_interrupted'], ['api_error']),
  key_rate_limited: row(
    429,
    'service',
    'no',
    ['rate_limit_error', 'rate_limit_exceeded'],
    ['rate_limit_error'],
  ),
  key_quota_exhausted: row(
    429,
    'service',
    'no',
    ['insufficient_quota', 'insufficient_quota'],
    ['rate_limit_error'],
  ),
  upstream_rate_limited: row(
    429,
    'account',
    'yes',
    ['rate_limit_error', 'rate_limit_exceeded'],
    ['rate_limit_error'],
    'rate_limited',
  ),
  upstream_quota_exhausted: row(
    429,
    'account',
    'yes',
    ['insufficient_quota', 'insufficient_quota'],
    ['rate_limit_error'],
    'quota_exhausted',
  ),
  upstream_refused: row(
    403,
    'account',
    'no',
    ['permission_error', 'upstream_refused'],
    ['permission_error'],
    'refused',
  ),
  upstream_unauthorized: row(
    502,
    'account',
    'yes',
    ['server_error', 'upstream_unauthorized'],
    ['api_error', 500],
    'unauthorized',
  ),
  upstream_unavailable: row(
    502,
    'upstream',
    'yes',
    ['server_error', 'upstream_unavailable'],
    ['api_error', 500],
    'unavailable',
  ),
  upstream_timeout: row(
    504,
    'upstream',
    'yes',
    ['server_error', 'upstream_timeout'],
    ['api_error', 500],
    'timeout',
  ),
  model_unavailable: row(
    503,
    'model',
    'once',
    ['server_error', 'model_unavailable'],
    ['overloaded_error', 529],
  ),
  upstream_protocol: row(
    502,
    'upstream',
    'yes',
    ['server_error', 'upstream_protocol'],
    ['api_error', 500],
    'protocol',
  ),
  no_account_available: row(
    503,
    'service',
    'no',
    ['server_error', 'no_account_available'],
    ['overloaded_error', 529],
  ),
  pool_unavailable: row(
    503,
    'service',
    'no',
    ['server_error', 'pool_unavailable'],
    ['overloaded_error', 529],
  ),
  storage_unavailable: row(
    503,
    'service',
    'no',
    ['server_error', 'storage_unavailable'],
    ['overloaded_error', 529],
  ),
  overloaded: row(503, 'service', 'no', ['server_error', 'overloaded'], ['overloaded_error', 529]),
  shutting_down: row(503, 'service', 'no', ['server_error', 'shutting_down'], ['overloaded_error', 529]),
  cancelled: row(499, 'request', 'no', ['server_error', 'cancelled'], ['api_error'], 'cancelled'),
  internal: row(500, 'service', 'no', ['server_error', 'internal_error'], ['api_error']),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof table;
export const errorCodes = Object.keys(table) as readonly ErrorCode[];

/** The Google dialect's status and the word for it, by the status of a row: both always say the same there. */
const googleStatuses: Readonly<
  Record<(typeof table)[ErrorCode]['status'], readonly [word: string, status?: number]>
> = {
  400: ['INVALID_ARGUMENT'],
  401: ['UNAUTHENTICATED'],
  403: ['PERMISSION_DENIED'],
  404: ['NOT_FOUND'],
  405: ['UNIMPLEMENTED'],
  408: ['DEADLINE_EXCEEDED'],
  409: ['ABORTED'],
  413: ['INVALID_ARGUMENT'],
  415: ['INVALID_ARGUMENT'],
  422: ['INVALID_ARGUMENT'],
  429: ['RESOURCE_EXHAUSTED'],
  499: ['CANCELLED'],
  500: ['INTERNAL'],
  // Google's API has no 502, and its clients try again after these.
  502: ['UNAVAILABLE', 503],
  503: ['UNAVAILABLE'],
  504: ['DEADLINE_EXCEEDED'],
};

/** An upstream's own answer to a request that it refused. A client of its dialect gets it as it is, without secrets of ours. */
export interface VendorAnswer {
  readonly dialect: string;
  readonly status: number;
  readonly body: string;
}

export interface AppErrorOptions {
  readonly cause?: unknown;
  /** Milliseconds after which another try makes sense; becomes Retry-After. */
  readonly retryAfterMs?: number;
  /** The request field at fault, as the client spelled it. */
  readonly param?: string;
  /** When the vendor says the quota comes back. */
  readonly resetAt?: Date;
  /** Of its answer, beside Retry-After. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What a dialect's clients read beside the message, in that dialect's own words. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Work may have been done that must not be done twice: no other account is tried. */
  readonly isFinal?: boolean;
  /** The account cannot read the reasoning that is given back to it: another one's made it. */
  readonly isProofRejected?: boolean;
  /** What the upstream answered, in a dialect of clients. */
  readonly vendorAnswer?: VendorAnswer;
  /** The limit that is used up until `resetAt`, where it is of the model alone and the account has others. */
  readonly modelLimit?: string;
  /** Whose fault it was, where the evidence says more than the code's row does. */
  readonly fault?: Fault;
  /** No connection could be made: nothing was sent, and no account can help. */
  readonly isUnreachable?: boolean;
  /** Where another account is less useful than the code's row says. */
  readonly failover?: Failover;
}

/** The longest message of an error, and the longest name of a field: both may quote what came from outside. */
export const longestMessage = 2_000;
export const longestParam = 256;
const longestRetrySeconds = 60;
/** A budget is spent until its window ends, unless an operator raises it. */
const longestBudgetSeconds = 60 * 60;
/** Where the upstream names no wait: accounts rest so long after a first limit. */
const usualRateLimitMs = 5_000;

/** The only error that crosses a layer. Its message may be shown to the client; its cause goes to the log only. */
export class AppError extends Error {
  readonly code: ErrorCode;
  retryAfterMs: number | undefined;
  readonly param: string | undefined;
  readonly resetAt: Date | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  readonly isFinal: boolean;
  readonly isProofRejected: boolean;
  readonly isUnreachable: boolean;
  readonly modelLimit: string | undefined;
  vendorAnswer: VendorAnswer | undefined;
  readonly fault: Fault;
  readonly #failover: Failover;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(shortened(message, longestMessage), options);
    this.name = 'AppError';
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.param = options.param && shortened(options.param, longestParam);
    this.resetAt = options.resetAt;
    this.headers = options.headers;
    this.details = options.details;
    this.isFinal = options.isFinal === true;
    this.isProofRejected = options.isProofRejected === true;
    this.isUnreachable = options.isUnreachable === true;
    this.modelLimit = options.modelLimit;
    this.vendorAnswer = options.vendorAnswer;
    this.fault = options.fault ?? table[code].fault;
    this.#failover = options.failover ?? table[code].failover;
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
  get googleWord(): string {
    return googleStatuses[table[this.code].status][0];
  }
  get googleStatus(): number {
    return googleStatuses[table[this.code].status][1] ?? this.status;
  }
  /** For clients' Retry-After. Many clients give up on a long one, and an account may recover early. */
  get retryAfterSeconds(): number | undefined {
    const waitMs =
      this.retryAfterMs ?? (this.code === 'upstream_rate_limited' ? usualRateLimitMs : undefined);
    if (waitMs === undefined) return undefined;
    const most = this.code === 'key_quota_exhausted' ? longestBudgetSeconds : longestRetrySeconds;
    return Math.min(most, Math.max(1, Math.ceil(waitMs / 1000)));
  }
  get failover(): Failover {
    return this.isFinal ? 'no' : this.#failover;
  }
  /** The account may not use this model, while another one may. */
  get isModelRefusedToAccount(): boolean {
    return this.fault === 'model' && this.failover === 'yes' && this.modelLimit === undefined;
  }
  /** The outcome to report to the pool; undefined where the error says nothing about the account. */
  get outcome(): Outcome | undefined {
    const mayTellOfAccount =
      this.fault === 'account' || this.fault === 'upstream' || this.code === 'cancelled';
    return mayTellOfAccount ? table[this.code].outcome : undefined;
  }

  /** The funnel: whatever was thrown, as an AppError. An unknown error keeps its message to the log. */
  static from(error: unknown): AppError {
    if (error instanceof AppError) return error;
    return new AppError('internal', 'The service met an internal error; its log has the details.', {
      cause: error,
    });
  }
}

function row<const Status extends number>(
  status: Status,
  fault: Fault,
  failover: Failover,
  [openaiType, openaiCode]: readonly [string, string | null],
  [anthropicType, anthropicStatus = status]: readonly [string, number?],
  outcome?: Outcome,
): ErrorRow & { readonly status: Status } {
  return { status, openaiType, openaiCode, anthropicType, anthropicStatus, fault, failover, outcome };
}

/** For what a request holds and cannot be honoured: its path, and what to do about it. */
export function refused(param: string, reason: string): AppError {
  return new AppError('invalid_request', `${param}: ${reason}.`, { param });
}
