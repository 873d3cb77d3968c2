import type { QuotaAnswer } from '../../../core/provider.ts';
import type { AccountState } from '../../../pool-api/schema.ts';
import { nextProof, nextQuotaCheck } from '../../standing/account-state.ts';
import type { Standing, Streaks, TokenTimes } from '../../standing/standing.ts';
import type { RefreshFailure, StoredQuota } from '../store.ts';

export interface AccountRow {
  readonly seq: number;
  readonly id: string;
  readonly provider: string;
  readonly email: string | null;
  readonly label: string | null;
  readonly capacity: number;
  readonly models: string | null;
  readonly free: number;
  readonly lend: 'any' | 'gateway';
  readonly tier: number;
  readonly state: AccountState;
  readonly state_until: number | null;
  readonly state_reason: string | null;
  readonly state_evidence: string | null;
  readonly half_open: number;
  readonly quota_spent: number;
  readonly streaks: string;
  readonly probe: 'unproved' | 'proved';
  readonly source: string;
  readonly credential_kind: 'api_key' | 'refresh_token';
  readonly credential: string;
  readonly credential_fingerprint: string;
  readonly credential_hint: string;
  readonly token_version: number;
  readonly last_refresh_time: number | null;
  readonly quota: string | null;
  readonly quota_remaining: number | null;
  readonly next_check_at: number | null;
  readonly checks: number;
  readonly fence_counter: number;
  readonly use_count: number;
  readonly last_used: number;
  readonly turns: number;
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly credits: number;
  readonly cost_cents: number;
  readonly holders: number;
  readonly exclusive_held: number;
  readonly shared_slots: number;
  readonly created_at: number;
  readonly updated_at: number;
  readonly bearer: string | null;
  readonly bearer_expires_at: number | null;
  readonly next_refresh_at: number | null;
  readonly refresh_failure: string | null;
  readonly source_handle: string | null;
  readonly state_since: number;
  readonly team_uid: string | null;
  readonly kind: number;
}

export interface SessionRow {
  readonly id: string;
  readonly key_id: string;
  readonly is_gateway: number;
  readonly exclusive: number;
  readonly provider: string | null;
  readonly ttl_ms: number;
  readonly expires_at: number;
  readonly created_at: number;
}

export interface LeaseRow {
  readonly account_id: string;
  readonly fence: number;
}

export function standingFrom(row: AccountRow): Standing {
  return {
    state: row.state,
    until: row.state_until,
    reason: row.state_reason,
    evidence:
      row.state_evidence === null ? null : (JSON.parse(row.state_evidence) as Record<string, unknown>),
    halfOpen: row.half_open === 1,
    quotaSpent: row.quota_spent === 1,
    streaks: JSON.parse(row.streaks) as Streaks,
  };
}

export function standingColumns(standing: Standing) {
  return {
    state: standing.state,
    state_until: standing.until,
    state_reason: standing.reason,
    state_evidence: asJson(standing.evidence),
    half_open: asFlag(standing.halfOpen),
    quota_spent: asFlag(standing.quotaSpent),
    streaks: JSON.stringify(standing.streaks),
  };
}

/** Null for an API key. */
export function tokenFrom(row: AccountRow): TokenTimes | null {
  if (row.credential_kind === 'api_key') return null;
  return { expiresAt: row.bearer_expires_at, refreshAt: row.next_refresh_at };
}

export function accountFrom(row: AccountRow) {
  return {
    id: row.id,
    provider: row.provider,
    email: row.email,
    label: row.label,
    capacity: row.capacity,
    models: modelsFrom(row.models),
    free: row.free === 1,
    lend: row.lend,
    tier: row.tier,
    teamUid: row.team_uid,
    standing: standingFrom(row),
    probe: row.probe,
    source: row.source,
    credentialKind: row.credential_kind,
    /** Readable by the vault only: the API key, or the refresh token. */
    sealedCredential: row.credential,
    /** What was minted from a refresh token; null for an API key, and before the first refresh. */
    bearer:
      row.bearer === null || row.bearer_expires_at === null
        ? null
        : { sealed: row.bearer, expiresAt: row.bearer_expires_at },
    /** When the refresher looks at it next; null for an API key and an account out of service. */
    nextRefreshAt: row.next_refresh_at,
    /** Why the last refresh failed; null after one that worked. */
    refreshFailure: failureOf(row),
    /** Names the credential to the source that made it; null where the source keeps no such thing. */
    sourceHandle: row.source_handle,
    stateSince: row.state_since,
    credentialHint: row.credential_hint,
    slotsInUse: row.shared_slots + row.exclusive_held,
    holders: row.holders,
    kind: row.kind,
    /** Its one holder has the whole account. */
    isHeldExclusively: row.exclusive_held === 1,
    tokenVersion: row.token_version,
    useCount: row.use_count,
    lastUsed: row.last_used === 0 ? null : row.last_used,
    lastRefreshTime: row.last_refresh_time,
    quota: row.quota === null ? null : (JSON.parse(row.quota) as StoredQuota),
    /** When the housekeeper asks the provider about it; null for never. */
    nextCheckAt: row.next_check_at,
    usage: {
      turns: row.turns,
      inputTokens: row.input_tokens,
      outputTokens: row.output_tokens,
      credits: row.credits,
      costCents: row.cost_cents,
    },
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

export function failureOf(row: AccountRow): RefreshFailure | null {
  return row.refresh_failure === null ? null : (JSON.parse(row.refresh_failure) as RefreshFailure);
}

/**
 * How many failures there were in a row, with this one among them: attempts that were never sent say nothing about an issuer that
 * answers, so that an outage does not lengthen the wait after the first answer.
 */
export function failuresInARow(
  before: Pick<RefreshFailure, 'failure' | 'inARow'> | null,
  failure: RefreshFailure['failure'],
): number {
  const isAlike = before !== null && (before.failure === 'unsent') === (failure === 'unsent');
  return isAlike ? before.inARow + 1 : 1;
}

export function modelsFrom(models: string | null): readonly string[] | null {
  return models === null ? null : (JSON.parse(models) as string[]);
}

export const asFlag = (claim: boolean): 0 | 1 => (claim ? 1 : 0);
export const asJson = (value: unknown): string | null =>
  value === null || value === undefined ? null : JSON.stringify(value);

/** A provider's answer as the store keeps it. */
export function quotaFrom(answer: QuotaAnswer, now: number): StoredQuota {
  return {
    isUnlimited: answer.isUnlimited,
    limit: answer.limit ?? null,
    used: answer.used ?? null,
    remaining: answer.remaining ?? null,
    resetAt: answer.resetAt?.getTime() ?? null,
    denialReason: answer.denialReason ?? null,
    checkedAt: now,
  };
}

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
