import type { Database, Queries } from '../../../db/database.ts';
import type { Changes, EnsureResult, Granted, LeaseDemand, ReleaseDemand, WithChanges } from '../store.ts';
import {
  account,
  accountOfCredential,
  accounts,
  addAccount,
  changeAccount,
  claimQuotaChecks,
  deadAccounts,
  recordQuota,
  removeAccount,
} from './accounts.ts';
import { nextBack, nextReset, stats } from './counts.ts';
import { createPrune, isDueQuery, reapSome } from './housekeeping.ts';
import { ensureLeases, release, sessions } from './leases.ts';
import {
  claimRefresh,
  commitRefresh,
  dueForRefresh,
  failRefresh,
  findInterruptedRefreshes,
  nextRefreshDue,
  scheduleRefresh,
} from './refreshes.ts';
import {
  auditTrail,
  remember,
  remembered,
  rememberedUnder,
  replaceSealed,
  sealedSecrets,
  swapRemembered,
  writeAudit,
} from './remembered.ts';
import { report } from './reports.ts';
import { eligible } from './shortage.ts';
import { ChangeLog, type StoreOptions, Transaction } from './transaction.ts';

/** What a database does in one statement where the verbs here take a transaction. */
export interface Shortcuts {
  /** Null where it cannot; then nothing has happened. */
  takeLeases(now: number, demand: LeaseDemand): Promise<Granted | null>;
  /** Answers how many leases it freed; null when there is no such session of that key. */
  endSession(now: number, sessionId: string, keyId: string | null): Promise<number | null>;
  tidy(): Promise<void>;
}

export interface StoreExtras {
  /** Gets the changes that a verb answered, for other instances. */
  notifyOthers?(changes: Changes): void;
  readonly shortcuts?: Shortcuts;
}

type How = { readonly durable: boolean };
const durable: How = { durable: true };
/** So often at most a verb ends what has expired before it does its work. */
const mostReaps = 1000;

/** The verbs over either database, at the times they are given. */
export function storeVerbs(
  db: Database,
  given: StoreOptions,
  { notifyOthers = () => {}, shortcuts }: StoreExtras = {},
) {
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
    how?: How,
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
  const inTransaction = <T>(now: number, task: (tx: Transaction) => Promise<T>, how?: How) =>
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

  const changing =
    <Values extends unknown[], T>(verb: (tx: Transaction, ...values: Values) => Promise<T>, how?: How) =>
    (now: number, ...values: Values) =>
      inTransaction(now, (tx) => verb(tx, ...values), how);
  const looking =
    <Values extends unknown[], T>(verb: (queries: Queries, ...values: Values) => Promise<T>) =>
    (now: number, ...values: Values) =>
      reading(now, (queries) => verb(queries, ...values));
  const lookingAt =
    <Values extends unknown[], T>(verb: (queries: Queries, now: number, ...values: Values) => Promise<T>) =>
    (now: number, ...values: Values) =>
      reading(now, (queries) => verb(queries, now, ...values));
  /** For what does not depend on the time. */
  const plain =
    <Values extends unknown[], T>(verb: (queries: Queries, ...values: Values) => Promise<T>) =>
    (...values: Values) =>
      verb(db.reading, ...values);
  const writing =
    <Values extends unknown[], T>(verb: (queries: Queries, ...values: Values) => Promise<T>) =>
    (...values: Values) =>
      db.transaction((queries) => verb(queries, ...values), durable);

  return {
    addAccount: changing(addAccount, durable),
    account: looking(account),
    accountOfCredential: looking(accountOfCredential),
    accounts: looking(accounts),
    changeAccount: changing(changeAccount, durable),
    removeAccount: changing(removeAccount, durable),
    deadAccounts: looking(deadAccounts),
    ensureLeases: (now: number, demand: LeaseDemand) =>
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
    eligible: lookingAt(eligible),
    release(now: number, demand: ReleaseDemand) {
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
    report: changing(report),
    sessions: lookingAt(sessions),
    recordQuota: changing(recordQuota),
    claimQuotaChecks: (now: number, limit: number) =>
      reading(now, (_queries, log) => transact(now, log, (tx) => claimQuotaChecks(tx, limit))),
    /** Ends what is over, prunes what is old. */
    housekeep: (now: number) =>
      withChanges(async (log) => {
        await reap(now, log);
        await prune(now);
        await shortcuts?.tidy();
      }),
    stats: lookingAt(stats),
    nextBack: looking(nextBack),
    nextReset: lookingAt(nextReset),
    claimRefresh: changing(claimRefresh, durable),
    commitRefresh: changing(commitRefresh, durable),
    failRefresh: changing(failRefresh, durable),
    findInterruptedRefreshes: changing(findInterruptedRefreshes, durable),
    dueForRefresh: lookingAt(dueForRefresh),
    nextRefreshDue: looking(nextRefreshDue),
    scheduleRefresh: changing(scheduleRefresh),
    note: writing(writeAudit),
    auditTrail: plain(auditTrail),
    remembered: plain(remembered),
    rememberedUnder: plain(rememberedUnder),
    remember: writing(remember),
    swapRemembered: writing(swapRemembered),
    sealedSecrets: plain(sealedSecrets),
    replaceSealed: changing(replaceSealed, durable),
    close: () => db.close(),
  };
}
