import type { Sqlite } from '../../db/sqlite.ts';
import { nextProof, nextQuotaCheck, type Standing, settle, softened } from '../account-state.ts';
import { type AccountRow, asFlag, asJson, type LeaseRow, standingFrom } from './rows.ts';
import type { AuditEntry, ChangedAccount, Changes, StoredQuota } from './store.ts';

export interface SqliteStoreOptions {
  /** Set for accounts nobody can repair: no state keeps them out for longer. */
  readonly longestRestMs?: number;
  /** Whether leases to outsiders are written to the audit trail. */
  readonly auditsLeases: boolean;
}

/** One transaction under way: the database, its time, and what others must hear of afterwards. */
export interface Work {
  readonly db: Sqlite;
  readonly now: number;
  readonly options: SqliteStoreOptions;
  changed(account: ChangedAccount): void;
  freed(): void;
  changes(): Changes;
}

/** `earlier` are changes that a verb made before and had no way to tell. */
export function startWork(db: Sqlite, now: number, options: SqliteStoreOptions, earlier?: Changes): Work {
  const accounts = new Map(earlier?.accounts.map((account) => [account.id, account]));
  let hasFreed = earlier?.hasFreed ?? false;
  return {
    db,
    now,
    options,
    changed(account) {
      accounts.set(account.id, account);
      hasFreed = true;
    },
    freed() {
      hasFreed = true;
    },
    changes: () => ({ accounts: [...accounts.values()], hasFreed }),
  };
}

export function accountRow(work: Work, id: string): AccountRow | undefined {
  return work.db.get<AccountRow>('SELECT * FROM accounts WHERE id = ?', id);
}

/** Ends sessions, cooldowns and exhaustions whose time has come, so that nobody sees them beyond it. */
export function reap(work: Work): void {
  const { db, now } = work;
  for (const { id } of db.all<{ id: string }>('SELECT id FROM sessions WHERE expires_at <= ?', now)) {
    endSession(work, id);
  }
  const rested = db.all<AccountRow>(
    'SELECT * FROM accounts WHERE state_until IS NOT NULL AND state_until <= ?',
    now,
  );
  for (const row of rested) saveStanding(work, row, settle(standingFrom(row), now));
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

/** Writes a standing that differs from the row's; ends the leases of an account that is out of service. */
export function saveStanding(work: Work, row: AccountRow, wanted: Standing): void {
  const { longestRestMs } = work.options;
  const next = longestRestMs === undefined ? wanted : softened(wanted, longestRestMs, work.now);
  const streaks = JSON.stringify(next.streaks);
  const evidence = asJson(next.evidence);
  const isSame =
    next.state === row.state &&
    next.until === row.state_until &&
    next.reason === row.state_reason &&
    next.halfOpen === (row.half_open === 1) &&
    next.quotaSpent === (row.quota_spent === 1) &&
    evidence === row.state_evidence &&
    streaks === row.streaks;
  if (isSame) return;
  work.db.run(
    `UPDATE accounts SET state = ?, state_until = ?, state_reason = ?, state_evidence = ?, half_open = ?,
      quota_spent = ?, streaks = ?, updated_at = ?, state_since = ? WHERE id = ?`,
    next.state,
    next.until,
    next.reason,
    evidence,
    asFlag(next.halfOpen),
    asFlag(next.quotaSpent),
    streaks,
    work.now,
    next.state === row.state ? row.state_since : work.now,
    row.id,
  );
  if (next.state === 'disabled' || next.state === 'reauth_required') dropLeasesOf(work, row.id);
  if (next.state === row.state) {
    if (row.half_open === 1 && !next.halfOpen) work.freed();
    return;
  }
  setNextCheck(work, row.id, nextCheckOf(next, row.probe, 0, work.now), 0);
  work.changed({ id: row.id, provider: row.provider, state: next.state, free: row.free === 1 });
}

export function nextCheckOf(
  standing: Standing,
  probe: 'unproved' | 'proved',
  checks: number,
  now: number,
): number | null {
  const forQuota = nextQuotaCheck(standing, checks, now);
  if (forQuota !== null) return forQuota;
  const isInService = standing.state === 'active' || standing.state === 'cooldown';
  return isInService && probe === 'unproved' ? nextProof(checks, now) : null;
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

/** What an account has left, for the counters: null where that is not known or not limited. */
export function remainingOf(quota: StoredQuota | null): number | null {
  return quota === null || quota.isUnlimited ? null : quota.remaining;
}
