import { nextProof, nextQuotaCheck, softened } from '../../standing/account-state.ts';
import { isOutOfService, type Standing } from '../../standing/standing.ts';
import { settleToken } from '../../standing/token-standing.ts';
import type { StoredQuota } from '../store.ts';
import { type AccountRow, asJson, tokenFrom } from './rows.ts';

export interface StoreOptions {
  /** Set for accounts that cannot be repaired: no state keeps them out for longer. */
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
  /** The account is out of service: its leases end. */
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
    nextCheckAt: isOtherState ? nextCheckAfter(row, standing, now) : null,
    nextRefreshAt: turnsRefreshing ? (isOut ? null : refreshAt) : undefined,
    endsLeases: isOut,
    frees: isOtherState || (row.half_open === 1 && !standing.halfOpen),
  };
}

export function nextCheckOf(
  id: string,
  standing: Standing,
  probe: 'unproved' | 'proved',
  checks: number,
  now: number,
): number | null {
  if (isInService(standing) && probe === 'unproved') return nextProof(checks, now);
  return nextQuotaCheck(standing, checks, now, spreadOf(id));
}

/** Short rests must not put off the next look at the figures for ever. */
function nextCheckAfter(row: AccountRow, standing: Standing, now: number): number | null {
  const next = nextCheckOf(row.id, standing, row.probe, 0, now);
  const stayedInService = isInService(row) && isInService(standing);
  return stayedInService && next !== null && row.next_check_at !== null
    ? Math.min(next, row.next_check_at)
    : next;
}

function isInService({ state }: Pick<Standing, 'state'>): boolean {
  return state === 'active' || state === 'cooldown';
}

/** The checks so far; counted from 0 again when the figures have changed. */
export function checksAfter(checks: number, before: string | null, quota: StoredQuota | null): number {
  if (quota === null || before === null) return checks;
  const known = JSON.parse(before) as StoredQuota;
  const isSame = known.used === quota.used && known.remaining === quota.remaining;
  return isSame ? checks : 0;
}

/** 0 to 1, always the same for one account. */
function spreadOf(id: string): number {
  let hash = 0;
  for (const letter of id) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) % 1_000;
  return hash / 1_000;
}

/** What an account has left, for the counters: null where that is not known or not limited. */
export function remainingOf(quota: StoredQuota | null): number | null {
  return quota === null || quota.isUnlimited ? null : quota.remaining;
}
