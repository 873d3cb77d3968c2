import type { Queries } from '../../../db/database.ts';
import type { AccountState } from '../../../pool-api/schema.ts';
import { isOutOfService, tokenReasons } from '../../standing/standing.ts';
import { isAvailable, type KindCount, kindFrom, noStates } from '../rules/leasing.ts';
import type { Usage } from '../store.ts';
import { spentProviders } from './choice.ts';

interface KindRow {
  readonly provider: string;
  readonly kind: number;
  readonly accounts: number;
}

interface Counters extends Usage {
  readonly sessions: number;
  /** What usable accounts have left together, in their providers' units, of those that have figures. */
  readonly remaining: number;
  /** Usable accounts without a limit or without figures. */
  readonly unmetered: number;
}

interface ProviderStats {
  readonly provider: string;
  readonly available: number;
  readonly inUse: number;
  readonly states: Readonly<Record<AccountState, number>>;
}

/** How many accounts there are of each kind, of one provider or of all. */
export async function kindCounts(db: Queries, provider: string | null): Promise<KindCount[]> {
  const rows = await db.all<KindRow>(
    `SELECT provider, kind, SUM(accounts)::bigint AS accounts FROM standings
     WHERE $1::text IS NULL OR provider = $1 GROUP BY provider, kind HAVING SUM(accounts) > 0
     ORDER BY provider, kind`,
    provider,
  );
  return rows.map(countFrom);
}

/** All of it in one statement, so that the parts fit together: a row for each kind, each with the counters. */
const statsQuery = `SELECT counted.*, spent.*, kinds.*,
    CASE WHEN kinds.provider IN (${spentProviders('$1::bigint')}) THEN 1 ELSE 0 END AS is_free_spent
  FROM (
    SELECT COALESCE(SUM(sessions), 0)::bigint AS sessions, COALESCE(SUM(remaining), 0) AS remaining,
      COALESCE(SUM(unmetered), 0)::bigint AS unmetered FROM counters
  ) AS counted CROSS JOIN (
    SELECT COALESCE(SUM(turns), 0)::bigint AS turns, COALESCE(SUM(input_tokens), 0)::bigint AS "inputTokens",
      COALESCE(SUM(output_tokens), 0)::bigint AS "outputTokens", COALESCE(SUM(credits), 0) AS credits,
      COALESCE(SUM(cost_cents), 0) AS "costCents"
    FROM spending WHERE minute > $2::bigint
  ) AS spent LEFT JOIN (
    SELECT provider, kind, SUM(accounts)::bigint AS accounts FROM standings
    GROUP BY provider, kind HAVING SUM(accounts) > 0
  ) AS kinds ON TRUE
  ORDER BY kinds.provider, kinds.kind`;

export async function stats(db: Queries, now: number) {
  const rows = await db.all<
    Counters & { [Name in keyof KindRow]: KindRow[Name] | null } & { readonly is_free_spent: number }
  >(statsQuery, now, Math.floor(now / 60_000) - 60);
  const [first] = rows;
  if (first === undefined) throw new Error('the counters are gone');
  const { sessions, remaining, unmetered, turns, inputTokens, outputTokens, credits, costCents } = first;
  const kinds = rows.filter((row): row is typeof row & KindRow => row.kind !== null);
  const spent = kinds.filter((row) => row.is_free_spent === 1).map(({ provider }) => provider);
  return {
    ...summed(kinds.map(countFrom)),
    sessions,
    remaining,
    unmetered,
    lastHour: { turns, inputTokens, outputTokens, credits, costCents },
    /** Providers with a free account whose quota is spent: none of their free accounts is lent. */
    freeQuotaSpent: [...new Set(spent)],
  };
}

const needsToken = `state = 'cooldown' AND state_reason IN (${tokenReasons.map((reason) => `'${reason}'`).join(', ')})`;

/** When the next of the accounts that rest or are out of quota is due, as `statusEnd` has it of each; null where that is not known. */
export async function nextBack(db: Queries): Promise<number | null> {
  const row = await db.get<{ readonly at: number | null }>(
    `SELECT MIN(at) AS at FROM (
       SELECT MIN(state_until) AS at FROM accounts
       WHERE state_until IS NOT NULL AND state IN ('cooldown', 'exhausted')
       UNION ALL SELECT MIN(next_refresh_at) FROM accounts WHERE next_refresh_at IS NOT NULL AND ${needsToken}
       UNION ALL SELECT MIN(next_check_at) FROM accounts
       WHERE next_check_at IS NOT NULL AND state = 'exhausted' AND state_until IS NULL
     ) AS ends`,
  );
  return row?.at ?? null;
}

/** When the next quota resets, of usable accounts with figures; null where no provider has told. */
export async function nextReset(db: Queries, now: number): Promise<number | null> {
  const row = await db.get<{ readonly at: number | null }>(
    `SELECT MIN(quota_reset_at) AS at FROM accounts WHERE quota_reset_at > $1::bigint
       AND quota_remaining IS NOT NULL AND state IN ('active', 'cooldown', 'exhausted')`,
    now,
  );
  return row?.at ?? null;
}

function countFrom({ provider, kind, accounts }: KindRow): KindCount {
  return { provider, number: kind, kind: kindFrom(kind), accounts };
}

type Sums = { -readonly [Name in keyof ProviderStats]: ProviderStats[Name] } & {
  states: ReturnType<typeof noStates>;
};

function summed(counts: readonly KindCount[]) {
  const sumsOf = (provider: string): Sums => ({ provider, available: 0, inUse: 0, states: noStates() });
  const all = sumsOf('');
  let total = 0;
  let gatewayOnly = 0;
  const providers = new Map<string, Sums>();
  for (const { provider, kind, accounts } of counts) {
    const own = providers.get(provider) ?? sumsOf(provider);
    providers.set(provider, own);
    total += accounts;
    if (kind.gatewayOnly && !isOutOfService(kind)) gatewayOnly += accounts;
    for (const sums of [all, own]) {
      sums.states[kind.state] += accounts;
      if (isAvailable(kind)) sums.available += accounts;
      if (kind.held) sums.inUse += accounts;
    }
  }
  const { available, inUse } = all;
  const { reauth_required: reauthRequired, ...states } = all.states;
  return {
    total,
    available,
    inUse,
    ...states,
    reauthRequired,
    /** Accounts that are not given up and are lent to gateways only. */
    gatewayOnly,
    /** The accounts by all that decides whether they can be lent. */
    kinds: counts,
    byProvider: [...providers.values()],
  };
}
