import { openDatabaseClock } from '../../db/database-clock.ts';
import { openPostgres, type Postgres } from '../../db/postgres.ts';
import { migratePostgres } from '../../db/postgres-migrate.ts';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { type ChangeLog, createChangeLog } from './changes.ts';
import { postgresMigrations } from './migrations-postgres/index.ts';
import {
  account,
  accounts,
  addAccount,
  changeAccount,
  deadAccounts,
  removeAccount,
} from './postgres-accounts.ts';
import { accountOfCredential } from './postgres-credentials.ts';
import {
  auditTrail,
  remembered,
  rememberedUnder,
  replaceSealed,
  sealedSecrets,
  swapRemembered,
  writeFact,
} from './postgres-facts.ts';
import { ensureLeases, release, takeLeases } from './postgres-leases.ts';
import { isWorthTelling, openNews } from './postgres-news.ts';
import { createPrune, gatherCounters } from './postgres-prune.ts';
import {
  claimRefresh,
  commitRefresh,
  dueForRefresh,
  failRefresh,
  findInterruptedRefreshes,
  nextRefreshDue,
  scheduleRefresh,
} from './postgres-refreshes.ts';
import { claimQuotaChecks, recordQuota, report } from './postgres-reports.ts';
import { sessions } from './postgres-sessions.ts';
import { stats } from './postgres-standings.ts';
import { isDueQuery, reapSome, startWork, type Work, writeAudit } from './postgres-work.ts';
import type { StoreOptions } from './standing-change.ts';
import type { Changes, Store, StoreVerbs } from './store.ts';

export interface PostgresStoreOptions extends StoreOptions {
  readonly clock?: Clock;
  /** The database for this process alone. */
  readonly exclusive?: boolean;
  /** What went wrong between calls. */
  onTrouble?(error: unknown): void;
  onBack?(awayForMs: number): void;
}

/** So often at most a verb goes round ending what is over before it does its work. */
const mostReaps = 1000;

/**
 * Every statement here has its index. A plan is made when tables may still be empty and kept while they grow, so the
 * planner must not think a look at all rows the cheaper way.
 */
export const planning = { enable_seqscan: 'off', jit: 'off' };

/** Opens the store of a `postgres://` URL and migrates it. Its clock is the database's. Throws DatabaseError. */
export async function openPostgresStore(url: string, options: PostgresStoreOptions): Promise<Store> {
  const { onTrouble = () => {}, onBack = () => {}, clock: machine = systemClock } = options;
  const db = await openPostgres(url, { onTrouble, onBack, settings: planning });
  try {
    await migratePostgres(db, postgresMigrations, machine.now());
    const news = await openNews(db, onTrouble, options.exclusive === true ? 'exclusive' : 'shared');
    const tellChanges = (changes: Changes): void => {
      if (isWorthTelling(changes)) void news.tell({ type: 'changes', changes });
    };
    const clock = await openDatabaseClock(db.reading, machine);
    return {
      ...postgresVerbs(db, options, tellChanges),
      clock,
      isShared: true,
      holders: db.holders,
      get isReachable() {
        return db.isReachable;
      },
      listen: news.listen,
      tell: news.tell,
      async close() {
        clock.close();
        await news.close();
        await db.close();
      },
    };
  } catch (error) {
    await db.close();
    throw error;
  }
}

/** A migrated database held by this process alone, to be filled. Throws DatabaseError. */
export async function openForMove(
  url: string,
  now: number,
): Promise<{ readonly db: Postgres; close(): Promise<void> }> {
  const db = await openPostgres(url, { settings: planning });
  try {
    await migratePostgres(db, postgresMigrations, now);
    const news = await openNews(db, () => {}, 'exclusive');
    return {
      db,
      async close() {
        await news.close();
        await db.close();
      },
    };
  } catch (error) {
    await db.close();
    throw error;
  }
}

/** The verbs, at the times they are given. `tellChanges` hears what they answer. */
export function postgresVerbs(
  db: Postgres,
  options: StoreOptions,
  tellChanges: (changes: Changes) => void,
): Omit<StoreVerbs, 'close'> {
  const prune = createPrune(db);
  /** Changes that a verb made and had no way to answer; the next one that answers changes does. */
  let untold: Changes | undefined;

  const withLog = async <T>(task: (log: ChangeLog) => Promise<T>, answers: (answer: T) => boolean) => {
    const log = createChangeLog(untold);
    untold = undefined;
    let isTold = false;
    try {
      const answer = await task(log);
      isTold = answers(answer);
      return answer;
    } finally {
      if (!isTold) {
        const changes = log.changes();
        untold = untold === undefined ? changes : merged(untold, changes);
      } else {
        tellChanges(log.changes());
      }
    }
  };

  /** Ends what is over, in transactions of its own, and leaves what another instance is at. */
  const reap = async (now: number, log: ChangeLog): Promise<void> => {
    for (let round = 0; round < mostReaps; round += 1) {
      const due = await db.reading.get<{ is_due: boolean }>(isDueQuery, now);
      if (due?.is_due !== true) return;
      if ((await reapOnce(now, log)) === 0) return;
    }
  };
  const reapOnce = async (now: number, log: ChangeLog): Promise<number> => {
    const [ended, changes] = await db.transaction(async (queries) => {
      const work = startWork(queries, now, options);
      return [await reapSome(work), work.changes()] as const;
    });
    add(log, changes);
    return ended;
  };

  /** For verbs that answer their changes, except where they answer null. */
  const inTransaction = <T>(now: number, task: (work: Work) => Promise<T>): Promise<T> =>
    withLog(
      async (log) => {
        await reap(now, log);
        const [answer, changes] = await db.transaction(async (queries) => {
          const work = startWork(queries, now, options, log.changes());
          return [await task(work), work.changes()] as const;
        });
        add(log, changes);
        return answer;
      },
      (answer) => answer !== null,
    );
  /** For verbs that only look. */
  const reading = <T>(now: number, task: () => Promise<T>): Promise<T> =>
    withLog(
      async (log) => {
        await reap(now, log);
        return task();
      },
      () => false,
    );

  return {
    addAccount: (now, added, actor) => inTransaction(now, (work) => addAccount(work, added, actor)),
    account: (now, id) => reading(now, () => account(db.reading, id)),
    accountOfCredential: (now, provider, fingerprint) =>
      reading(now, () => accountOfCredential(db.reading, provider, fingerprint)),
    accounts: (now, filter) => reading(now, () => accounts(db.reading, filter)),
    changeAccount: (now, id, change, audit) =>
      inTransaction(now, (work) => changeAccount(work, id, change, audit)),
    removeAccount: (now, id, actor) => inTransaction(now, (work) => removeAccount(work, id, actor)),
    ensureLeases: (now, demand) =>
      withLog(
        async (log) => {
          const taken = await takeLeases(db, now, options, demand);
          if (taken !== null) return { ...taken, changes: log.changes() };
          await reap(now, log);
          let looks = 0;
          const [answer, changes] = await db.transaction(async (queries) => {
            const work = startWork(queries, now, options, log.changes());
            looks += 1;
            return [await ensureLeases(work, demand, looks), work.changes()] as const;
          });
          add(log, changes);
          return answer;
        },
        () => true,
      ),
    release: (now, demand) =>
      withLog(
        async (log) => {
          const released = await release(db, now, demand);
          if (released === null) return null;
          add(log, released.changes);
          return { ...released, changes: log.changes() };
        },
        (answer) => answer !== null,
      ),
    sessions: (now, query) => reading(now, () => sessions(db.reading, now, query)),
    report: (now, demand) => inTransaction(now, (work) => report(work, demand)),
    recordQuota: (now, id, finding, cause) =>
      inTransaction(now, (work) => recordQuota(work, id, finding, cause)),
    claimQuotaChecks: (now, limit) => reading(now, () => claimQuotaChecks(db, now, limit)),
    housekeep: (now) =>
      withLog(
        async (log) => {
          await reap(now, log);
          await prune(now);
          await gatherCounters(db);
          return log.changes();
        },
        () => true,
      ),
    stats: (now) => reading(now, () => stats(db.reading, now)),
    note: (now, entry) => writeAudit({ db: db.writing, now }, entry),
    auditTrail: (query) => auditTrail(db.reading, query),
    deadAccounts: (now, deadSince, limit) => reading(now, () => deadAccounts(db.reading, deadSince, limit)),
    claimRefresh: (now, demand) => inTransaction(now, (work) => claimRefresh(work, demand)),
    commitRefresh: (now, id, refreshed) => inTransaction(now, (work) => commitRefresh(work, id, refreshed)),
    failRefresh: (now, id, failed) => inTransaction(now, (work) => failRefresh(work, id, failed)),
    findInterruptedRefreshes: (now, goneInstance) =>
      inTransaction(now, (work) => findInterruptedRefreshes(work, goneInstance)),
    dueForRefresh: (now, limit) => reading(now, () => dueForRefresh(db.reading, now, limit)),
    nextRefreshDue: (now) => reading(now, () => nextRefreshDue(db.reading)),
    scheduleRefresh: (now, id, at, onlyEarlier) =>
      inTransaction(now, (work) => scheduleRefresh(work, id, at, onlyEarlier)),
    remembered: (name) => remembered(db.reading, name),
    rememberedUnder: (prefix) => rememberedUnder(db.reading, prefix),
    remember: (name, value) => writeFact(db.writing, { name, value }),
    swapRemembered: (name, expected, value) => swapRemembered(db.writing, name, expected, value),
    sealedSecrets: (after, limit) => sealedSecrets(db.reading, after, limit),
    replaceSealed: (now, replaced, facts, audit) =>
      inTransaction(now, (work) => replaceSealed(work, replaced, facts, audit)),
  };
}

function add(log: ChangeLog, { accounts: changed, hasFreed }: Changes): void {
  for (const one of changed) log.changed(one);
  if (hasFreed) log.freed();
}

function merged(one: Changes, other: Changes): Changes {
  const log = createChangeLog(one);
  add(log, other);
  return log.changes();
}
