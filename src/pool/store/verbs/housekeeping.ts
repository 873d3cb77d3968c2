import type { Database } from '../../../db/database.ts';
import { longestIdleCheckMs, longestRetryAfterMs } from '../../standing/account-state.ts';
import { lendMarginMs, tokenReasons } from '../../standing/standing.ts';
import { type AccountRow, standingFrom } from '../rules/rows.ts';
import { endSessions, saveStanding, type Transaction } from './transaction.ts';

const atOnce = 100;

/** A row if a session, cooldown, exhaustion or bearer has expired and was not ended yet. */
export const isDueQuery = `SELECT 1 WHERE EXISTS (SELECT 1 FROM sessions WHERE expires_at <= $1)
  OR EXISTS (SELECT 1 FROM accounts /* INDEXED BY accounts_resting */
    WHERE state_until IS NOT NULL AND state_until <= $1)
  OR EXISTS (SELECT 1 FROM accounts /* INDEXED BY accounts_lapsing */
    WHERE state = 'active' AND bearer_expires_at IS NOT NULL AND bearer_expires_at <= $1::bigint + ${lendMarginMs})`;

/**
 * Ends some sessions, cooldowns, exhaustions and bearers whose time has come, and leaves those that another transaction
 * has locked. Answers how many it ended.
 */
export async function reapSome(tx: Transaction): Promise<number> {
  const { db, now } = tx;
  const expired = await db.all<{ id: string }>(
    `SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT ${atOnce} FOR UPDATE SKIP LOCKED`,
    now,
  );
  if (expired.length > 0) {
    await endSessions(
      tx,
      expired.map(({ id }) => id),
    );
  }
  const rested = await db.all<AccountRow>(
    `SELECT * FROM accounts /* INDEXED BY accounts_resting */ WHERE state_until IS NOT NULL AND state_until <= $1
     ORDER BY state_until LIMIT ${atOnce} FOR NO KEY UPDATE SKIP LOCKED`,
    now,
  );
  const lapsed = await db.all<AccountRow>(
    `SELECT * FROM accounts /* INDEXED BY accounts_lapsing */
     WHERE state = 'active' AND bearer_expires_at IS NOT NULL AND bearer_expires_at <= $1::bigint + ${lendMarginMs}
     ORDER BY bearer_expires_at LIMIT ${atOnce} FOR NO KEY UPDATE SKIP LOCKED`,
    now,
  );
  for (const row of [...rested, ...lapsed]) await saveStanding(tx, row, standingFrom(row));
  return expired.length + rested.length + lapsed.length;
}

/**
 * What the pool's tables hold at most, by age and, where a caller adds rows, by number: otherwise a borrower could fill the
 * disk. Sessions and leases expire, and there are no more of them than places on accounts.
 */
const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** Ids of reports, so that one that is sent again counts once: those of a session, and of one that ended a while ago. */
const reportsKeptMs = 6 * hour;
const reportsKeptAfterMs = 30 * minute;
export const mostReports = 200_000;
const spendingKeptMs = 48 * hour;
const intentsKeptMs = 30 * day;
const auditKeptMs = 400 * day;
/** Leases to programs are kept only among this many last entries, so that they push out nothing else. */
export const mostAuditedLeases = 100_000;
/** How many old entries of the audit one round looks at. */
const auditAtOnce = 1_000;
const prunedAtOnce = 5_000;
/** A caller may add reports faster than one statement a round would remove them. */
const mostPortions = 20;

/** Forgets what is old or too much, some of it at a time, past what another instance has locked. */
export function createPrune(db: Database): (now: number) => Promise<void> {
  /** Of the audit; only what comes later has to be looked at again. */
  let leasesPrunedTo = 0;
  let lastAt = Number.POSITIVE_INFINITY;
  return async (now) => {
    // Also at the first time: the clock may have been set while no pool ran.
    if (now < lastAt) {
      await db.writing.run(overlongRests, now + longestRetryAfterMs);
      await db.writing.run(overdueChecks, now, now + 2 * longestIdleCheckMs);
    }
    lastAt = now;
    await pruneReports(db, now - reportsKeptMs);
    await db.writing.run(endedReports, now - reportsKeptAfterMs);
    const oldest = await db.reading.get<{ seen_at: number }>(oldestReport);
    if (oldest) await pruneReports(db, oldest.seen_at + 1);
    await db.writing.run('DELETE FROM removed_intents WHERE intent_at < $1', now - intentsKeptMs);
    await db.writing.run(
      'DELETE FROM spending WHERE minute < $1',
      Math.floor((now - spendingKeptMs) / minute),
    );
    await db.writing.run(oldAudit, now - auditKeptMs);
    const last = await db.reading.get<{ seq: number | null }>('SELECT MAX(seq) AS seq FROM audit');
    const end = (last?.seq ?? 0) - mostAuditedLeases;
    if (end <= leasesPrunedTo) return;
    const removed = await db.writing.run(oldLeases, leasesPrunedTo, end);
    if (removed < prunedAtOnce) leasesPrunedTo = end;
  };
}

async function pruneReports(db: Database, before: number): Promise<void> {
  for (let portion = 0; portion < mostPortions; portion += 1) {
    if ((await db.writing.run(oldReports, before)) < prunedAtOnce) return;
  }
}

/** After a clock was set back: no rest is longer, and those for want of a bearer end with one. */
const overlongRests = `UPDATE accounts SET state_until = $1 WHERE id IN (
  SELECT id FROM accounts /* INDEXED BY accounts_resting */ WHERE state_until IS NOT NULL AND state_until > $1
    AND state = 'cooldown' AND state_reason NOT IN (${tokenReasons.map((reason) => `'${reason}'`).join(', ')})
  FOR NO KEY UPDATE SKIP LOCKED)`;
const overdueChecks = `UPDATE accounts SET next_check_at = $1 WHERE id IN (
  SELECT id FROM accounts /* INDEXED BY accounts_to_check */ WHERE next_check_at IS NOT NULL AND next_check_at > $2
  FOR NO KEY UPDATE SKIP LOCKED)`;
const oldestReport = `SELECT seen_at FROM reports_seen /* INDEXED BY reports_seen_by_age */
  ORDER BY seen_at DESC LIMIT 1 OFFSET ${mostReports}`;
const oldReports = `DELETE FROM reports_seen WHERE (key_id, report_id) IN (
  SELECT key_id, report_id FROM reports_seen WHERE seen_at < $1
  ORDER BY seen_at LIMIT ${prunedAtOnce} FOR UPDATE SKIP LOCKED)`;
/** Of the oldest, those of sessions that are gone. What the reports of a session are kept under: see `reporterOf`. */
const endedReports = `DELETE FROM reports_seen WHERE (key_id, report_id) IN (
  SELECT key_id, report_id FROM (
    SELECT key_id, report_id FROM reports_seen /* INDEXED BY reports_seen_by_age */
    WHERE seen_at < $1 ORDER BY seen_at LIMIT ${prunedAtOnce}
  ) AS oldest WHERE key_id NOT IN (SELECT key_id || ' ' || id FROM sessions))`;
const oldAudit = `DELETE FROM audit WHERE at < $1 AND seq IN (SELECT seq FROM audit ORDER BY seq LIMIT ${auditAtOnce})`;
const oldLeases = `DELETE FROM audit WHERE seq IN (
  SELECT seq FROM audit WHERE seq > $1 AND seq <= $2 AND action = 'lease' ORDER BY seq LIMIT ${prunedAtOnce})`;
