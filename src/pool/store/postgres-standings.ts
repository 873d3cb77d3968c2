import type { Queries } from '../../db/postgres.ts';
import { countedStats } from './counted-stats.ts';
import { type KindCount, kindFrom } from './kinds.ts';
import { spentProviders } from './postgres-choice.ts';
import type { Stats, Usage } from './store.ts';

interface StandingRow {
  readonly provider: string;
  readonly kind: number;
  readonly accounts: number;
}

/** How many accounts there are of each kind, of one provider or of all: the sum over the shards. */
export async function kindCounts(db: Queries, provider: string | null): Promise<KindCount[]> {
  const rows = await db.all<StandingRow>(
    `SELECT provider, kind, SUM(accounts)::bigint AS accounts FROM standings
     WHERE $1::text IS NULL OR provider = $1 GROUP BY provider, kind HAVING SUM(accounts) > 0
     ORDER BY provider, kind`,
    provider,
  );
  return rows.map(countFrom);
}

/** All of it in one statement, so that the parts fit together. */
export async function stats(db: Queries, now: number): Promise<Stats> {
  const row = await db.get<{
    readonly standings: readonly StandingRow[] | null;
    readonly counters: { sessions: number; remaining: number; unmetered: number };
    readonly spent: Usage;
    readonly free_spent: readonly string[] | null;
  }>(
    `SELECT
       (SELECT json_agg(counted) FROM (
          SELECT provider, kind, SUM(accounts)::bigint AS accounts FROM standings
          GROUP BY provider, kind HAVING SUM(accounts) > 0 ORDER BY provider, kind) AS counted) AS standings,
       (SELECT row_to_json(summed) FROM (
          SELECT COALESCE(SUM(sessions), 0)::bigint AS sessions, COALESCE(SUM(remaining), 0) AS remaining,
            COALESCE(SUM(unmetered), 0)::bigint AS unmetered FROM counters) AS summed) AS counters,
       (SELECT row_to_json(summed) FROM (
          SELECT COALESCE(SUM(turns), 0)::bigint AS turns, COALESCE(SUM(input_tokens), 0)::bigint AS "inputTokens",
            COALESCE(SUM(output_tokens), 0)::bigint AS "outputTokens", COALESCE(SUM(credits), 0) AS credits,
            COALESCE(SUM(cost_cents), 0) AS "costCents"
          FROM spending WHERE minute > $2::bigint) AS summed) AS spent,
       (SELECT json_agg(DISTINCT provider) FROM (${spentProviders('$1::bigint')}) AS providers) AS free_spent`,
    now,
    Math.floor(now / 60_000) - 60,
  );
  if (row === undefined) throw new Error('the counters are gone');
  return {
    ...countedStats((row.standings ?? []).map(countFrom)),
    ...row.counters,
    lastHour: row.spent,
    freeQuotaSpent: row.free_spent ?? [],
  };
}

function countFrom({ provider, kind, accounts }: StandingRow): KindCount {
  return { provider, number: kind, kind: kindFrom(kind), accounts };
}
