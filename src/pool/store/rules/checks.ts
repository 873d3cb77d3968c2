import { nextProof, nextQuotaCheck } from '../../standing/account-state.ts';
import type { Standing } from '../../standing/standing.ts';
import type { StoredQuota } from '../store.ts';
import type { AccountRow } from './rows.ts';

/** When the housekeeper asks a provider about an account next. */
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

/** For an account with a new standing. Short rests must not put off the next look at the figures for ever. */
export function nextCheckAfter(row: AccountRow, standing: Standing, now: number): number | null {
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
