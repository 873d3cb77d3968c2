import type { Sqlite } from '../../db/sqlite.ts';
import { lendMarginMs } from '../account-state.ts';
import type { Standing } from '../standing.ts';
import { type ChangeLog, createChangeLog } from './changes.ts';
import { type AccountRow, asFlag, type LeaseRow, standingFrom } from './rows.ts';
import { type StoreOptions, standingWrite } from './standing-change.ts';
import type { AuditEntry, Changes } from './store.ts';

/** One transaction under way: the database, its time, and what others must hear of afterwards. */
export interface Work extends ChangeLog {
  readonly db: Sqlite;
  readonly now: number;
  readonly options: StoreOptions;
}

/** `earlier` are changes that a verb made before and had no way to tell. */
export function startWork(db: Sqlite, now: number, options: StoreOptions, earlier?: Changes): Work {
  return { db, now, options, ...createChangeLog(earlier) };
}

export function accountRow(work: Work, id: string): AccountRow | undefined {
  return work.db.get<AccountRow>('SELECT * FROM accounts WHERE id = ?', id);
}

/** Ends sessions, cooldowns, exhaustions and bearers whose time has come, so that nobody sees them beyond it. */
export function reap(work: Work): void {
  const { db, now } = work;
  for (const { id } of db.all<{ id: string }>('SELECT id FROM sessions WHERE expires_at <= ?', now)) {
    endSession(work, id);
  }
  const rested = db.all<AccountRow>(
    'SELECT * FROM accounts WHERE state_until IS NOT NULL AND state_until <= ?',
    now,
  );
  for (const row of rested) saveStanding(work, row, standingFrom(row));
  const lapsed = db.all<AccountRow>(
    `SELECT * FROM accounts INDEXED BY accounts_lapsing
     WHERE bearer_expires_at IS NOT NULL AND state = 'active' AND bearer_expires_at <= ?`,
    now + lendMarginMs,
  );
  for (const row of lapsed) saveStanding(work, row, standingFrom(row));
}

/** Answers how many leases the session held. */
export function endSession(work: Work, sessionId: string): number {
  const leases = work.db.all<LeaseRow>('SELECT * FROM leases WHERE session_id = ?', sessionId);
  for (const lease of leases) dropLease(work, lease);
  work.db.run('DELETE FROM sessions WHERE id = ?', sessionId);
  return leases.length;
}

export function dropLease(work: Work, lease: LeaseRow): void {
  work.db.run(
    'DELETE FROM leases WHERE session_id = ? AND account_id = ?',
    lease.session_id,
    lease.account_id,
  );
  work.db.run(
    `UPDATE accounts SET holders = holders - 1, exclusive_held = exclusive_held - ?1,
      shared_slots = shared_slots - ?2 WHERE id = ?3`,
    lease.exclusive,
    lease.exclusive === 1 ? 0 : lease.slots,
    lease.account_id,
  );
  work.freed();
}

export function dropLeasesOf(work: Work, accountId: string): void {
  const leases = work.db.all<LeaseRow>('SELECT * FROM leases WHERE account_id = ?', accountId);
  for (const lease of leases) dropLease(work, lease);
}

/**
 * Settles a standing and writes it when it differs from the row's; `row` must be what the table holds. Ends the leases
 * and the refreshing of an account that is out of service, takes it up again for one that comes back.
 */
export function saveStanding(work: Work, row: AccountRow, wanted: Standing): void {
  const write = standingWrite(row, wanted, work.options, work.now);
  if (write === null) return;
  const { standing } = write;
  work.db.run(
    `UPDATE accounts SET state = ?, state_until = ?, state_reason = ?, state_evidence = ?, half_open = ?,
      quota_spent = ?, streaks = ?, updated_at = ?, state_since = ? WHERE id = ?`,
    standing.state,
    standing.until,
    standing.reason,
    write.evidence,
    asFlag(standing.halfOpen),
    asFlag(standing.quotaSpent),
    write.streaks,
    work.now,
    write.stateSince,
    row.id,
  );
  if (write.endsLeases) dropLeasesOf(work, row.id);
  if (write.nextRefreshAt !== undefined) setNextRefresh(work, row.id, write.nextRefreshAt);
  if (write.frees) work.freed();
  if (!write.isOtherState) return;
  setNextCheck(work, row.id, write.nextCheckAt, 0);
  work.changed({ id: row.id, provider: row.provider, state: standing.state, free: row.free === 1 });
}

export function setNextRefresh(work: Work, id: string, at: number | null): void {
  work.db.run('UPDATE accounts SET next_refresh_at = ? WHERE id = ?', at, id);
}

/** No other account of its provider is active. */
export function isLastActive(work: Work, row: AccountRow): boolean {
  const other = work.db.get(
    `SELECT 1 FROM accounts INDEXED BY accounts_active
     WHERE state = 'active' AND provider = ? AND id <> ? LIMIT 1`,
    row.provider,
    row.id,
  );
  return other === undefined;
}

export function setNextCheck(work: Work, id: string, at: number | null, checks: number): void {
  work.db.run('UPDATE accounts SET next_check_at = ?, checks = ? WHERE id = ?', at, checks, id);
}

export function writeAudit(work: Work, entry: AuditEntry): void {
  work.db.run(
    'INSERT INTO audit (at, actor, action, account_id, detail) VALUES (?, ?, ?, ?, ?)',
    work.now,
    entry.actor,
    entry.action,
    entry.accountId,
    JSON.stringify(entry.detail),
  );
}
