import type { Queries } from '../../db/postgres.ts';
import { lendMarginMs } from '../account-state.ts';
import type { Standing } from '../standing.ts';
import { type ChangeLog, createChangeLog } from './changes.ts';
import { kindStates } from './kinds.ts';
import { type AccountRow, asFlag, standingFrom } from './rows.ts';
import { type StoreOptions, standingWrite } from './standing-change.ts';
import type { AuditEntry, Changes } from './store.ts';

/**
 * One transaction under way. Rows are locked in this order: sessions, then accounts by id, then the rest. A lease is
 * written only under its account's lock; it comes to a session, or is given back, under the session's lock as well.
 */
export interface Work extends ChangeLog {
  readonly db: Queries;
  readonly now: number;
  readonly options: StoreOptions;
}

export function startWork(db: Queries, now: number, options: StoreOptions, earlier?: Changes): Work {
  return { db, now, options, ...createChangeLog(earlier) };
}

export function accountRow(work: Work, id: string): Promise<AccountRow | undefined> {
  return work.db.get<AccountRow>('SELECT * FROM accounts WHERE id = $1', id);
}

/** For a row that was there a moment ago in the same transaction. */
export async function mustHaveRow(work: Work, id: string): Promise<AccountRow> {
  const row = await accountRow(work, id);
  if (row === undefined) throw new Error(`account ${id} vanished inside a transaction`);
  return row;
}

export function lockAccount(work: Work, id: string): Promise<AccountRow | undefined> {
  return work.db.get<AccountRow>('SELECT * FROM accounts WHERE id = $1 FOR UPDATE', id);
}

const atOnce = 100;

/** Whether a session, cooldown, exhaustion or bearer is over that nobody has ended yet. */
export const isDueQuery = `SELECT EXISTS (SELECT 1 FROM sessions WHERE expires_at <= $1)
  OR EXISTS (SELECT 1 FROM accounts WHERE state_until IS NOT NULL AND state_until <= $1)
  OR EXISTS (SELECT 1 FROM accounts WHERE state = 'active' AND bearer_expires_at IS NOT NULL
    AND bearer_expires_at <= $1::bigint + ${lendMarginMs}) AS is_due`;

/**
 * Ends some sessions, cooldowns, exhaustions and bearers whose time has come, and leaves those that another instance is at.
 * Answers how many it ended.
 */
export async function reapSome(work: Work): Promise<number> {
  const { db, now } = work;
  const over = await db.all<{ id: string }>(
    `SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT ${atOnce} FOR UPDATE SKIP LOCKED`,
    now,
  );
  if (over.length > 0) {
    await endSessions(
      work,
      over.map(({ id }) => id),
    );
  }
  const rested = await db.all<AccountRow>(
    `SELECT * FROM accounts WHERE state_until IS NOT NULL AND state_until <= $1
     ORDER BY state_until LIMIT ${atOnce} FOR NO KEY UPDATE SKIP LOCKED`,
    now,
  );
  const lapsed = await db.all<AccountRow>(
    `SELECT * FROM accounts
     WHERE state = 'active' AND bearer_expires_at IS NOT NULL AND bearer_expires_at <= $1::bigint + ${lendMarginMs}
     ORDER BY bearer_expires_at LIMIT ${atOnce} FOR NO KEY UPDATE SKIP LOCKED`,
    now,
  );
  for (const row of [...rested, ...lapsed]) await saveStanding(work, row, standingFrom(row));
  return over.length + rested.length + lapsed.length;
}

/** Ends sessions that the caller has locked. */
async function endSessions(work: Work, ids: readonly string[]): Promise<void> {
  await work.db.run(
    `SELECT 1 FROM accounts WHERE id IN (SELECT account_id FROM leases WHERE session_id = ANY ($1))
     ORDER BY id FOR NO KEY UPDATE`,
    ids,
  );
  await dropLeases(work, 'session_id = ANY ($1)', ids);
  await work.db.run('DELETE FROM sessions WHERE id = ANY ($1)', ids);
}

/** Ends the leases of a session that the caller has locked; the session stays. */
export async function emptySession(work: Work, id: string): Promise<void> {
  await work.db.run(
    `SELECT 1 FROM accounts WHERE id IN (SELECT account_id FROM leases WHERE session_id = $1)
     ORDER BY id FOR NO KEY UPDATE`,
    id,
  );
  await dropLeases(work, 'session_id = $1', id);
}

/** Ends leases whose accounts the caller has locked. */
async function dropLeases(work: Work, condition: string, value: string | readonly string[]): Promise<void> {
  const gone = await work.db.get<{ leases: number }>(
    `WITH gone AS (DELETE FROM leases WHERE ${condition} RETURNING account_id, slots, exclusive), ${freeing}
     SELECT COUNT(*) AS leases FROM gone`,
    value,
  );
  if (gone !== undefined && gone.leases > 0) work.freed();
}

/** The part of a statement that takes the leases `gone` off their accounts. */
export const freeing = `sums AS (
    SELECT account_id, COUNT(*) AS leases, SUM(exclusive) AS exclusive,
      SUM(CASE exclusive WHEN 1 THEN 0 ELSE slots END) AS slots
    FROM gone GROUP BY account_id
  ), freed AS (
    UPDATE accounts SET holders = holders - sums.leases, exclusive_held = exclusive_held - sums.exclusive,
      shared_slots = shared_slots - sums.slots
    FROM sums WHERE accounts.id = sums.account_id
  )`;

export function dropLeasesOf(work: Work, accountId: string): Promise<void> {
  return dropLeases(work, 'account_id = $1', accountId);
}

/**
 * Settles a standing and writes it when it differs from the row's; `row` must be what the table holds, locked. Ends the
 * leases and the refreshing of an account that is out of service, takes it up again for one that comes back. False when
 * it stands so already.
 */
export async function saveStanding(work: Work, row: AccountRow, wanted: Standing): Promise<boolean> {
  const write = standingWrite(row, wanted, work.options, work.now);
  if (write === null) return false;
  const { standing } = write;
  await work.db.run(
    `UPDATE accounts SET state = $1, state_until = $2, state_reason = $3, state_evidence = $4, half_open = $5,
      quota_spent = $6, streaks = $7, updated_at = $8, state_since = $9,
      next_check_at = CASE WHEN $10 THEN $11::bigint ELSE next_check_at END,
      checks = CASE WHEN $10 THEN 0 ELSE checks END,
      next_refresh_at = CASE WHEN $12 THEN $13::bigint ELSE next_refresh_at END
     WHERE id = $14`,
    standing.state,
    standing.until,
    standing.reason,
    write.evidence,
    asFlag(standing.halfOpen),
    asFlag(standing.quotaSpent),
    write.streaks,
    work.now,
    write.stateSince,
    write.isOtherState,
    write.nextCheckAt,
    write.nextRefreshAt !== undefined,
    write.nextRefreshAt ?? null,
    row.id,
  );
  if (write.endsLeases) await dropLeasesOf(work, row.id);
  if (write.frees) work.freed();
  if (write.isOtherState) {
    work.changed({ id: row.id, provider: row.provider, state: standing.state, free: row.free === 1 });
  }
  return true;
}

export async function setNextRefresh(work: Work, id: string, at: number | null): Promise<void> {
  await work.db.run('UPDATE accounts SET next_refresh_at = $1 WHERE id = $2', at, id);
}

/** No other account of its provider is active. */
export async function isLastActive(work: Work, row: AccountRow): Promise<boolean> {
  const active = await work.db.get<{ accounts: number }>(
    `SELECT COALESCE(SUM(accounts), 0)::bigint AS accounts FROM standings
     WHERE provider = $1 AND kind % 8 = ${kindStates.indexOf('active')}`,
    row.provider,
  );
  return (active?.accounts ?? 0) - (row.state === 'active' ? 1 : 0) <= 0;
}

export async function setNextCheck(work: Work, id: string, at: number | null, checks: number): Promise<void> {
  await work.db.run('UPDATE accounts SET next_check_at = $1, checks = $2 WHERE id = $3', at, checks, id);
}

export async function writeAudit(work: Pick<Work, 'db' | 'now'>, entry: AuditEntry): Promise<void> {
  await work.db.run(
    'INSERT INTO audit (at, actor, action, account_id, detail) VALUES ($1, $2, $3, $4, $5)',
    work.now,
    entry.actor,
    entry.action,
    entry.accountId,
    JSON.stringify(entry.detail),
  );
}
