import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { isAway, PoolError } from '../pool-api/errors.ts';
import type { Pool } from '../pool-api/pool.ts';
import type { HeldLease, LeaseDemand, TurnLease } from './held-lease.ts';
import { createHeldLeases, type HeldLeases } from './held-leases.ts';

export type { LeaseDemand, TurnLease } from './held-lease.ts';

export interface LeaseCache {
  /** Throws PoolError, or the signal's reason when it aborts. */
  acquire(demand: LeaseDemand): Promise<TurnLease>;
  /** Call when an account of this provider ran out and is a free one: no other free one may stand in for it. */
  retireFree(provider: string): void;
  /** The account is held here, and every place on it is taken. */
  isFull(accountId: string): boolean;
  /** Accounts borrowed at this moment. */
  readonly count: number;
  /** Gives everything back. */
  close(): Promise<void>;
}

/** A turn for which no place was free when it came. */
interface Waiter {
  /** Loses its `prefer` once that account is not to be had. */
  demand: LeaseDemand;
  /** Aborts when the wait is over. */
  readonly over: AbortController;
  /** Accounts its call at the pool left out because they were held here. */
  leftOut: ReadonlySet<string>;
  /** Ends its call at the pool and begins another. */
  askAgain: () => void;
  readonly outagesBefore: number;
  resolve(lease: TurnLease): void;
  reject(error: unknown): void;
}

/** The pool answers by the deadline; so much later it is not waited for. */
const graceMs = 1_000;
/** A pool that has not answered by then is not waited for, whatever it is at. */
const answerLimitMs = 10_000;
/** When to come again to accounts that are busy: turns end all the time. */
const busyRetryMs = 2_000;

/**
 * Keeps accounts borrowed between turns, so that a warm turn makes no call to the pool. Slots are asked for as needed,
 * doubling, and an account that lies idle goes back: at once when somebody waits for it, else after a minute.
 */
export function createLeaseCache(pool: Pool, clock: Clock, logger: Logger): LeaseCache {
  /** In the order they came; whoever is first and can use a place gets it. */
  const waiters = new Set<Waiter>();
  const lines = new Map<string, Promise<void>>();
  let outages = 0;
  let outage: unknown;
  let isClosed = false;
  const leases: HeldLeases = createHeldLeases({
    pool,
    clock,
    logger,
    onRoom: handOut,
    onAvailable(accountId) {
      for (const waiter of waiters) if (waiter.leftOut.has(accountId)) waiter.askAgain();
    },
  });

  function pickFor(demand: LeaseDemand): HeldLease | undefined {
    const lease = leases.pick(demand);
    return demand.prefer === undefined || lease?.account.id === demand.prefer ? lease : undefined;
  }

  function handOut(): void {
    for (const waiter of waiters) {
      if (!leases.hasRoom) return;
      const lease = pickFor(waiter.demand);
      if (lease) waiter.resolve(leases.take(lease));
    }
  }

  /** Turns that need the pool go one after another, so that a burst of cold ones does not borrow every account. */
  async function inLine(provider: string, task: () => Promise<void>): Promise<void> {
    const run = (lines.get(provider) ?? Promise.resolve()).then(task);
    const done = run.catch(() => {});
    lines.set(provider, done);
    try {
      await run;
    } finally {
      if (lines.get(provider) === done) lines.delete(provider);
    }
  }

  /** The pool was asked for other accounts than those held here; whoever gets its answer hears of these too. */
  function withHeldHere(error: PoolError, demand: LeaseDemand): PoolError {
    const busy = leases.countLive(demand);
    const { shortage } = error;
    if (busy === 0 || !shortage) return error;
    const reasons = { ...shortage.reasons, leased: (shortage.reasons['leased'] ?? 0) + busy };
    return new PoolError('no_account_available', error.message, {
      cause: error,
      retryAfterMs: busyRetryMs,
      shortage: { ...shortage, matching: shortage.matching + busy, reasons },
    });
  }

  function wait(demand: LeaseDemand): Promise<TurnLease> {
    return new Promise((resolve, reject) => {
      const over = new AbortController();
      const settle = (answer: () => void) => {
        if (!waiters.delete(waiter)) return false;
        demand.signal.removeEventListener('abort', onAbort);
        cancelLimit();
        over.abort();
        answer();
        return true;
      };
      const waiter: Waiter = {
        demand,
        over,
        leftOut: new Set(),
        askAgain() {},
        outagesBefore: outages,
        resolve(lease) {
          if (!settle(() => resolve(lease))) lease.release();
        },
        reject(error) {
          settle(() => reject(isShort(error) ? withHeldHere(error, waiter.demand) : error));
        },
      };
      const limitMs = Math.max(answerLimitMs, demand.deadline - clock.monotonic() + graceMs);
      const cancelLimit = clock.after(limitMs, () => waiter.reject(noAnswer(limitMs)));
      const onAbort = () => waiter.reject(demand.signal.reason);
      demand.signal.addEventListener('abort', onAbort, { once: true });
      waiters.add(waiter);
      void serve(waiter);
    });
  }

  async function serve(waiter: Waiter): Promise<void> {
    const { provider, deadline } = waiter.demand;
    try {
      await inLine(provider, () => seek(waiter));
    } catch (error) {
      if (waiter.over.signal.aborted) return;
      const mayWait = isShort(error) || (isAway(error) && leases.countLive(waiter.demand) > 0);
      if (mayWait && deadline > clock.monotonic()) await waitForPlace(waiter, error);
      else waiter.reject(error);
    }
  }

  /** Gets a place as fast as it can be had. */
  async function seek(waiter: Waiter): Promise<void> {
    const { signal } = waiter.over;
    while (!signal.aborted) {
      handOut();
      if (signal.aborted) return;
      // The pool did not answer one who stood in line before: it is not asked again for everybody behind.
      if (outages > waiter.outagesBefore) throw outage;
      try {
        await seekOnce(waiter);
      } catch (error) {
        if (isAway(error)) {
          outages += 1;
          outage = error;
        }
        if (waiter.demand.prefer === undefined) throw error;
        forgetPreference(waiter);
        handOut();
        if (!isShort(error) && !isAway(error)) throw error;
      }
    }
  }

  /** One attempt to make room, for whoever is first in line. */
  async function seekOnce(waiter: Waiter): Promise<void> {
    const { demand } = waiter;
    if (await leases.makeRoom(demand, demand.prefer)) return;
    if (demand.prefer !== undefined && leases.find(demand.prefer, demand)) {
      // Held here and full: there is no more of it to be had.
      forgetPreference(waiter);
      return;
    }
    if (waiter.over.signal.aborted) return;
    const excluded = [...new Set([...demand.exclude, ...leases.usableIds()])];
    const lease = await leases.borrow(demand, excluded, 0, waiter.over.signal);
    if (demand.prefer === undefined || lease.account.id === demand.prefer) return;
    forgetPreference(waiter);
    // It was asked for to get the preferred one; where there is room already, it is not needed.
    const other = leases.pick({ ...waiter.demand, exclude: new Set([...demand.exclude, lease.account.id]) });
    if (other) leases.giveBack(lease);
  }

  /** A preference that cannot or need not be had. */
  function yields({ prefer, exclude, isPreferenceSoft }: LeaseDemand): boolean {
    if (prefer === undefined) return false;
    return exclude.has(prefer) || (isPreferenceSoft === true && leases.isFull(prefer));
  }

  function forgetPreference(waiter: Waiter): void {
    waiter.demand = { ...waiter.demand, prefer: undefined };
  }

  /** Waits for a turn here to end or for the pool to find an account, whichever comes first. */
  async function waitForPlace(waiter: Waiter, firstError: unknown): Promise<void> {
    const { demand, over } = waiter;
    let lastError = firstError;
    let isAsking = false;
    const giveUp = () => waiter.reject(lastError);
    let cancelTimer = clock.after(demand.deadline - clock.monotonic(), () => {
      if (isAsking) cancelTimer = clock.after(graceMs, giveUp);
      else giveUp();
    });
    while (!over.signal.aborted) {
      const asking = new AbortController();
      const again = new Promise<void>((resolve) => {
        waiter.askAgain = () => {
          asking.abort();
          resolve();
        };
        over.signal.addEventListener('abort', waiter.askAgain, { once: true });
      });
      const usableIds = leases.usableIds();
      waiter.leftOut = new Set(usableIds);
      isAsking = true;
      try {
        const excluded = [...new Set([...demand.exclude, ...usableIds])];
        await leases.borrow(demand, excluded, demand.deadline - clock.monotonic(), asking.signal);
        handOut();
      } catch (error) {
        isAsking = false;
        if (!asking.signal.aborted) {
          lastError = error;
          const mayWait = (isShort(error) || isAway(error)) && leases.countLive(demand) > 0;
          if (mayWait && clock.monotonic() < demand.deadline) await again;
          else waiter.reject(error);
        }
      }
      over.signal.removeEventListener('abort', waiter.askAgain);
    }
    cancelTimer();
  }

  return {
    get count() {
      return leases.count;
    },

    async acquire(given) {
      if (isClosed) throw new PoolError('shutting_down', 'The gateway is stopping.');
      given.signal.throwIfAborted();
      const demand = yields(given) ? { ...given, prefer: undefined } : given;
      const lease = pickFor(demand);
      return lease ? leases.take(lease) : await wait(demand);
    },

    retireFree: (provider) => leases.retireFree(provider),
    isFull: (accountId) => leases.isFull(accountId),

    async close() {
      isClosed = true;
      for (const waiter of waiters) waiter.reject(new PoolError('shutting_down', 'The gateway is stopping.'));
      await leases.close();
    },
  };
}

function noAnswer(limitMs: number): PoolError {
  const message = `The pool did not answer within ${Math.round(limitMs / 1000)} s.`;
  return new PoolError('pool_unavailable', message, { retryAfterMs: busyRetryMs });
}

/** The pool has no account now. */
function isShort(error: unknown): error is PoolError {
  return error instanceof PoolError && error.code === 'no_account_available';
}
