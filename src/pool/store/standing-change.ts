import { nextProof, nextQuotaCheck, type Standing, settleToken, softened } from '../account-state.ts';
import { type AccountRow, asJson, tokenFrom } from './rows.ts';
import type { StoredQuota } from './store.ts';

export interface StoreOptions {
  /** Set for accounts nobody can repair: no state keeps them out for longer. */
  readonly longestRestMs?: number;
  /** Whether leases to outsiders are written to the audit trail. */
  readonly auditsLeases: boolean;
}

/** What a new standing writes to its account's row, and what follows from it. */
export interface StandingWrite {
  readonly standing: Standing;
  readonly evidence: string | null;
  readonly streaks: string;
  readonly stateSince: number;
  readonly isOtherState: boolean;
  /** When the housekeeper asks next; only for another state. */
  readonly nextCheckAt: number | null;
  /** Set when refreshing ends, or is taken up again, with the service of a refresh-token account. */
  readonly nextRefreshAt: number | null | undefined;
  /** The account is out of service, so nobody holds it any longer. */
  readonly endsLeases: boolean;
  /** Others may come in now. */
  readonly frees: boolean;
}

/** What comes of a wanted standing, settled. Null when the row stands so already; `row` must be what the table holds. */
export function standingWrite(
  row: AccountRow,
  wanted: Standing,
  options: StoreOptions,
  now: number,
): StandingWrite | null {
  const { longestRestMs } = options;
  const kept = longestRestMs === undefined ? wanted : softened(wanted, longestRestMs, now);
  const refreshAt = row.next_refresh_at ?? now;
  const isOut = isOutOfService(kept);
  const token = isOut ? null : tokenFrom({ ...row, next_refresh_at: refreshAt });
  const standing = settleToken(kept, token, now);
  const streaks = JSON.stringify(standing.streaks);
  const evidence = asJson(standing.evidence);
  const isSame =
    standing.state === row.state &&
    standing.until === row.state_until &&
    standing.reason === row.state_reason &&
    standing.halfOpen === (row.half_open === 1) &&
    standing.quotaSpent === (row.quota_spent === 1) &&
    evidence === row.state_evidence &&
    streaks === row.streaks;
  if (isSame) return null;
  const isOtherState = standing.state !== row.state;
  const turnsRefreshing = row.credential_kind === 'refresh_token' && isOut !== (row.next_refresh_at === null);
  return {
    standing,
    evidence,
    streaks,
    isOtherState,
    stateSince: isOtherState ? now : row.state_since,
    nextCheckAt: isOtherState ? nextCheckOf(standing, row.probe, 0, now) : null,
    nextRefreshAt: turnsRefreshing ? (isOut ? null : refreshAt) : undefined,
    endsLeases: isOut,
    frees: isOtherState || (row.half_open === 1 && !standing.halfOpen),
  };
}

export function isOutOfService(standing: Pick<Standing, 'state'>): boolean {
  return standing.state === 'disabled' || standing.state === 'reauth_required';
}

export function nextCheckOf(
  standing: Standing,
  probe: 'unproved' | 'proved',
  checks: number,
  now: number,
): number | null {
  const forQuota = nextQuotaCheck(standing, checks, now);
  if (forQuota !== null) return forQuota;
  const isInService = standing.state === 'active' || standing.state === 'cooldown';
  return isInService && probe === 'unproved' ? nextProof(checks, now) : null;
}

/** What an account has left, for the counters: null where that is not known or not limited. */
export function remainingOf(quota: StoredQuota | null): number | null {
  return quota === null || quota.isUnlimited ? null : quota.remaining;
}
