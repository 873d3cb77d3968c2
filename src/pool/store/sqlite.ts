import { openSqlite, type Sqlite } from '../../db/sqlite.ts';
import { migrations } from './migrations/index.ts';
import {
  account,
  accountOfCredential,
  accounts,
  addAccount,
  changeAccount,
  removeAccount,
} from './sqlite-accounts.ts';
import { ensureLeases, release } from './sqlite-leases.ts';
import { claimQuotaChecks, recordQuota, report } from './sqlite-reports.ts';
import { reap, type SqliteStoreOptions, startWork, type Work, writeAudit } from './sqlite-work.ts';
import type { AuditEntry, Changes, Stats, Store } from './store.ts';

/** The store's verbs as they run beside the database: synchronous, one transaction each. */
export type SyncStore = {
  [Verb in keyof Store]: (...values: Parameters<Store[Verb]>) => Awaited<ReturnType<Store[Verb]>>;
};

const reportsKeptMs = 6 * 60 * 60_000;
const durable = { durable: true };

interface CounterRow {
  readonly total: number;
  readonly available: number;
  readonly in_use: number;
  readonly standby: number;
  readonly active: number;
  readonly cooldown: number;
  readonly exhausted: number;
  readonly reauth_required: number;
  readonly disabled: number;
  readonly sessions: number;
}

/** Opens the store at `path` (`:memory:` for one that is never written). Throws DatabaseError. */
export function openSqliteStore(
  path: string,
  now: number,
  options: SqliteStoreOptions,
  command?: string,
): SyncStore {
  return sqliteStore(openSqlite(path, migrations, now, command), options);
}

export function sqliteStore(db: Sqlite, options: SqliteStoreOptions): SyncStore {
  let untold: Changes | undefined;

  /** For verbs that answer their changes. */
  const inTransaction = <T>(now: number, task: (work: Work) => T, how?: { readonly durable: boolean }): T => {
    const work = startWork(db, now, options, untold);
    const answer = db.transaction(() => task(work), how);
    untold = undefined;
    return answer;
  };
  /** For verbs that only look: what ended by the way is told by the next verb that answers changes. */
  const reading = <T>(now: number, task: (work: Work) => T): T => {
    const work = startWork(db, now, options, untold);
    const answer = db.transaction(() => task(work));
    untold = work.changes();
    return answer;
  };

  return {
    addAccount: (now, added, actor) => inTransaction(now, (work) => addAccount(work, added, actor), durable),
    account: (now, id) => reading(now, (work) => account(work, id)),
    accountOfCredential: (now, provider, fingerprint) =>
      reading(now, (work) => accountOfCredential(work, provider, fingerprint)),
    accounts: (now, filter) => reading(now, (work) => accounts(work, filter)),
    changeAccount: (now, id, change, audit) =>
      inTransaction(now, (work) => changeAccount(work, id, change, audit), durable),
    removeAccount: (now, id, actor) => inTransaction(now, (work) => removeAccount(work, id, actor), durable),
    ensureLeases: (now, demand) => inTransaction(now, (work) => ensureLeases(work, demand)),
    release: (now, demand) => inTransaction(now, (work) => release(work, demand)),
    report: (now, demand) => inTransaction(now, (work) => report(work, demand)),
    recordQuota: (now, id, finding, cause) =>
      inTransaction(now, (work) => recordQuota(work, id, finding, cause)),
    claimQuotaChecks: (now, limit) => reading(now, (work) => claimQuotaChecks(work, limit)),
    housekeep: (now) =>
      inTransaction(now, (work) => {
        reap(work);
        db.run('DELETE FROM reports_seen WHERE seen_at < ?', now - reportsKeptMs);
        return work.changes();
      }),
    stats: (now) =>
      reading(now, (work) => {
        reap(work);
        return statsFrom(db.get<CounterRow>('SELECT * FROM counters WHERE id = 1'));
      }),
    note: (now, entry) => db.transaction(() => writeAudit(startWork(db, now, options), entry), durable),
    auditTrail(limit) {
      const rows = db.all<Omit<AuditEntry, 'detail'> & { at: number; detail: string }>(
        'SELECT at, actor, action, account_id AS accountId, detail FROM audit ORDER BY seq DESC LIMIT ?',
        limit,
      );
      return rows.map((row) => ({ ...row, detail: JSON.parse(row.detail) as Record<string, unknown> }));
    },
    remembered: (name) =>
      db.get<{ value: string }>('SELECT value FROM meta WHERE name = ?', name)?.value ?? null,
    remember: (name, value) =>
      db.transaction(() => {
        db.run(
          'INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
          name,
          value,
        );
      }, durable),
    close: () => db.close(),
  };
}

function statsFrom(row: CounterRow | undefined): Stats {
  if (row === undefined) throw new Error('the counters are gone');
  const { in_use: inUse, reauth_required: reauthRequired, ...rest } = row;
  return {
    total: rest.total,
    available: rest.available,
    inUse,
    standby: rest.standby,
    active: rest.active,
    cooldown: rest.cooldown,
    exhausted: rest.exhausted,
    reauthRequired,
    disabled: rest.disabled,
    sessions: rest.sessions,
  };
}
