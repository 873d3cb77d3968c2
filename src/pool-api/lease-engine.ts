import { createLimit, type Limit } from '../lib/tasks.ts';
import { isAway, isShort, PoolError } from './errors.ts';
import { type AccountDemand, isSought, type LeaseDemand } from './held-lease.ts';
import { HeldLeases, type LeaseRules } from './held-leases.ts';
import type { Pool } from './pool.ts';
import { pickFor, TurnLease, Waiter, WaitingTurns } from './waiting-turns.ts';

export interface EngineRules extends LeaseRules {
  readonly pool: Pick<Pool, 'allocate' | 'release' | 'subscribe'>;
  /** The pool is waited for at least so long, and at least a second over the deadline. */
  readonly answerLimitMs: number;
  /** Whether turns wait through an outage of the pool even where nothing is held. */
  readonly waitsForPool: boolean;
  /** Turns that may wait for a place; one client has half of them at most. Absent: any number. */
  readonly mostWaiting?: number;
}

/** Before the pool is asked again that was unreachable or had none. */
const askAgainMs = 1_000;
const graceMs = 1_000;
const busyRetryMs = 2_000;

/**
 * Keeps accounts borrowed between turns and hands them out without a call to the pool, first come, first served. It borrows
 * while turns wait, renews what it holds, and gives back what lies idle: immediately when another caller waits for it.
 */
export class LeaseEngine {
  readonly #rules: EngineRules;
  readonly held: HeldLeases;
  readonly #waiting: WaitingTurns;
  /** By provider: turns that need the pool ask one after another, so that a burst does not borrow every account. */
  readonly #lines = new Map<string, Limit>();
  #outages = 0;
  #outage: unknown;
  #isFollowing = false;
  readonly #stop = new AbortController();

  constructor(rules: EngineRules) {
    this.#rules = rules;
    this.#waiting = new WaitingTurns(rules.timing, rules.mostWaiting);
    this.held = new HeldLeases(rules, this.#waiting);
  }

  /** Follows the pool's events from now on. Throws once the waits have ended. */
  follow(): void {
    this.#stop.signal.throwIfAborted();
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    this.#rules.pool.subscribe(
      (event) => this.held.onEvent(event),
      (isConnected) => this.held.onState(isConnected),
      this.#stop.signal,
    );
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** How long a turn would wait for a place as they came free lately; 0 where that is not known. */
  expectedWaitMs(demand: AccountDemand): number {
    return this.#waiting.expectedMs(demand);
  }

  /** A place on an account that is held, if there is one: no call to the pool. */
  take(demand: AccountDemand): TurnLease | undefined {
    this.#stop.signal.throwIfAborted();
    const lease = pickFor(this.held, this.#withoutVainPreference(demand));
    return lease && new TurnLease(this.held, lease);
  }

  /** Throws PoolError, or the signal's reason when it aborts. */
  async acquire(demand: LeaseDemand): Promise<TurnLease> {
    demand.signal?.throwIfAborted();
    const taken = this.take(demand);
    if (taken) return taken;
    this.#waiting.check(demand);
    const waiter = new Waiter(this.#withoutVainPreference(demand), this.#outages);
    const leftMs = demand.deadline - this.#rules.timing.monotonic();
    const limitMs = Math.max(this.#rules.answerLimitMs, leftMs + graceMs);
    const cancelLimit = this.#rules.timing.after(limitMs, () => waiter.reject(this.#noAnswer(limitMs)), true);
    this.#waiting.add(waiter);
    void this.held.background.add(this.#serve(waiter));
    try {
      return await waiter.answer;
    } finally {
      cancelLimit();
      this.#waiting.delete(waiter);
    }
  }

  /** Ends the waits; no further turn begins. */
  stopWaiting(reason: PoolError): void {
    this.#stop.abort(reason);
    this.#waiting.rejectAll(reason);
  }

  /** Ends the waits, gives everything back and stops. Turns that run lose their accounts. Throws PoolError. */
  async close(reason: PoolError): Promise<void> {
    this.stopWaiting(reason);
    await this.held.close(reason);
  }

  #withoutVainPreference<Demand extends AccountDemand>(demand: Demand): Demand {
    const { prefer, preference, exclude } = demand;
    if (prefer === undefined) return demand;
    const isVain = exclude.has(prefer) || (preference === 'soft' && this.held.isFull(prefer));
    return isVain ? { ...demand, prefer: undefined } : demand;
  }

  async #serve(waiter: Waiter): Promise<void> {
    try {
      await this.#lineOf(waiter.demand.provider ?? '')(() => this.#seek(waiter));
    } catch (error) {
      if (waiter.isOver) return;
      waiter.lastError = error;
      const mayWait = this.#mayWait(waiter, error) || (isShort(error) && this.#leftMs(waiter) > 0);
      if (mayWait) await this.#waitForPlace(waiter);
      else waiter.reject(error);
    }
  }

  #lineOf(provider: string): Limit {
    const line = this.#lines.get(provider) ?? createLimit(1);
    this.#lines.set(provider, line);
    return line;
  }

  /** Gets a place as fast as it can be had. */
  async #seek(waiter: Waiter): Promise<void> {
    for (;;) {
      this.#waiting.handOut(this.held);
      if (waiter.isOver) return;
      // The pool did not answer a turn further ahead: it is not asked again for each one behind.
      if (this.#outages > waiter.outagesBefore) throw this.#outage;
      try {
        await this.#seekOnce(waiter);
      } catch (error) {
        if (isAway(error)) {
          this.#outages += 1;
          this.#outage = error;
        }
        if (!isSought(waiter.demand)) throw error;
        waiter.forgetPreference();
        this.#waiting.handOut(this.held);
        if (!isShort(error) && !isAway(error)) throw error;
      }
    }
  }

  /** One attempt to make room, for the first that can use it. */
  async #seekOnce(waiter: Waiter): Promise<void> {
    const { demand } = waiter;
    if (await this.held.makeRoom(demand)) return;
    if (isSought(demand) && this.held.suiting(demand).has(demand.prefer ?? '')) {
      // Held here and full: there is no more of it to be had.
      return waiter.forgetPreference();
    }
    if (waiter.isOver) return;
    const borrowed = await this.held.borrow(demand, 0, waiter.signal);
    if (!isSought(demand) || borrowed.account.id === demand.prefer) return;
    waiter.forgetPreference();
    // It was asked for to get the preferred one; where there is room already, it is not needed.
    const exclude = new Set([...demand.exclude, borrowed.account.id]);
    if (!borrowed.hasServed && this.held.pick({ ...waiter.demand, exclude })) this.held.giveBack(borrowed);
  }

  #leftMs({ demand }: Waiter): number {
    return demand.deadline - this.#rules.timing.monotonic();
  }

  /** Whether a place may come free here, or the pool recover in time. */
  #mayWait(waiter: Waiter, error: unknown): error is PoolError {
    const leftMs = this.#leftMs(waiter);
    if (leftMs <= 0 || !(isShort(error) || isAway(error))) return false;
    if (this.held.suiting(waiter.demand).size > 0) return true;
    return this.#rules.waitsForPool && (isAway(error) || ((error as PoolError).retryAfterMs ?? 0) <= leftMs);
  }

  /** Waits for a turn here to end or for the pool to find an account, whichever comes first. */
  async #waitForPlace(waiter: Waiter): Promise<void> {
    const { signal: over } = waiter;
    let isAsking = false;
    const giveUp = () => waiter.reject(waiter.lastError);
    const atDeadline = () => {
      // The pool answers by the deadline; so much later it is not waited for.
      if (isAsking) cancelTimer = this.#rules.timing.after(graceMs, giveUp, true);
      else giveUp();
    };
    let cancelTimer = this.#rules.timing.after(this.#leftMs(waiter), atDeadline, true);
    while (!waiter.isOver) {
      const asking = new AbortController();
      const again = new Promise<void>((resolve) => {
        waiter.askAgain = () => {
          asking.abort();
          resolve();
        };
      });
      over.addEventListener('abort', waiter.askAgain, { once: true });
      waiter.leftOut = new Set(this.held.inVain(undefined));
      try {
        isAsking = true;
        await this.held.borrow(waiter.demand, this.#leftMs(waiter), asking.signal);
        this.#waiting.handOut(this.held);
      } catch (error) {
        isAsking = false;
        if (!asking.signal.aborted) await this.#pause(waiter, error, again);
      }
      over.removeEventListener('abort', waiter.askAgain);
    }
    cancelTimer();
  }

  /** The pool has none: until it may lend one that was left out, or for a second where it may be asked again anyway. */
  async #pause(waiter: Waiter, error: unknown, again: Promise<void>): Promise<void> {
    waiter.lastError = error;
    if (!this.#mayWait(waiter, error)) return waiter.reject(error);
    const { waitsForPool, timing } = this.#rules;
    const cancel = waitsForPool ? timing.after(askAgainMs, waiter.askAgain) : () => {};
    await again;
    cancel();
  }

  #noAnswer(limitMs: number): PoolError {
    if (this.held.isFilled) return this.held.fullError();
    const message = `The pool did not answer within ${Math.round(limitMs / 1000)} s.`;
    return new PoolError('pool_unavailable', message, { retryAfterMs: busyRetryMs });
  }
}
