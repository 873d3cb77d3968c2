import type { Database, Queries } from '../../../db/database.ts';
import type { StoreOptions } from '../rules/standing-change.ts';
import type { Changes, EnsureResult, Granted, LeaseDemand, StoreVerbs, WithChanges } from '../store.ts';
import { account, accounts, addAccount, changeAccount, deadAccounts, removeAccount } from './accounts.ts';
import { auditTrail, writeAudit } from './audit.ts';
import { ChangeLog } from './change-log.ts';
import { stats } from './counts.ts';
import { accountOfCredential } from './credentials.ts';
import { ensureLeases, release } from './leases.ts';
import { createPrune } from './pruning.ts';
import { claimQuotaChecks, recordQuota } from './quota.ts';
import { isDueQuery, reapSome } from './reaping.ts';
import {
  claimRefresh,
  commitRefresh,
  dueForRefresh,
  failRefresh,
  findInterruptedRefreshes,
  nextRefreshDue,
  scheduleRefresh,
} from './refreshes.ts';
import { remember, remembered, rememberedUnder, swapRemembered } from './remembered.ts';
import { report } from './reports.ts';
import { replaceSealed, sealedSecrets } from './sealed-secrets.ts';
import { sessions } from './sessions.ts';
import { Transaction } from './transaction.ts';

/** What a database does in one statement where the verbs here take a transaction. */
export interface Shortcuts {
  /** Null where it cannot; then nothing has happened. */
  takeLeases(now: number, demand: LeaseDemand): Promise<Granted | null>;
  /** Answers how many leases it freed; null when there is no such session of that key. */
  endSession(now: number, sessionId: string, keyId: string | null): Promise<number | null>;
  /** For the housekeeper. */
  tidy(): Promise<void>;
}

export interface StoreExtras {
  /** Gets the changes that a verb answered, for other instances. */
  notifyOthers?(changes: Changes): void;
  readonly shortcuts?: Shortcuts;
}

const durable = { durable: true };
/** So often at most a verb ends what has expired before it does its work. */
const mostReaps = 1000;

/** The verbs over either database, at the times they are given. */
export function storeVerbs(
  db: Database,
  given: StoreOptions,
  { notifyOthers = () => {}, shortcuts }: StoreExtras = {},
): StoreVerbs {
  const options = { ...given, isShared: db.isShared };
  const prune = createPrune(db);
  /** Changes that a verb made and had no way to answer; the next one that answers changes does. */
  let unanswered: Changes | undefined;

  const withLog = async <T>(task: (log: ChangeLog) => Promise<T>, answers: (answer: T) => boolean) => {
    const log = new ChangeLog(unanswered);
    unanswered = undefined;
    let isAnswered = false;
    try {
      const answer = await task(log);
      isAnswered = answers(answer);
      return answer;
    } finally {
      if (isAnswered) {
        notifyOthers(log.changes());
      } else {
        const rest = new ChangeLog(unanswered);
        rest.add(log.changes());
        unanswered = rest.changes();
      }
    }
  };

  const transact = async <T>(
    now: number,
    log: ChangeLog,
    task: (tx: Transaction) => Promise<T>,
    how?: { readonly durable: boolean },
  ): Promise<T> => {
    const [answer, changes] = await db.transaction(async (queries) => {
      const tx = new Transaction(queries, now, options, log.changes());
      return [await task(tx), tx.changes()] as const;
    }, how);
    log.add(changes);
    return answer;
  };

  /** Ends what has expired, in transactions of its own, and leaves what another instance has locked. */
  const reap = async (now: number, log: ChangeLog): Promise<void> => {
    for (let round = 0; round < mostReaps; round += 1) {
      if ((await db.reading.get(isDueQuery, now)) === undefined) return;
      if ((await transact(now, log, reapSome)) === 0) return;
    }
  };

  /** For verbs that answer their changes, except where they answer null. */
  const withChanges = <T>(task: (log: ChangeLog) => Promise<T>) =>
    withLog(
      async (log) => {
        const answer = await task(log);
        const answered = answer === null ? null : { ...answer, changes: log.changes() };
        return answered as T extends null ? null : WithChanges<T extends object ? T : object>;
      },
      (answer) => answer !== null,
    );
  const inTransaction = <T>(
    now: number,
    task: (tx: Transaction) => Promise<T>,
    how?: { readonly durable: boolean },
  ) =>
    withChanges(async (log) => {
      await reap(now, log);
      return transact(now, log, task, how);
    });
  /** For verbs that only look, and those that answer no changes. */
  const reading = <T>(now: number, task: (db: Queries, log: ChangeLog) => Promise<T>): Promise<T> =>
    withLog(
      async (log) => {
        await reap(now, log);
        return task(db.reading, log);
      },
      () => false,
    );

  return {
    addAccount: (now, added, actor) => inTransaction(now, (tx) => addAccount(tx, added, actor), durable),
    account: (now, id) => reading(now, (queries) => account(queries, id)),
    accountOfCredential: (now, provider, fingerprint) =>
      reading(now, (queries) => accountOfCredential(queries, provider, fingerprint)),
    accounts: (now, filter) => reading(now, (queries) => accounts(queries, filter)),
    changeAccount: (now, id, change, audit) =>
      inTransaction(now, (tx) => changeAccount(tx, id, change, audit), durable),
    removeAccount: (now, id, actor) => inTransaction(now, (tx) => removeAccount(tx, id, actor), durable),
    ensureLeases: (now, demand) =>
      withChanges<EnsureResult>(async (log) => {
        const taken = await shortcuts?.takeLeases(now, demand);
        if (taken) return taken;
        await reap(now, log);
        let looks = 0;
        return transact(now, log, (tx) => {
          looks += 1;
          return ensureLeases(tx, demand, looks);
        });
      }),
    async release(now, demand) {
      if (shortcuts === undefined || demand.leases !== null) {
        return inTransaction(now, (tx) => release(tx, demand));
      }
      return withChanges(async (log) => {
        const released = await shortcuts.endSession(now, demand.sessionId, demand.keyId);
        if (released === null) return null;
        if (released > 0) log.freed();
        return { released };
      });
    },
    sessions: (now, query) => reading(now, (queries) => sessions(queries, now, query)),
    report: (now, demand) => inTransaction(now, (tx) => report(tx, demand)),
    recordQuota: (now, id, finding, cause) => inTransaction(now, (tx) => recordQuota(tx, id, finding, cause)),
    claimQuotaChecks: (now, limit) =>
      reading(now, (_queries, log) => transact(now, log, (tx) => claimQuotaChecks(tx, limit))),
    housekeep: (now) =>
      withChanges(async (log) => {
        await reap(now, log);
        await prune(now);
        await shortcuts?.tidy();
      }),
    stats: (now) => reading(now, (queries) => stats(queries, now)),
    note: (now, entry) => db.transaction((queries) => writeAudit(queries, now, entry), durable),
    auditTrail: (query) => auditTrail(db.reading, query),
    deadAccounts: (now, deadSince, limit) =>
      reading(now, (queries) => deadAccounts(queries, deadSince, limit)),
    claimRefresh: (now, demand) => inTransaction(now, (tx) => claimRefresh(tx, demand), durable),
    commitRefresh: (now, id, refreshed) =>
      inTransaction(now, (tx) => commitRefresh(tx, id, refreshed), durable),
    failRefresh: (now, id, failed) => inTransaction(now, (tx) => failRefresh(tx, id, failed), durable),
    findInterruptedRefreshes: (now, goneInstance) =>
      inTransaction(now, (tx) => findInterruptedRefreshes(tx, goneInstance), durable),
    dueForRefresh: (now, limit) => reading(now, (queries) => dueForRefresh(queries, now, limit)),
    nextRefreshDue: (now) => reading(now, (queries) => nextRefreshDue(queries)),
    scheduleRefresh: (now, id, at, onlyEarlier) =>
      inTransaction(now, (tx) => scheduleRefresh(tx, id, at, onlyEarlier)),
    remembered: (name) => remembered(db.reading, name),
    rememberedUnder: (prefix) => rememberedUnder(db.reading, prefix),
    remember: (name, value) => db.transaction((queries) => remember(queries, name, value), durable),
    swapRemembered: (name, expected, value) =>
      db.transaction((queries) => swapRemembered(queries, name, expected, value), durable),
    sealedSecrets: (after, limit) => sealedSecrets(db.reading, after, limit),
    replaceSealed: (now, replaced, facts, audit) =>
      inTransaction(now, (tx) => replaceSealed(tx, replaced, facts, audit), durable),
    close: () => db.close(),
  };
}
