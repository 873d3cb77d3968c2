import type { Postgres } from '../../db/postgres.ts';
import type { Standing } from '../standing.ts';
import type { Changes, EnsureResult, NewStoredAccount, StoredAccount, StoreVerbs } from './store.ts';

type Verbs = Omit<StoreVerbs, 'close'>;

export interface DatabaseTime {
  /** The verbs, in the caller's time outside and the database's inside. */
  readonly verbs: Verbs;
  close(): void;
}

const measuredEveryMs = 30_000;
const samples = 3;
/** Clocks so close are taken for equal: the way to the database takes as long. */
const closeEnoughMs = 20;

/**
 * Keeps the difference between the database's clock and the caller's, so that instances whose clocks differ agree on
 * when a session, a cooldown or the hour between two refreshes is over.
 */
export async function openDatabaseTime(
  db: Postgres,
  verbs: Verbs,
  now: () => number = Date.now,
): Promise<DatabaseTime> {
  let offset = await measure(db, now);
  if (Math.abs(offset) < closeEnoughMs) offset = 0;
  const timer = setInterval(() => {
    measure(db, now).then(
      (measured) => {
        if (Math.abs(measured - offset) >= closeEnoughMs) offset = measured;
      },
      // The database is away: its clock will not have moved.
      () => {},
    );
  }, measuredEveryMs);
  timer.unref();
  return { verbs: inDatabaseTime(verbs, () => offset), close: () => clearInterval(timer) };
}

/** How far the database's clock is ahead of the caller's, milliseconds: the sample that took the least time. */
async function measure(db: Postgres, now: () => number): Promise<number> {
  let best = { tookMs: Number.POSITIVE_INFINITY, offset: 0 };
  for (let sample = 0; sample < samples; sample += 1) {
    const sentAt = now();
    const answer = await db.reading.get<{ now: number }>(
      'SELECT EXTRACT(EPOCH FROM clock_timestamp())::float8 * 1000 AS now',
    );
    const tookMs = now() - sentAt;
    const offset = Math.round((answer?.now ?? sentAt) - (sentAt + tookMs / 2));
    if (tookMs < best.tookMs) best = { tookMs, offset };
  }
  return best.offset;
}

/**
 * Shifts times on their way in and out. What providers say about their own clocks (when a quota returns) stays, and so
 * does the audit trail.
 */
export function inDatabaseTime(verbs: Verbs, offset: () => number): Verbs {
  const time = (at: number): number => at + offset();
  const inward = <T extends number | null | undefined>(at: T): T =>
    (typeof at === 'number' ? at + offset() : at) as T;
  const outward = <T extends number | null | undefined>(at: T): T =>
    (typeof at === 'number' ? at - offset() : at) as T;

  const standingIn = (standing: Standing): Standing => ({ ...standing, until: inward(standing.until) });
  const bearerIn = <B extends NewStoredAccount['bearer']>(bearer: B): B =>
    bearer === undefined ? bearer : { ...bearer, expiresAt: inward(bearer.expiresAt) };
  const accountOut = (account: StoredAccount): StoredAccount => {
    if (offset() === 0) return account;
    const { standing, bearer, refreshFailure, quota } = account;
    return {
      ...account,
      standing: { ...standing, until: outward(standing.until) },
      bearer: bearer && { ...bearer, expiresAt: outward(bearer.expiresAt) },
      nextRefreshAt: outward(account.nextRefreshAt),
      refreshFailure: refreshFailure && {
        ...refreshFailure,
        at: outward(refreshFailure.at),
        retryAt: outward(refreshFailure.retryAt),
      },
      stateSince: outward(account.stateSince),
      lastUsed: outward(account.lastUsed),
      lastRefreshTime: outward(account.lastRefreshTime),
      quota: quota && { ...quota, checkedAt: outward(quota.checkedAt) },
      createdAt: outward(account.createdAt),
      updatedAt: outward(account.updatedAt),
    };
  };
  const maybeOut = (account: StoredAccount | null): StoredAccount | null => account && accountOut(account);
  const changedOut = <T extends { readonly account: StoredAccount; readonly changes: Changes }>(
    answer: T | null,
  ): T | null => answer && { ...answer, account: accountOut(answer.account) };
  const ensuredOut = (answer: EnsureResult): EnsureResult => {
    switch (answer.result) {
      case 'granted':
        return {
          ...answer,
          expiresAt: outward(answer.expiresAt),
          leases: answer.leases.map((lease) => ({ ...lease, account: accountOut(lease.account) })),
        };
      case 'short':
        return { ...answer, nextAt: outward(answer.nextAt), refreshBy: outward(answer.refreshBy) };
      case 'mismatch':
        return answer;
    }
  };

  return {
    ...verbs,
    async addAccount(now, added, actor) {
      const answer = await verbs.addAccount(
        time(now),
        {
          ...added,
          standing: standingIn(added.standing),
          nextCheckAt: inward(added.nextCheckAt),
          ...(added.bearer === undefined ? {} : { bearer: bearerIn(added.bearer) }),
          ...(added.nextRefreshAt === undefined ? {} : { nextRefreshAt: inward(added.nextRefreshAt) }),
        },
        actor,
      );
      return answer.result === 'added' ? { ...answer, account: accountOut(answer.account) } : answer;
    },
    account: async (now, id) => maybeOut(await verbs.account(time(now), id)),
    accountOfCredential: async (now, provider, fingerprint) =>
      maybeOut(await verbs.accountOfCredential(time(now), provider, fingerprint)),
    async accounts(now, filter) {
      const page = await verbs.accounts(time(now), filter);
      return { ...page, accounts: page.accounts.map(accountOut) };
    },
    changeAccount: async (now, id, { settings, standing, credential }, audit) =>
      changedOut(
        await verbs.changeAccount(
          time(now),
          id,
          {
            ...(settings === undefined ? {} : { settings }),
            ...(standing === undefined
              ? {}
              : {
                  standing: {
                    ...standing,
                    standing: standingIn(standing.standing),
                    nextCheckAt: inward(standing.nextCheckAt),
                  },
                }),
            ...(credential === undefined
              ? {}
              : {
                  credential: {
                    ...credential,
                    ...(credential.bearer === undefined ? {} : { bearer: bearerIn(credential.bearer) }),
                    ...(credential.nextRefreshAt === undefined
                      ? {}
                      : { nextRefreshAt: inward(credential.nextRefreshAt) }),
                  },
                }),
          },
          audit,
        ),
      ),
    removeAccount: async (now, id, actor) => changedOut(await verbs.removeAccount(time(now), id, actor)),
    ensureLeases: async (now, demand) =>
      ensuredOut(await verbs.ensureLeases(time(now), { ...demand, waitUntil: inward(demand.waitUntil) })),
    release: (now, demand) => verbs.release(time(now), demand),
    async sessions(now, query) {
      const page = await verbs.sessions(time(now), query);
      const shifted = page.sessions.map((session) => ({
        ...session,
        expiresAt: outward(session.expiresAt),
        createdAt: outward(session.createdAt),
      }));
      return { ...page, sessions: shifted };
    },
    async report(now, demand) {
      const answer = await verbs.report(time(now), demand);
      if (answer === null) return null;
      return {
        ...answer,
        results: answer.results.map((item) => ({ ...item, account: maybeOut(item.account) })),
      };
    },
    recordQuota: async (now, id, finding, cause) =>
      changedOut(await verbs.recordQuota(time(now), id, finding, cause)),
    claimQuotaChecks: async (now, limit) => (await verbs.claimQuotaChecks(time(now), limit)).map(accountOut),
    housekeep: (now) => verbs.housekeep(time(now)),
    stats: (now) => verbs.stats(time(now)),
    note: (now, entry) => verbs.note(time(now), entry),
    deadAccounts: async (now, deadSince, limit) =>
      (await verbs.deadAccounts(time(now), inward(deadSince), limit)).map(accountOut),
    async claimRefresh(now, demand) {
      const answer = await verbs.claimRefresh(time(now), demand);
      switch (answer.result) {
        case 'claimed':
          return { ...answer, intentAt: outward(answer.intentAt), account: accountOut(answer.account) };
        case 'too_early':
          return { ...answer, nextAt: outward(answer.nextAt) };
        case 'under_way':
          return { ...answer, since: outward(answer.since) };
        case 'not_refreshable':
          return answer;
      }
    },
    commitRefresh: async (now, id, refreshed) =>
      changedOut(
        await verbs.commitRefresh(time(now), id, {
          ...refreshed,
          bearer: bearerIn(refreshed.bearer),
          nextRefreshAt: inward(refreshed.nextRefreshAt),
        }),
      ),
    failRefresh: async (now, id, failed) =>
      changedOut(await verbs.failRefresh(time(now), id, { ...failed, retryAt: inward(failed.retryAt) })),
    async findInterruptedRefreshes(now, goneInstance) {
      const answer = await verbs.findInterruptedRefreshes(time(now), goneInstance);
      const interrupted = answer.interrupted.map((one) => ({ ...one, intentAt: outward(one.intentAt) }));
      return { ...answer, interrupted };
    },
    dueForRefresh: async (now, limit) => (await verbs.dueForRefresh(time(now), limit)).map(accountOut),
    nextRefreshDue: async (now) => outward(await verbs.nextRefreshDue(time(now))),
    scheduleRefresh: (now, id, at, onlyEarlier) =>
      verbs.scheduleRefresh(time(now), id, inward(at), onlyEarlier),
    replaceSealed: (now, replaced, facts, audit) => verbs.replaceSealed(time(now), replaced, facts, audit),
  };
}
