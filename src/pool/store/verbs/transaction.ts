import type { Queries } from '../../../db/database.ts';
import type { Standing } from '../../standing/standing.ts';
import { kindStates } from '../rules/kinds.ts';
import { type AccountRow, asFlag } from '../rules/rows.ts';
import { type StoreOptions, standingWrite } from '../rules/standing-change.ts';
import type { AuditEntry, Changes } from '../store.ts';
import { writeAudit } from './audit.ts';
import { ChangeLog } from './change-log.ts';

export interface TransactionOptions extends StoreOptions {
  /** There may be other transactions at the same time, so that rows have to be locked. */
  readonly isShared: boolean;
}

/**
 * One transaction of a verb: the database, its time, and the changes to publish afterwards. Rows are locked in this
 * order: sessions, then accounts by id, then the rest. A lease is written only under its account's lock; it comes to a
 * session, or is given back, under the session's lock as well.
 */
export class Transaction extends ChangeLog {
  readonly db: Queries;
  readonly now: number;
  readonly options: TransactionOptions;

  constructor(db: Queries, now: number, options: TransactionOptions, earlier?: Changes) {
    super(earlier);
    this.db = db;
    this.now = now;
    this.options = options;
  }

  audit(entry: AuditEntry): Promise<void> {
    return writeAudit(this.db, this.now, entry);
  }
}

export function accountRow(db: Queries, id: string): Promise<AccountRow | undefined> {
  return db.get<AccountRow>('SELECT * FROM accounts WHERE id = $1', id);
}

export function lockAccount(tx: Transaction, id: string): Promise<AccountRow | undefined> {
  return tx.db.get<AccountRow>('SELECT * FROM accounts WHERE id = $1 FOR UPDATE', id);
}

/** For a row that was there a moment ago in the same transaction. */
export async function mustHaveRow(tx: Transaction, id: string): Promise<AccountRow> {
  const row = await accountRow(tx.db, id);
  if (row === undefined) throw new Error(`account ${id} vanished inside a transaction`);
  return row;
}

/** Writes columns of an account that the caller has locked. */
export async function updateAccount(
  tx: Transaction,
  id: string,
  columns: Partial<AccountRow>,
): Promise<void> {
  const names = Object.keys(columns);
  const places = names.map((name, index) => `${name} = $${index + 2}`);
  await tx.db.run(`UPDATE accounts SET ${places.join(', ')} WHERE id = $1`, id, ...Object.values(columns));
}

/** $1 is a list of ids. */
type WhichLeases = 'session_id = ANY ($1)' | 'account_id = ANY ($1)';

/** The accounts are locked before their leases are read: those must not end meanwhile. */
export async function lockHeldBy(tx: Transaction, sessionIds: readonly string[]): Promise<void> {
  if (!tx.options.isShared) return;
  await tx.db.run(
    `SELECT 1 FROM accounts WHERE id IN (SELECT account_id FROM leases WHERE session_id = ANY ($1))
     ORDER BY id FOR NO KEY UPDATE`,
    sessionIds,
  );
}

/** Ends leases whose accounts the caller has locked; answers how many. */
async function dropLeases(tx: Transaction, which: WhichLeases, ids: readonly string[]): Promise<number> {
  await tx.db.run(
    `UPDATE accounts SET holders = holders - gone.leases, exclusive_held = exclusive_held - gone.exclusive,
       shared_slots = accounts.shared_slots - gone.slots
     FROM (
       SELECT account_id, COUNT(*) AS leases, SUM(exclusive) AS exclusive,
         SUM(CASE exclusive WHEN 1 THEN 0 ELSE slots END) AS slots
       FROM leases WHERE ${which} GROUP BY account_id
     ) AS gone WHERE accounts.id = gone.account_id`,
    ids,
  );
  const dropped = await tx.db.run(`DELETE FROM leases WHERE ${which}`, ids);
  if (dropped > 0) tx.freed();
  return dropped;
}

/** Of an account that the caller has locked. */
export function dropLeasesOf(tx: Transaction, accountId: string): Promise<number> {
  return dropLeases(tx, 'account_id = ANY ($1)', [accountId]);
}

/** Ends the leases of sessions that the caller has locked; the sessions stay. Answers how many. */
export async function emptySessions(tx: Transaction, ids: readonly string[]): Promise<number> {
  await lockHeldBy(tx, ids);
  return dropLeases(tx, 'session_id = ANY ($1)', ids);
}

/** Ends sessions that the caller has locked. Answers how many leases they held. */
export async function endSessions(tx: Transaction, ids: readonly string[]): Promise<number> {
  const dropped = await emptySessions(tx, ids);
  await tx.db.run('DELETE FROM sessions WHERE id = ANY ($1)', ids);
  return dropped;
}

/**
 * Settles a standing and writes it when it differs from the row's; `row` must be what the table holds, locked. Ends the
 * leases and the refreshing of an account that is out of service, takes it up again for one that returns. False when
 * it stands so already.
 */
export async function saveStanding(tx: Transaction, row: AccountRow, wanted: Standing): Promise<boolean> {
  const write = standingWrite(row, wanted, tx.options, tx.now);
  if (write === null) return false;
  const { standing } = write;
  await updateAccount(tx, row.id, {
    state: standing.state,
    state_until: standing.until,
    state_reason: standing.reason,
    state_evidence: write.evidence,
    half_open: asFlag(standing.halfOpen),
    quota_spent: asFlag(standing.quotaSpent),
    streaks: write.streaks,
    updated_at: tx.now,
    state_since: write.stateSince,
    ...(write.isOtherState && { next_check_at: write.nextCheckAt, checks: 0 }),
    ...(write.nextRefreshAt !== undefined && { next_refresh_at: write.nextRefreshAt }),
  });
  if (write.endsLeases) await dropLeasesOf(tx, row.id);
  if (write.frees) tx.freed();
  if (write.isOtherState) {
    tx.changed({ id: row.id, provider: row.provider, state: standing.state, free: row.free === 1 });
  }
  return true;
}

/** No other account of its provider is active. */
export async function isLastActive(tx: Transaction, row: AccountRow): Promise<boolean> {
  const active = await tx.db.get<{ accounts: number }>(
    `SELECT COALESCE(SUM(accounts), 0)::bigint AS accounts FROM standings
     WHERE provider = $1 AND kind % 8 = ${kindStates.indexOf('active')}`,
    row.provider,
  );
  return (active?.accounts ?? 0) - (row.state === 'active' ? 1 : 0) <= 0;
}
