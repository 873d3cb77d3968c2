import { z } from 'zod';
import { upToFirstProblem } from '../../core/first-problem-only.ts';
import { nearNames } from '../../core/near-names.ts';
import { withoutNulls } from '../../core/null-fields.ts';
import type { Provider } from '../../core/provider.ts';
import type { Account, AccountDetails, NewAccount } from '../../pool-api/account-schema.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { ProvidersAnswer, Session } from '../../pool-api/owner-schema.ts';
import { defaultCapacity, type LeasedAccount } from '../../pool-api/schema.ts';
import { statusEnd } from '../standing/standing.ts';
import { candidateOf, reasonFor, sharer } from '../store/rules/leasing.ts';
import type {
  AccountSettings,
  Lease,
  RefreshFailure,
  StoredAccount,
  StoredQuota,
  StoredSession,
  Usage,
} from '../store/store.ts';

export const defaultSettings: AccountSettings = {
  email: null,
  label: null,
  capacity: defaultCapacity,
  models: null,
  free: false,
  lend: 'any',
  tier: 0,
  teamUid: null,
};

export function settingsOf(given: Partial<NewAccount>): AccountSettings {
  const { email, label, capacity, models, free, lend, tier, team_uid: teamUid } = given;
  const said = { email, label, capacity, models, free, lend, tier, teamUid };
  return { ...defaultSettings, ...definedOnly<AccountSettings>(said) };
}

export const isoTime = (time: number): string => new Date(time).toISOString();
export const isoTimeOrNull = (time: number | null): string | null => (time === null ? null : isoTime(time));

export function presentAccount(account: StoredAccount): Account {
  const { standing, quota, usage } = account;
  const end = statusEnd(standing, account);
  return {
    id: account.id,
    provider: account.provider,
    email: account.email,
    label: account.label,
    ...presentStanding(standing, account.refreshFailure),
    status_until: isoTimeOrNull(standing.until),
    status_since: isoTime(account.stateSince),
    status_end: end && { ...end, at: isoTimeOrNull(end.at) },
    probe: account.probe,
    source: account.source,
    credential: account.credentialKind,
    credential_hint: account.credentialHint,
    capacity: account.capacity,
    slots_in_use: account.slotsInUse,
    holders: account.holders,
    models: account.models === null ? null : [...account.models],
    free: account.free,
    lend: account.lend,
    tier: account.tier,
    team_uid: account.teamUid,
    token_version: account.tokenVersion,
    use_count: account.useCount,
    last_used: isoTimeOrNull(account.lastUsed),
    last_refresh_time: isoTimeOrNull(account.lastRefreshTime),
    token_expires_at: isoTimeOrNull(account.bearer?.expiresAt ?? null),
    next_refresh_at: isoTimeOrNull(account.nextRefreshAt),
    quota: quota && {
      is_unlimited: quota.isUnlimited,
      limit: quota.limit,
      used: quota.used,
      remaining: quota.remaining,
      reset_at: isoTimeOrNull(quota.resetAt),
      denial_reason: quota.denialReason ?? null,
      checked_at: isoTime(quota.checkedAt),
    },
    next_check_at: isoTimeOrNull(account.nextCheckAt),
    usage: presentUsage(usage),
    created_at: isoTime(account.createdAt),
    updated_at: isoTime(account.updatedAt),
  };
}

export function presentUsage(usage: Usage): Account['usage'] {
  const { turns, inputTokens, outputTokens, credits, costCents } = usage;
  return { turns, input_tokens: inputTokens, output_tokens: outputTokens, credits, cost_cents: costCents };
}

export function presentStanding(standing: StoredAccount['standing'], failure: RefreshFailure | null) {
  return {
    status: standing.state,
    status_reason: standing.reason,
    status_evidence: standing.evidence,
    refresh_failure: failure && {
      failure: failure.failure,
      message: failure.message,
      at: isoTime(failure.at),
      in_a_row: failure.inARow,
    },
  };
}

/** Whether one slot of the account could be lent to a gateway now. `spent` are the providers whose free quota is spent. */
export function lendableNow(account: StoredAccount, spent: readonly string[]): AccountDetails['lendable'] {
  const reason = reasonFor(candidateOf(account.provider, account.kind), sharer(true, spent));
  return reason === 'open' ? { now: true, reason: null } : { now: false, reason };
}

export function presentSession(session: StoredSession): Session {
  return {
    id: session.id,
    key_id: session.keyId,
    gateway: session.isGateway,
    exclusive: session.isExclusive,
    provider: session.provider,
    accounts: session.leases.map(({ accountId, email, slots }) => ({ id: accountId, email, slots })),
    created_at: isoTime(session.createdAt),
    expires_at: isoTime(session.expiresAt),
    ttl_seconds: session.ttlMs / 1000,
  };
}

/** A lease as its holder sees it. `bearer` is what the provider takes. */
export function presentLease(lease: Lease, bearer: string, now: number): LeasedAccount {
  const { account } = lease;
  return {
    id: account.id,
    email: account.email,
    provider: account.provider,
    status: account.standing.state,
    id_token: bearer,
    token_expires_at: isoTimeOrNull(account.bearer?.expiresAt ?? null),
    token_version: account.tokenVersion,
    use_count: account.useCount,
    last_used: isoTimeOrNull(account.lastUsed),
    last_refresh_time: isoTimeOrNull(account.lastRefreshTime),
    fence: lease.fence,
    slots: lease.slots,
    capacity: account.capacity,
    models: account.models === null ? null : [...account.models],
    free: account.free,
    team_uid: account.teamUid,
    label: account.label,
    tier: account.tier,
    quota_expires_at: isoTimeOrNull(quotaExpiresAt(account.quota, now)),
  };
}

const soonMs = 24 * 60 * 60_000;
/** Less than this of a quota is not worth hurrying for. */
const leastLeft = 0.2;

/** When a good part of the quota expires unspent, if that is soon. */
function quotaExpiresAt(quota: StoredQuota | null, now: number): number | null {
  if (!quota?.resetAt || quota.isUnlimited) return null;
  const { resetAt, limit, remaining } = quota;
  const isSoon = resetAt > now && resetAt <= now + soonMs;
  return isSoon && limit && remaining !== null && remaining >= leastLeft * limit ? resetAt : null;
}

/** What an account of each provider can be added with, by name. */
export function presentProviders(providers: Iterable<Provider>): ProvidersAnswer {
  const sorted = [...providers].sort((one, other) => (one.name < other.name ? -1 : 1));
  return {
    success: true,
    providers: sorted.map(({ name, isTrial, takesNoKey, tokens, logins, hasTeams, missing }) => ({
      name,
      trial: isTrial ?? false,
      api_key: takesNoKey ? 'optional' : 'needed',
      refresh_token: tokens !== undefined,
      login: logins !== undefined,
      teams: hasTeams ?? false,
      missing: {
        refresh_token: tokens === undefined ? (missing?.tokens ?? null) : null,
        login: logins === undefined ? (missing?.logins ?? null) : null,
      },
    })),
  };
}

/**
 * What `schema` makes of `value`, whose fields may be null where they may be left out. Throws PoolError `unknown_field` or
 * `invalid_request`, naming the first field at fault.
 */
export function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const asSent = schema.safeParse(value, upToFirstProblem);
  if (asSent.success) return asSent.data;
  const result = schema.safeParse(withoutNulls(schema, value), upToFirstProblem);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  if (issue === undefined) throw new PoolError('invalid_request', 'The request is not valid.');
  if (issue.code === 'unrecognized_keys') {
    const name = issue.keys[0] ?? '';
    const param = [...issue.path, name].join('.');
    const known = issue.path.length === 0 && schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
    const [near] = nearNames(name, known);
    const advice = near === undefined ? '.' : `; did you mean "${near}"?`;
    throw new PoolError('unknown_field', `There is no field "${param}" in this request${advice}`, { param });
  }
  const param = issue.path.join('.');
  if (param === '')
    throw new PoolError('invalid_request', `The body must be a JSON object: ${issue.message}.`);
  throw new PoolError('invalid_request', `"${param}" is not valid: ${issue.message}.`, { param });
}

type Optional<T> = { readonly [Name in keyof T]?: T[Name] | undefined };

/** Fields left out are not the same as fields set to nothing. */
export function definedOnly<T extends object>(fields: Optional<T>): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}
