import type { Postgres } from '../../db/postgres.ts';
import {
  auditAtOnce,
  auditKeptMs,
  intentsKeptMs,
  mostAuditedLeases,
  mostReports,
  reportsKeptMs,
  spendingKeptMs,
} from './kept-rows.ts';

const prunedAtOnce = 5000;
/** A caller may add them faster than one statement a round would take them away. */
const mostPortions = 20;

/** Forgets what is old or too much, some of it at a time, past what another instance is at. */
export function createPrune(db: Postgres): (now: number) => Promise<void> {
  /** Of the audit; only what comes later has to be looked at again. */
  let leasesPrunedTo = 0;
  return async (now) => {
    await pruneByAge(db, now);
    await db.writing.run(oldAudit, now - auditKeptMs);
    const last = await db.reading.get<{ seq: number | null }>('SELECT MAX(seq) AS seq FROM audit');
    const end = (last?.seq ?? 0) - mostAuditedLeases;
    if (end <= leasesPrunedTo) return;
    const removed = await db.writing.run(oldLeases, leasesPrunedTo, end);
    if (removed < prunedAtOnce) leasesPrunedTo = end;
  };
}

async function pruneByAge(db: Postgres, now: number): Promise<void> {
  const old: readonly (readonly [table: string, column: string, before: number])[] = [
    ['reports_seen', 'seen_at', now - reportsKeptMs],
    ['removed_intents', 'intent_at', now - intentsKeptMs],
    ['spending', 'minute', Math.floor((now - spendingKeptMs) / 60_000)],
  ];
  for (const [table, column, before] of old) await removeOlder(db, table, column, before);
  const oldest = await db.reading.get<{ seen_at: number }>(oldestReport);
  if (oldest) await removeOlder(db, 'reports_seen', 'seen_at', oldest.seen_at + 1);
}

async function removeOlder(db: Postgres, table: string, column: string, before: number): Promise<void> {
  for (let portion = 0; portion < mostPortions; portion += 1) {
    const removed = await db.writing.run(
      `DELETE FROM ${table} WHERE ctid = ANY (ARRAY (
         SELECT ctid FROM ${table} WHERE ${column} < $1 LIMIT ${prunedAtOnce} FOR UPDATE SKIP LOCKED))`,
      before,
    );
    if (removed < prunedAtOnce) return;
  }
}

const oldestReport = `SELECT seen_at FROM reports_seen ORDER BY seen_at DESC LIMIT 1 OFFSET ${mostReports}`;
const oldAudit = `DELETE FROM audit WHERE at < $1 AND seq = ANY (ARRAY (
  SELECT seq FROM audit ORDER BY seq LIMIT ${auditAtOnce}))`;
const oldLeases = `DELETE FROM audit WHERE seq = ANY (ARRAY (
  SELECT seq FROM audit WHERE seq > $1 AND seq <= $2 AND action = 'lease' ORDER BY seq LIMIT ${prunedAtOnce}))`;

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
