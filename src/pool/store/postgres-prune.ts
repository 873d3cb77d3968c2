import type { Postgres } from '../../db/postgres.ts';

const reportsKeptMs = 6 * 60 * 60_000;
const spendingKeptMs = 48 * 60 * 60_000;
const intentsKeptMs = 30 * 24 * 60 * 60_000;
const prunedAtOnce = 5000;

/** Forgets what is old, some of it at a time, past what another instance is at. */
export async function prune(db: Postgres, now: number): Promise<void> {
  const old: readonly (readonly [table: string, column: string, before: number])[] = [
    ['reports_seen', 'seen_at', now - reportsKeptMs],
    ['removed_intents', 'intent_at', now - intentsKeptMs],
    ['spending', 'minute', Math.floor((now - spendingKeptMs) / 60_000)],
  ];
  for (const [table, column, before] of old) {
    await db.writing.run(
      `DELETE FROM ${table} WHERE ctid = ANY (ARRAY (
         SELECT ctid FROM ${table} WHERE ${column} < $1 LIMIT ${prunedAtOnce} FOR UPDATE SKIP LOCKED))`,
      before,
    );
  }
}

const isGone = 'shard <> 0 AND shard NOT IN (SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL)';

/** Adds what connections counted that are gone to one row each; every connection counts in rows of its own. */
export async function gatherCounters(db: Postgres): Promise<void> {
  await db.writing.run(
    `WITH gone AS (
       DELETE FROM standings WHERE ctid = ANY (ARRAY (
         SELECT ctid FROM standings WHERE ${isGone} FOR UPDATE SKIP LOCKED))
       RETURNING provider, kind, accounts
     )
     INSERT INTO standings (shard, provider, kind, accounts)
       SELECT 0, provider, kind, SUM(accounts) FROM gone GROUP BY provider, kind ORDER BY provider, kind
       ON CONFLICT (shard, provider, kind) DO UPDATE SET accounts = standings.accounts + EXCLUDED.accounts`,
  );
  await db.writing.run(
    `WITH gone AS (
       DELETE FROM counters WHERE ctid = ANY (ARRAY (
         SELECT ctid FROM counters WHERE ${isGone} FOR UPDATE SKIP LOCKED))
       RETURNING sessions, remaining, unmetered
     )
     INSERT INTO counters (shard, sessions, remaining, unmetered)
       SELECT 0, SUM(sessions), SUM(remaining), SUM(unmetered) FROM gone HAVING COUNT(*) > 0
       ON CONFLICT (shard) DO UPDATE SET sessions = counters.sessions + EXCLUDED.sessions,
         remaining = counters.remaining + EXCLUDED.remaining, unmetered = counters.unmetered + EXCLUDED.unmetered`,
  );
}
