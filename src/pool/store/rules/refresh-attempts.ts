import type { RefreshFailure } from '../store.ts';
import { type AccountRow, failureOf } from './rows.ts';

/** What the journal of refreshes holds, whatever database keeps it. */

export interface AttemptRow {
  readonly seq: number;
  readonly id: string;
  readonly account_id: string;
  readonly instance: string;
  readonly actor: string;
  readonly intent_at: number;
  readonly opens_at: number;
  readonly limit_at: number;
  readonly token_version: number;
  readonly state: string;
}

/** Ended attempts are kept for so long, at least. */
export const attemptsKeptMs = 48 * 60 * 60_000;

export const interruptedMessage = 'The process ended between asking for a token and storing the answer.';

export function nextFailure(
  row: AccountRow,
  failure: Omit<RefreshFailure, 'at' | 'inARow'>,
  now: number,
): RefreshFailure {
  return { ...failure, at: now, inARow: (failureOf(row)?.inARow ?? 0) + 1 };
}

/** When an attempt ended by this clock, and when the ceiling opens for that. */
export function endOf(
  now: number,
  attempt: AttemptRow,
  state: string,
): { readonly finishedAt: number; readonly opensAt: number } {
  const finishedAt = Math.max(attempt.intent_at, now);
  const tookMs = state === 'interrupted' ? 0 : finishedAt - attempt.intent_at;
  return { finishedAt, opensAt: attempt.opens_at + tookMs };
}
