import type { TokenFailure } from '../../core/provider.ts';
import { backoffMs, withJitter } from '../../lib/backoff.ts';
import { lendMarginMs } from '../standing/token-standing.ts';

/** When refreshes are due. Pure; times are milliseconds since 1970, `random` answers 0 to 1. */

const second = 1000;
const minute = 60 * second;
const longestAheadMs = 5 * minute;
/** Even on this machine no token host is asked without a pause. */
const shortestIntervalMs = second;
const longestJitterMs = 2 * minute;
const longestRetryAfterMs = 24 * 60 * minute;
const backoffs = {
  /** Nothing was sent: the network is likely to recover soon. */
  unsent: { firstMs: 15 * second, longestMs: 5 * minute },
  answered: { firstMs: 5 * minute, longestMs: 6 * 60 * minute },
};

/** The shortest time between two refreshes of an account: an hour at least, save where the token host is this machine. */
export function leastInterval(settingMs: number, isLoopback: boolean): number {
  return Math.max(settingMs, isLoopback ? shortestIntervalMs : 60 * minute);
}

/**
 * When an account with a new token is refreshed next: shortly before that lapses, spread forward so that accounts and
 * instances do not march in step. Where the ceiling opens only after it has lapsed: at that moment.
 */
export function nextRefreshAfter(token: {
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly opensAt: number;
  readonly isLastUsable: boolean;
  readonly random: () => number;
}): number {
  const lapsesAt = token.expiresAt - lendMarginMs;
  if (token.opensAt >= lapsesAt) return token.opensAt;
  // A token that lives for minutes only is used for most of them.
  const aheadMs = Math.min(longestAheadMs, (token.expiresAt - token.issuedAt) / 4);
  const dueAt = Math.max(token.opensAt, token.expiresAt - aheadMs);
  const room = Math.min(longestJitterMs, (lapsesAt - dueAt) / 2);
  return Math.round(dueAt + (token.isLastUsable ? 0 : token.random() * room));
}

/** When an attempt that failed may be repeated, as far as the failure goes; the ceiling may be later. */
export function retryAfter(failed: {
  readonly failure: TokenFailure;
  readonly now: number;
  /** Failures in a row, this one among them. */
  readonly inARow: number;
  readonly retryAfterMs: number | undefined;
  readonly isLastUsable: boolean;
  readonly random: () => number;
}): number {
  const { firstMs, longestMs } = failed.failure === 'unsent' ? backoffs.unsent : backoffs.answered;
  const plainMs = backoffMs(failed.inARow - 1, firstMs, longestMs);
  const askedMs = Math.min(longestRetryAfterMs, failed.retryAfterMs ?? 0);
  const waitMs = Math.max(plainMs, askedMs);
  return Math.round(failed.now + (failed.isLastUsable ? waitMs : withJitter(waitMs, 1, 1.25, failed.random)));
}
