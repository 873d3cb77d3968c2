import type { Queries } from '../../../db/database.ts';
import { softened } from '../../standing/account-state.ts';
import { isOutOfService, type Standing, settleToken } from '../../standing/standing.ts';
import { kindStates } from '../rules/leasing.ts';
import { type AccountRow, nextCheckAfter, standingColumns, tokenFrom } from '../rules/rows.ts';
import type { AuditEntry, ChangedAccount, Changes } from '../store.ts';
import { writeAudit } from './remembered.ts';

export interface StoreOptions {
  /** Set for accounts that cannot be repaired: no state keeps them out for longer. */
  readonly longestRestMs?: number;
  /** Whether leases to outsiders are written to the audit trail. */
  readonly auditsLeases: boolean;
}

interface TransactionOptions extends StoreOptions {
  /** There may be other transactions at the same time, so that rows have to be locked. */
  readonly isShared: boolean;
}

/** Gathers the changes to publish once a transaction has ended. */
export class ChangeLog {
  readonly #accounts = new Map<string, ChangedAccount>();
  #hasFreed = false;

  /** `earlier` are changes that a verb made before and had no way to answer. */
  constructor(earlier?: Changes) {
    if (earlier !== undefined) this.add(earlier);
  }

  changed(account: ChangedAccount): void {
    this.#accounts.set(account.id, account);
    this.#hasFreed = true;
  }

  freed(): void {
    this.#hasFreed = true;
  }

  add({ accounts, hasFreed }: Changes): void {
    for (const account of accounts) this.#accounts.set(account.id, account);
    this.#hasFreed ||= hasFreed;
  }

  changes(): Changes {
    return { accounts: [...this.#accounts.values()], hasFreed: this.#hasFreed };
  }
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
  return mustBe(await accountRow(tx.db, id), id);
}

function mustBe(row: AccountRow | undefined, id: string): AccountRow {
  if (row === undefined) throw new Error(`account ${id} vanished inside a transaction`);
  return row;
}

/** Writes columns of an account that the caller has locked; answers its row as it is then. */
export async function updateAccount(
  tx: Transaction,
  id: string,
  columns: Partial<AccountRow>,
): Promise<AccountRow> {
  const places = Object.keys(columns).map((name, index) => `${name} = $${index + 2}`);
  const statement = `UPDATE accounts SET ${places.join(', ')} WHERE id = $1 RETURNING *`;
  return mustBe(await tx.db.get<AccountRow>(statement, id, ...Object.values(columns)), id);
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
 * leases and the refreshing of an account that is out of service, takes it up again for one that returns. Answers the row as
 * it is then: `row` itself when it stands so already.
 */
export async function saveStanding(tx: Transaction, row: AccountRow, wanted: Standing): Promise<AccountRow> {
  const { now, options } = tx;
  const { longestRestMs } = options;
  const kept = longestRestMs === undefined ? wanted : softened(wanted, longestRestMs, now);
  const isOut = isOutOfService(kept);
  const refreshAt = row.next_refresh_at ?? now;
  const token = isOut ? null : tokenFrom({ ...row, next_refresh_at: refreshAt });
  const standing = settleToken(kept, token, now);
  const columns = standingColumns(standing);
  const names = Object.keys(columns) as (keyof typeof columns)[];
  if (names.every((name) => columns[name] === row[name])) return row;
  const isOtherState = standing.state !== row.state;
  const turnsRefreshing = row.credential_kind === 'refresh_token' && isOut !== (row.next_refresh_at === null);
  const saved = await updateAccount(tx, row.id, {
    ...columns,
    updated_at: now,
    ...(isOtherState && { state_since: now, next_check_at: nextCheckAfter(row, standing, now), checks: 0 }),
    ...(turnsRefreshing && { next_refresh_at: isOut ? null : refreshAt }),
  });
  if (isOut) await dropLeasesOf(tx, row.id);
  // Others may come in now.
  if (isOtherState || (row.half_open === 1 && !standing.halfOpen)) tx.freed();
  if (isOtherState) {
    tx.changed({ id: row.id, provider: row.provider, state: standing.state, free: row.free === 1 });
  }
  return isOut ? mustHaveRow(tx, row.id) : saved;
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
