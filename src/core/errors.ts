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
  readonly status: ErrorStatus;
  readonly fault: Fault;
  readonly failover: Failover;
  /** The `code` word of the OpenAI dialect; null where the convention is null. */
  readonly openaiCode: string | null;
  /** Where it is another than others of that status have. */
  readonly anthropicStatus?: number;
  /** The outcome that is reported to the pool; undefined where the error says nothing about the account. */
  readonly outcome: Outcome | undefined;
}

/**
 * The one table of errors: every surface takes its status from it, failover and the account's state their rule. Without an `openaiCode`
 * the code is its word.
 */
const rows = {
  invalid_request: [400, 'request', 'no', { openaiCode: null }],
  context_too_long: [400, 'request', 'no', { openaiCode: 'context_length_exceeded' }],
  previous_response_not_found: [400, 'request', 'no'],
  websocket_connection_limit_reached: [400, 'service', 'no'],
  invalid_key: [401, 'service', 'no', { openaiCode: 'invalid_api_key' }],
  forbidden: [403, 'service', 'no', { openaiCode: 'model_not_allowed' }],
  operator_only: [403, 'service', 'no'],
  host_not_allowed: [403, 'service', 'no'],
  origin_not_allowed: [403, 'service', 'no'],
  model_not_found: [404, 'request', 'no'],
  not_found: [404, 'request', 'no'],
  method_not_allowed: [405, 'request', 'no'],
  request_timeout: [408, 'request', 'no'],
  too_large: [413, 'request', 'no', { openaiCode: 'request_too_large' }],
  unsupported_media_type: [415, 'request', 'no'],
  idempotency_key_reused: [422, 'request', 'no'],
  turn_running_elsewhere: [409, 'service', 'no'],
  turn_interrupted: [502, 'service', 'no', { anthropicStatus: 502 }],
  key_rate_limited: [429, 'service', 'no', { openaiCode: 'rate_limit_exceeded' }],
  key_quota_exhausted: [429, 'service', 'no', { openaiCode: 'insufficient_quota' }],
  upstream_rate_limited: [
    429,
    'account',
    'yes',
    { openaiCode: 'rate_limit_exceeded', outcome: 'rate_limited' },
  ],
  upstream_quota_exhausted: [
    429,
    'account',
    'yes',
    { openaiCode: 'insufficient_quota', outcome: 'quota_exhausted' },
  ],
  upstream_refused: [403, 'account', 'no', { outcome: 'refused' }],
  upstream_unauthorized: [502, 'account', 'yes', { outcome: 'unauthorized' }],
  upstream_unavailable: [502, 'upstream', 'yes', { outcome: 'unavailable' }],
  upstream_timeout: [504, 'upstream', 'yes', { outcome: 'timeout' }],
  model_unavailable: [503, 'model', 'once'],
  upstream_protocol: [502, 'upstream', 'yes', { outcome: 'protocol' }],
  no_account_available: [503, 'service', 'no'],
  pool_unavailable: [503, 'service', 'no'],
  storage_unavailable: [503, 'service', 'no'],
  overloaded: [503, 'service', 'no'],
  shutting_down: [503, 'service', 'no'],
  cancelled: [499, 'request', 'no', { outcome: 'cancelled' }],
  internal: [500, 'service', 'no', { openaiCode: 'internal_error' }],
} as const satisfies Record<
  string,
  readonly [
    status: ErrorStatus,
    fault: Fault,
    failover: Failover,
    more?: Partial<Pick<ErrorRow, 'openaiCode' | 'anthropicStatus' | 'outcome'>>,
  ]
>;

export type ErrorCode = keyof typeof rows;
export const errorCodes = Object.keys(rows) as readonly ErrorCode[];

const table = Object.fromEntries(
  Object.entries(rows).map(([code, [status, fault, failover, more]]) => [
    code,
    { status, fault, failover, openaiCode: code, outcome: undefined, ...more },
  ]),
) as Record<ErrorCode, ErrorRow>;

/** What the dialects call an error of a status: OpenAI's type, Anthropic's, and Google's word. */
interface StatusWords {
  readonly openai: string;
  readonly anthropic: string;
  readonly google: string;
  /** Where theirs is another. */
  readonly anthropicStatus?: number;
  readonly googleStatus?: number;
}

const invalid = { openai: 'invalid_request_error', anthropic: 'invalid_request_error' } as const;
const ofServer = { openai: 'server_error', anthropic: 'api_error' } as const;
const statuses = {
  400: { ...invalid, google: 'INVALID_ARGUMENT' },
  401: { ...invalid, anthropic: 'authentication_error', google: 'UNAUTHENTICATED' },
  403: { openai: 'permission_error', anthropic: 'permission_error', google: 'PERMISSION_DENIED' },
  404: { ...invalid, anthropic: 'not_found_error', google: 'NOT_FOUND' },
  405: { ...invalid, google: 'UNIMPLEMENTED' },
  408: { ...invalid, google: 'DEADLINE_EXCEEDED' },
  409: { ...invalid, google: 'ABORTED' },
  413: { ...invalid, anthropic: 'request_too_large', google: 'INVALID_ARGUMENT' },
  415: { ...invalid, google: 'INVALID_ARGUMENT' },
  422: { ...invalid, google: 'INVALID_ARGUMENT' },
  429: { openai: 'rate_limit_error', anthropic: 'rate_limit_error', google: 'RESOURCE_EXHAUSTED' },
  499: { ...ofServer, google: 'CANCELLED' },
  500: { ...ofServer, google: 'INTERNAL' },
  // Google's API has no 502, and its clients try again after these.
  502: { ...ofServer, anthropicStatus: 500, google: 'UNAVAILABLE', googleStatus: 503 },
  503: { ...ofServer, anthropic: 'overloaded_error', anthropicStatus: 529, google: 'UNAVAILABLE' },
  504: { ...ofServer, anthropicStatus: 500, google: 'DEADLINE_EXCEEDED' },
} as const satisfies Record<number, StatusWords>;
type ErrorStatus = keyof typeof statuses;

/** An upstream's own answer to a request that it refused. A client of its dialect gets it as it is, without secrets of ours. */
export interface VendorAnswer {
  readonly dialect: string;
  readonly status: number;
  readonly body: string;
}

/** How an upstream that refused a request may take it after all. */
export type SendAgain =
  /** The account cannot read the reasoning that is given back to it: another one's made it. Of a model: it takes none at all. */
  | { readonly how: 'without-proofs'; readonly isOfModel?: true }
  /** The upstream wants reasoning with every answer of the history. */
  | { readonly how: 'with-reasoning' }
  /** The account may not ask for a summary of the reasoning. */
  | { readonly how: 'without-summary' }
  /** The model takes tools only where it does not reason. */
  | { readonly how: 'without-effort' }
  /** It takes no answer as long as was asked for: so many tokens at most, of its model or behind this prompt. */
  | { readonly how: 'shorter'; readonly mostOutputTokens: number; readonly isOfModel: boolean };

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
  readonly sendAgain?: SendAgain | undefined;
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
/** Of what passes soon, where the upstream names no wait: accounts rest so long after a first limit. */
const usualWaitMs = 5_000;
const passingCodes: ReadonlySet<ErrorCode> = new Set(['upstream_rate_limited', 'model_unavailable']);

/** The only error that crosses a layer. Its message may be shown to the client; its cause goes to the log only. */
export class AppError extends Error {
  readonly code: ErrorCode;
  retryAfterMs: number | undefined;
  readonly param: string | undefined;
  readonly resetAt: Date | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  readonly isFinal: boolean;
  readonly sendAgain: SendAgain | undefined;
  readonly isUnreachable: boolean;
  readonly modelLimit: string | undefined;
  readonly fault: Fault;
  readonly #failover: Failover;
  /** No field of its own: a log shows all of those, and vendors quote whole requests. */
  #vendorAnswer: VendorAnswer | undefined;

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
    this.sendAgain = options.sendAgain;
    this.isUnreachable = options.isUnreachable === true;
    this.modelLimit = options.modelLimit;
    this.#vendorAnswer = options.vendorAnswer;
    this.fault = options.fault ?? table[code].fault;
    this.#failover = options.failover ?? table[code].failover;
  }

  get vendorAnswer(): VendorAnswer | undefined {
    return this.#vendorAnswer;
  }
  set vendorAnswer(answer: VendorAnswer) {
    this.#vendorAnswer = answer;
  }
  get status(): number {
    return table[this.code].status;
  }
  get openaiType(): string {
    return this.openaiCode === 'insufficient_quota' ? this.openaiCode : this.#words.openai;
  }
  get openaiCode(): string | null {
    return table[this.code].openaiCode;
  }
  get anthropicType(): string {
    return this.#words.anthropic;
  }
  get anthropicStatus(): number {
    return table[this.code].anthropicStatus ?? this.#words.anthropicStatus ?? this.status;
  }
  get googleWord(): string {
    return this.#words.google;
  }
  get googleStatus(): number {
    return this.#words.googleStatus ?? this.status;
  }
  get #words(): StatusWords {
    return statuses[table[this.code].status];
  }
  /** For clients' Retry-After. Many clients give up on a long one, and an account may recover early. */
  get retryAfterSeconds(): number | undefined {
    const waitMs = this.retryAfterMs ?? (passingCodes.has(this.code) ? usualWaitMs : undefined);
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

/** For what a request holds and cannot be honoured: its path, and what to do about it. */
export function refused(param: string, reason: string): AppError {
  return new AppError('invalid_request', `${param}: ${reason}.`, { param });
}
