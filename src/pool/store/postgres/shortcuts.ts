import type { Postgres } from '../../../db/postgres.ts';
import { codeOf } from '../../../db/postgres-errors.ts';
import { needOf } from '../rules/leasing.ts';
import { type AccountRow, accountFrom, asFlag } from '../rules/rows.ts';
import type { Granted, LeaseDemand } from '../store.ts';
import {
  type ChoiceShape,
  choiceValues,
  type PickedRow,
  pickStatement,
  placeColumns,
  skipsOf,
  statementOf,
} from '../verbs/choice.ts';
import type { Shortcuts } from '../verbs/store-verbs.ts';

/** What is asked most often, in one statement: a quarter of the round trips of a transaction. */
export function postgresShortcuts(db: Postgres, auditsLeases: boolean): Shortcuts {
  return {
    takeLeases: (now, demand) => takeLeases(db, auditsLeases, now, demand),
    endSession: (...which) => endSession(db, ...which),
    tidy: () => gatherCounters(db),
  };
}

/**
 * Makes a new session and gives it accounts: marks those picked as held, with a lease each and a line in the audit.
 */
export function takeStatement(shape: ChoiceShape): string {
  const { exclusive, count } = shape;
  return `WITH ${pickStatement(shape, 'NOT EXISTS (SELECT 1 FROM sessions WHERE id = $1)')}, made AS (
    INSERT INTO sessions (id, key_id, is_gateway, exclusive, provider, ttl_ms, expires_at, created_at)
      SELECT $1, $10, $6, ${asFlag(exclusive)}, $3, $12::bigint, $13::bigint, $2::bigint
      WHERE (SELECT COUNT(*) FROM pick) = ${count}
      ON CONFLICT (id) DO NOTHING RETURNING id
  ), mark AS (
    UPDATE accounts SET fence_counter = fence_counter + 1, use_count = use_count + 1, last_used = $2::bigint,
      holders = holders + 1, exclusive_held = ${asFlag(exclusive)},
      shared_slots = shared_slots + ${exclusive ? 0 : '$7::integer'}
    FROM pick WHERE accounts.id = pick.id AND EXISTS (SELECT 1 FROM made) RETURNING accounts.*
  ), lent AS (
    INSERT INTO leases (session_id, account_id, fence, slots, exclusive, created_at)
      SELECT $1, id, fence_counter, $7::integer, ${asFlag(exclusive)}, $2::bigint FROM mark
  ), noted AS (
    INSERT INTO audit (at, actor, action, account_id, detail)
      SELECT $2::bigint, $10, 'lease', id, json_build_object('session_id', $1::text, 'fence', fence_counter)
      FROM mark WHERE $11::boolean AND credential_kind = 'api_key'
  )
  SELECT mark.*, ${placeColumns(shape)} FROM mark JOIN pick USING (id) ORDER BY id`;
}

/** The usual case: a session that is new, and enough accounts that no transaction has locked. */
async function takeLeases(
  db: Postgres,
  auditsLeases: boolean,
  now: number,
  demand: LeaseDemand,
): Promise<Granted | null> {
  if (demand.count > 1 && demand.prefer !== null) return null;
  const { provider, exclusive, count } = demand;
  const ttlMs = demand.ttlMs ?? demand.defaultTtlMs;
  const shape = { exclusive, hasProvider: provider !== null, hasPreferred: demand.prefer !== null, count };
  const rows = await db.writing.all<AccountRow & PickedRow>(
    statementOf(shape, takeStatement),
    ...choiceValues(demand, provider, now, []),
    demand.owner.keyId,
    auditsLeases && !demand.owner.isGateway,
    ttlMs,
    now + ttlMs,
  );
  if (rows.length === 0) return null;
  const slots = exclusive ? 1 : demand.slots;
  const need = needOf(demand, provider, [], new Set());
  return {
    result: 'granted',
    created: true,
    expiresAt: now + ttlMs,
    leases: rows.map((row) => ({ account: accountFrom(row), fence: row.fence_counter, slots })),
    added: rows.map((row) => ({ id: row.id, fence: row.fence_counter })),
    skipped: await skipsOf(db.reading, now, need, shape, rows),
  };
}

/** Frees all a session holds and ends it. */
export const endStatement = `WITH session AS (
    SELECT id FROM sessions WHERE id = $1 AND expires_at > $2 AND ($3::text IS NULL OR key_id = $3) FOR UPDATE
  ), locked AS (
    SELECT id FROM accounts
    WHERE id IN (SELECT account_id FROM leases WHERE session_id = (SELECT id FROM session))
    ORDER BY id FOR NO KEY UPDATE
  ), gone AS (
    DELETE FROM leases WHERE session_id = (SELECT id FROM session) AND account_id IN (SELECT id FROM locked)
    RETURNING account_id, slots, exclusive
  ), sums AS (
    SELECT account_id, COUNT(*) AS leases, SUM(exclusive) AS exclusive,
      SUM(CASE exclusive WHEN 1 THEN 0 ELSE slots END) AS slots
    FROM gone GROUP BY account_id
  ), freed AS (
    UPDATE accounts SET holders = holders - sums.leases, exclusive_held = exclusive_held - sums.exclusive,
      shared_slots = shared_slots - sums.slots
    FROM sums WHERE accounts.id = sums.account_id
  ), ended AS (
    DELETE FROM sessions WHERE id = (SELECT id FROM session)
  )
  SELECT (SELECT COUNT(*) FROM session) AS sessions, (SELECT COUNT(*) FROM gone) AS leases`;

/** A foreign key and a check. */
const fellBehind = new Set(['23503', '23514']);
const mostTries = 20;

/**
 * The statement sees the leases there were when it began. If it had to wait for a session that grew meanwhile, it would
 * leave some behind, or take more slots off an account than it saw it have; then nothing of it happens, and it is run
 * again.
 */
async function endSession(
  db: Postgres,
  now: number,
  sessionId: string,
  keyId: string | null,
): Promise<number | null> {
  for (let tries = 1; ; tries += 1) {
    try {
      const gone = await db.writing.get<{ sessions: number; leases: number }>(
        endStatement,
        sessionId,
        now,
        keyId,
      );
      return gone === undefined || gone.sessions === 0 ? null : gone.leases;
    } catch (error) {
      if (!fellBehind.has(codeOf(error)) || tries >= mostTries) throw error;
    }
  }
}

const isGone = 'shard <> 0 AND shard NOT IN (SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL)';

/** Adds what connections counted that are gone to one row each; every connection counts in rows of its own. */
async function gatherCounters(db: Postgres): Promise<void> {
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
