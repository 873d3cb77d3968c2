import { openSqlite, type Sqlite } from '../../db/sqlite.ts';
import { countedStats } from './counted-stats.ts';
import {
  auditAtOnce,
  auditKeptMs,
  intentsKeptMs,
  mostAuditedLeases,
  mostReports,
  reportsKeptMs,
  spendingKeptMs,
} from './kept-rows.ts';
import { migrations } from './migrations/index.ts';
import {
  account,
  accounts,
  addAccount,
  changeAccount,
  deadAccounts,
  removeAccount,
} from './sqlite-accounts.ts';
import { accountOfCredential } from './sqlite-credentials.ts';
import {
  auditTrail,
  remembered,
  rememberedUnder,
  replaceSealed,
  sealedSecrets,
  swapRemembered,
  writeFact,
} from './sqlite-facts.ts';
import { ensureLeases, release } from './sqlite-leases.ts';
import {
  claimRefresh,
  commitRefresh,
  dueForRefresh,
  failRefresh,
  findInterruptedRefreshes,
  nextRefreshDue,
  scheduleRefresh,
} from './sqlite-refreshes.ts';
import { claimQuotaChecks, recordQuota, report } from './sqlite-reports.ts';
import { sessions } from './sqlite-sessions.ts';
import { kindCounts, providersWithSpentFreeQuota } from './sqlite-standings.ts';
import { reap, startWork, type Work, writeAudit } from './sqlite-work.ts';
import type { StoreOptions } from './standing-change.ts';
import type { Changes, Stats, StoreVerbs, Usage } from './store.ts';

/** The store's verbs as they run beside the database: synchronous, one transaction each. */
export type SyncStore = {
  [Verb in keyof StoreVerbs]: (
    ...values: Parameters<StoreVerbs[Verb]>
  ) => Awaited<ReturnType<StoreVerbs[Verb]>>;
};

const durable = { durable: true };

interface CounterRow {
  readonly sessions: number;
  readonly remaining: number;
  readonly unmetered: number;
}

/** Opens the store at `path` (`:memory:` for one that is never written). Throws DatabaseError. */
export function openSqliteStore(
  path: string,
  now: number,
  options: StoreOptions,
  command?: string,
): SyncStore {
  return sqliteStore(openSqlite(path, migrations, now, { command, reserves: true }), options);
}

export function sqliteStore(db: Sqlite, options: StoreOptions): SyncStore {
  let untold: Changes | undefined;
  /** Of the audit. */
  let leasesPrunedTo = 0;

  /** For verbs that answer their changes, except where they answer null. */
  const inTransaction = <T>(now: number, task: (work: Work) => T, how?: { readonly durable: boolean }): T => {
    const work = startWork(db, now, options, untold);
    const answer = db.transaction(() => task(work), how);
    untold = answer === null ? work.changes() : undefined;
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
    sessions: (now, query) => reading(now, (work) => sessions(work, query)),
    report: (now, demand) => inTransaction(now, (work) => report(work, demand)),
    recordQuota: (now, id, finding, cause) =>
      inTransaction(now, (work) => recordQuota(work, id, finding, cause)),
    claimQuotaChecks: (now, limit) => reading(now, (work) => claimQuotaChecks(work, limit)),
    housekeep: (now) =>
      inTransaction(now, (work) => {
        reap(work);
        db.run('DELETE FROM reports_seen WHERE seen_at < ?', now - reportsKeptMs);
        db.run(
          `DELETE FROM reports_seen WHERE seen_at <= (
             SELECT seen_at FROM reports_seen INDEXED BY reports_seen_by_age
             ORDER BY seen_at DESC LIMIT 1 OFFSET ${mostReports})`,
        );
        db.run('DELETE FROM removed_intents WHERE intent_at < ?', now - intentsKeptMs);
        db.run('DELETE FROM spending WHERE minute < ?', Math.floor((now - spendingKeptMs) / 60_000));
        leasesPrunedTo = pruneAudit(db, now, leasesPrunedTo);
        return work.changes();
      }),
    stats: (now) =>
      reading(now, (work) => {
        reap(work);
        return stats(db, now);
      }),
    note: (now, entry) => db.transaction(() => writeAudit(startWork(db, now, options), entry), durable),
    auditTrail: (query) => auditTrail(db, query),
    deadAccounts: (now, deadSince, limit) => reading(now, (work) => deadAccounts(work, deadSince, limit)),
    claimRefresh: (now, demand) => inTransaction(now, (work) => claimRefresh(work, demand), durable),
    commitRefresh: (now, id, refreshed) =>
      inTransaction(now, (work) => commitRefresh(work, id, refreshed), durable),
    failRefresh: (now, id, failed) => inTransaction(now, (work) => failRefresh(work, id, failed), durable),
    findInterruptedRefreshes: (now, goneInstance) =>
      inTransaction(now, (work) => findInterruptedRefreshes(work, goneInstance), durable),
    dueForRefresh: (now, limit) => reading(now, (work) => dueForRefresh(work, limit)),
    nextRefreshDue: (now) => reading(now, (work) => nextRefreshDue(work)),
    scheduleRefresh: (now, id, at, onlyEarlier) =>
      inTransaction(now, (work) => scheduleRefresh(work, id, at, onlyEarlier)),
    remembered: (name) => remembered(db, name),
    rememberedUnder: (prefix) => rememberedUnder(db, prefix),
    swapRemembered: (name, expected, value) =>
      db.transaction(() => swapRemembered(db, name, expected, value), durable),
    sealedSecrets: (after, limit) => sealedSecrets(db, after, limit),
    replaceSealed: (now, replaced, facts, audit) =>
      inTransaction(now, (work) => replaceSealed(work, replaced, facts, audit), durable),
    remember: (name, value) => db.transaction(() => writeFact(db, { name, value }), durable),
    close: () => db.close(),
  };
}

/** Answers up to which entry no lease is left. */
function pruneAudit(db: Sqlite, now: number, prunedTo: number): number {
  const last = db.get<{ seq: number | null }>('SELECT MAX(seq) AS seq FROM audit')?.seq ?? 0;
  const end = last - mostAuditedLeases;
  if (end > prunedTo)
    db.run("DELETE FROM audit WHERE seq > ? AND seq <= ? AND action = 'lease'", prunedTo, end);
  db.run(
    `DELETE FROM audit WHERE at < ? AND seq IN (SELECT seq FROM audit ORDER BY seq LIMIT ${auditAtOnce})`,
    now - auditKeptMs,
  );
  return Math.max(prunedTo, end);
}

function lastHour(db: Sqlite, now: number): Usage {
  const sums = db.get<Usage>(
    `SELECT COALESCE(SUM(turns), 0) AS turns, COALESCE(SUM(input_tokens), 0) AS inputTokens,
       COALESCE(SUM(output_tokens), 0) AS outputTokens, COALESCE(SUM(credits), 0) AS credits,
       COALESCE(SUM(cost_cents), 0) AS costCents
     FROM spending WHERE minute > ?`,
    Math.floor(now / 60_000) - 60,
  );
  return { turns: 0, inputTokens: 0, outputTokens: 0, credits: 0, costCents: 0, ...sums };
}

function stats(db: Sqlite, now: number): Stats {
  const counters = db.get<CounterRow>('SELECT sessions, remaining, unmetered FROM counters WHERE id = 1');
  if (counters === undefined) throw new Error('the counters are gone');
  return {
    ...countedStats(kindCounts(db, null)),
    sessions: counters.sessions,
    remaining: counters.remaining,
    unmetered: counters.unmetered,
    lastHour: lastHour(db, now),
    freeQuotaSpent: providersWithSpentFreeQuota(db),
  };
}
