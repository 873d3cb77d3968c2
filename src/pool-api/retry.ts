import { backoffMs, withJitter } from '../lib/backoff.ts';
import { systemClock } from '../lib/clock.ts';
import { sleep } from '../lib/sleep.ts';
import { NoAnswerError, PoolError } from './errors.ts';

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
