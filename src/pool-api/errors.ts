import { longestMessage, longestParam } from '../core/errors.ts';
import { backoffMs, withJitter } from '../lib/backoff.ts';
import { sleep, systemClock } from '../lib/clock.ts';
import { shortened } from '../lib/shown-text.ts';
import type { Shortage } from './schema.ts';

export const poolErrorCodes = {
  invalid_request: 400,
  unknown_field: 400,
  invalid_json: 400,
  invalid_key: 401,
  forbidden: 403,
  host_not_allowed: 403,
  origin_not_allowed: 403,
  not_found: 404,
  session_not_found: 404,
  account_not_found: 404,
  login_not_found: 404,
  method_not_allowed: 405,
  session_mismatch: 409,
  account_exists: 409,
  too_large: 413,
  unsupported_media_type: 415,
  credential_refused: 422,
  too_many_logins: 429,
  too_many_attempts: 429,
  internal: 500,
  provider_unavailable: 502,
  no_account_available: 503,
  overloaded: 503,
  pool_unavailable: 503,
  shutting_down: 503,
} as const;

export type PoolErrorCode = keyof typeof poolErrorCodes;

const leastRetryMs = 2_000;

/** What the pool answers when it cannot do what was asked. */
export class PoolError extends Error {
  readonly code: PoolErrorCode;
  readonly param: string | undefined;
  readonly retryAfterMs: number | undefined;
  /** With `no_account_available`: what stood in the way. */
  readonly shortage: Shortage | undefined;

  constructor(
    code: PoolErrorCode,
    message: string,
    options: {
      readonly cause?: unknown;
      readonly param?: string | undefined;
      readonly retryAfterMs?: number | undefined;
      readonly shortage?: Shortage | undefined;
    } = {},
  ) {
    super(shortened(message, longestMessage), options);
    this.name = 'PoolError';
    this.code = code;
    this.param = options.param && shortened(options.param, longestParam);
    this.retryAfterMs = options.retryAfterMs;
    this.shortage = options.shortage;
  }

  get status(): number {
    return poolErrorCodes[this.code];
  }
}

/** A call that got no answer. `sent` is 'no' when the pool surely never saw it. */
export class NoAnswerError extends PoolError {
  readonly sent: 'no' | 'maybe';
  readonly isTimeout: boolean;

  constructor(
    message: string,
    options: {
      sent: 'no' | 'maybe';
      isTimeout?: boolean;
      retryAfterMs?: number | undefined;
      cause?: unknown;
    },
  ) {
    super('pool_unavailable', message, options);
    this.sent = options.sent;
    this.isTimeout = options.isTimeout ?? false;
  }
}

/** What answered is not the pool: the address is another program's. */
export class NotPoolError extends PoolError {
  constructor(
    message: string,
    options: { readonly retryAfterMs?: number | undefined; readonly cause?: unknown } = {},
  ) {
    super('pool_unavailable', message, options);
  }
}

/** Too many turns wait for an account already, or for too long. */
export class QueueFullError extends PoolError {
  /** Most of them, or as many as it may have, are the caller's own. */
  readonly isOwnShare: boolean;

  constructor(isOwnShare: boolean, expectedMs: number) {
    const message = 'Too many turns wait for an account already.';
    super('overloaded', message, { retryAfterMs: Math.max(leastRetryMs, Math.ceil(expectedMs)) });
    this.isOwnShare = isOwnShare;
  }
}

/**
 * Whether something that was caught is a PoolError, and one of these codes where any are named.
 *
 * @example
 * if (isPoolError(error, 'no_account_available')) await sleep(error.retryAfterMs ?? 5_000);
 */
export function isPoolError<Code extends PoolErrorCode = PoolErrorCode>(
  error: unknown,
  ...codes: readonly Code[]
): error is PoolError & { readonly code: Code } {
  if (!(error instanceof PoolError)) return false;
  return codes.length === 0 || codes.some((code) => code === error.code);
}

/** The pool cannot be asked now, which says nothing about its accounts. */
export function isAway(error: unknown): boolean {
  return isPoolError(error, 'pool_unavailable', 'shutting_down');
}

/** The pool has no account now. */
export function isShort(error: unknown): error is PoolError {
  return isPoolError(error, 'no_account_available');
}

/** The same shortage with accounts that the pool was not asked for, and what keeps these from being lent. */
export function shortToo(error: PoolError, reason: string, count: number, retryAfterMs: number): PoolError {
  const { matching = 0, reasons, holders = { exclusive: 0, shared: 0, gateway: 0 } } = error.shortage ?? {};
  return new PoolError('no_account_available', error.message, {
    cause: error,
    retryAfterMs,
    shortage: { matching, reasons: { ...reasons, [reason]: (reasons?.[reason] ?? 0) + count }, holders },
  });
}

export interface RetryPolicy {
  /** Further tries after the first. */
  readonly retries: number;
  /** The wait before the first further try; doubles with each. */
  readonly baseMs: number;
  readonly maxMs: number;
}

/** The wait before try `attempt` (0 is the first further one): exponential, the upper half of it random. */
export function retryDelayMs(attempt: number, baseMs: number, maxMs: number): number {
  return withJitter(backoffMs(attempt, baseMs, maxMs), 0.5, 1);
}

/**
 * Runs `call` again while that is safe: always when the pool never saw the call, and when it may have seen it only
 * if the call is `repeatable`. A timeout is final, because the caller has waited as long as it meant to.
 */
export async function withRetries<T>(
  policy: RetryPolicy,
  repeatable: boolean,
  signal: AbortSignal | undefined,
  call: () => Promise<T>,
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (attempt >= policy.retries || !mayRepeat(error, repeatable)) throw error;
      const delayMs = retryDelayMs(attempt, policy.baseMs, policy.maxMs);
      const waitMs = Math.min(policy.maxMs, Math.max(delayMs, error.retryAfterMs ?? 0));
      await sleep(systemClock, waitMs, signal, true);
      signal?.throwIfAborted();
    }
  }
}

function mayRepeat(error: unknown, repeatable: boolean): error is PoolError {
  if (error instanceof NoAnswerError) return !error.isTimeout && (repeatable || error.sent === 'no');
  if (!(error instanceof PoolError)) return false;
  // A pool that says when to come again is one that means to be back.
  const isPassing = error.code === 'pool_unavailable' && error.retryAfterMs !== undefined;
  const isUntouched = error.code === 'shutting_down' || error.code === 'overloaded';
  return isUntouched || (isPassing && repeatable);
}
