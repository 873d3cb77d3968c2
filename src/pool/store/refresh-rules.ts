import type { AccountRow } from './rows.ts';
import type { RefreshFailure } from './store.ts';

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

export function failureOf(row: AccountRow): RefreshFailure | null {
  return row.refresh_failure === null ? null : (JSON.parse(row.refresh_failure) as RefreshFailure);
}

export function nextFailure(
  row: AccountRow,
  failure: Omit<RefreshFailure, 'at' | 'inARow'>,
  now: number,
): RefreshFailure {
  return { ...failure, at: now, inARow: (failureOf(row)?.inARow ?? 0) + 1 };
}

/** An attempt that ended so has surely issued nothing. */
export const notCounted = "('unsent', 'refused')";

/**
 * What an attempt counts from. An issuer counts from when the request reaches it, some time between the intent and the
 * answer: from the answer, then, so that no two are nearer than the interval there. Nobody saw the answer of one that was
 * interrupted.
 */
export const countedFrom =
  "CASE state WHEN 'interrupted' THEN intent_at ELSE COALESCE(finished_at, intent_at) END";

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
