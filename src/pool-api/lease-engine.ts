import { isAway, isPoolError, PoolError } from './errors.ts';
import { type AccountDemand, isSought, type Lease, type LeaseDemand } from './held-lease.ts';
import { HeldLeases, type LeaseRules, type RoomListener } from './held-leases.ts';
import type { Pool } from './pool.ts';
import type { LeasedAccount } from './schema.ts';

export interface EngineRules extends LeaseRules {
  readonly pool: Pick<Pool, 'allocate' | 'release' | 'subscribe'>;
  /** The pool is waited for at least so long, and at least a second over the deadline. */
  readonly answerLimitMs: number;
  /** Whether turns wait through an outage of the pool even where nothing is held. */
  readonly waitsForPool: boolean;
}

/** Before the pool is asked again that was unreachable or had none. */
const askAgainMs = 1_000;
const graceMs = 1_000;
const busyRetryMs = 2_000;

/**
 * Keeps accounts borrowed between turns and hands them out without a call to the pool, first come, first served. It borrows
 * while turns wait, renews what it holds, and gives back what lies idle: immediately when another caller waits for it.
 */
export class LeaseEngine implements RoomListener {
  readonly #rules: EngineRules;
  readonly held: HeldLeases;
  /** In the order they came; the first that can use a place gets it. */
  readonly #waiters = new Set<Waiter>();
  /** By provider: turns that need the pool ask one after another, so that a burst does not borrow every account. */
  readonly #lines = new Map<string, Promise<void>>();
  #outages = 0;
  #outage: unknown;
  #isFollowing = false;
  readonly #stop = new AbortController();

  constructor(rules: EngineRules) {
    this.#rules = rules;
    this.held = new HeldLeases(rules, this);
  }

  /** Hears the pool's events from now on. */
  follow(): void {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    this.#rules.pool.subscribe(
      (event) => this.held.onEvent(event),
      (isConnected) => this.held.onState(isConnected),
      this.#stop.signal,
    );
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** A place on an account that is held, if there is one: no call to the pool. */
  take(demand: AccountDemand): TurnLease | undefined {
    this.#stop.signal.throwIfAborted();
    const lease = this.#pickFor(this.#withoutVainPreference(demand));
    return lease && new TurnLease(this.held, lease);
  }

  /** Throws PoolError, or the signal's reason when it aborts. */
  async acquire(demand: LeaseDemand): Promise<TurnLease> {
    demand.signal?.throwIfAborted();
    const taken = this.take(demand);
    if (taken) return taken;
    const waiter = new Waiter(this.#withoutVainPreference(demand), this.#outages);
    const leftMs = demand.deadline - this.#rules.timing.monotonic();
    const limitMs = Math.max(this.#rules.answerLimitMs, leftMs + graceMs);
    const cancelLimit = this.#rules.timing.after(limitMs, () => waiter.reject(this.#noAnswer(limitMs)), true);
    this.#waiters.add(waiter);
    void this.held.background.add(this.#serve(waiter));
    try {
      return await waiter.answer;
    } finally {
      cancelLimit();
      this.#waiters.delete(waiter);
    }
  }

  onRoom(): void {
    this.#handOut();
  }

  onAvailable(accountId: string): void {
    for (const waiter of this.#waiters) if (waiter.leftOut.has(accountId)) waiter.askAgain();
  }

  /** Ends the waits; no further turn begins. */
  stopWaiting(reason: PoolError): void {
    this.#stop.abort(reason);
    for (const waiter of this.#waiters) waiter.reject(reason);
  }

  /** Ends the waits, gives everything back and stops. Turns that run lose their accounts. Throws PoolError. */
  async close(reason: PoolError): Promise<void> {
    this.stopWaiting(reason);
    await this.held.close(reason);
  }

  #pickFor(demand: AccountDemand): Lease | undefined {
    const lease = this.held.pick(demand);
    return isSought(demand) && lease?.account.id !== demand.prefer ? undefined : lease;
  }

  #withoutVainPreference<Demand extends AccountDemand>(demand: Demand): Demand {
    const { prefer, preference, exclude } = demand;
    if (prefer === undefined) return demand;
    const isVain = exclude.has(prefer) || (preference === 'soft' && this.held.isFull(prefer));
    return isVain ? { ...demand, prefer: undefined } : demand;
  }

  #handOut(): void {
    for (const waiter of this.#waiters) {
      const lease = waiter.isOver ? undefined : this.#pickFor(waiter.demand);
      if (lease) waiter.resolve(new TurnLease(this.held, lease));
    }
  }

  async #serve(waiter: Waiter): Promise<void> {
    try {
      await this.#inLine(waiter.demand.provider ?? '', () => this.#seek(waiter));
    } catch (error) {
      if (waiter.isOver) return;
      waiter.lastError = error;
      const mayWait = this.#mayWait(waiter, error) || (isShort(error) && this.#leftMs(waiter) > 0);
      if (mayWait) await this.#waitForPlace(waiter);
      else waiter.reject(error);
    }
  }

  async #inLine(key: string, task: () => Promise<void>): Promise<void> {
    const run = (this.#lines.get(key) ?? Promise.resolve()).then(task);
    const done = run.catch(() => {});
    this.#lines.set(key, done);
    try {
      await run;
    } finally {
      if (this.#lines.get(key) === done) this.#lines.delete(key);
    }
  }

  /** Gets a place as fast as it can be had. */
  async #seek(waiter: Waiter): Promise<void> {
    for (;;) {
      this.#handOut();
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
        this.#handOut();
        if (!isShort(error) && !isAway(error)) throw error;
      }
    }
  }

  /** One attempt to make room, for the first that can use it. */
  async #seekOnce(waiter: Waiter): Promise<void> {
    const { demand } = waiter;
    if (await this.held.makeRoom(demand)) return;
    if (isSought(demand) && this.held.holds(demand.prefer, demand)) {
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
    if (this.held.countLive(waiter.demand) > 0) return true;
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
        this.#handOut();
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

/** The pool has no account now. */
export function isShort(error: unknown): error is PoolError {
  return isPoolError(error, 'no_account_available');
}

/** One turn's right to use an account. */
export class TurnLease {
  /** As it was when the turn began; reports speak of this bearer. */
  readonly account: LeasedAccount;
  /** No other turn has used it: the pool has just lent the account. */
  readonly isFirst: boolean;
  readonly #leases: HeldLeases;
  readonly #lease: Lease;
  #isOver = false;

  constructor(leases: HeldLeases, lease: Lease) {
    this.#leases = leases;
    this.#lease = lease;
    this.account = lease.account;
    this.isFirst = !lease.hasServed;
    lease.turns += 1;
    lease.hasServed = true;
  }

  get sessionId(): string {
    return this.#lease.session.sessionId;
  }

  /** False once the pool has taken the account back: others may use it now. */
  get isHeld(): boolean {
    return this.#lease.isHeld && this.#lease.session.isLive();
  }

  /** Ends the turn; the account stays lent for the next one. Doing it twice is harmless. */
  release(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#leases.end(this.#lease);
  }

  /** No new turn gets the account through this lease; it goes back when its last turn ends. */
  retire(): void {
    this.#leases.retire(this.#lease);
  }
}

const none: ReadonlySet<string> = new Set();

/** A turn for which no place was free when it came. */
class Waiter {
  readonly answer: Promise<TurnLease>;
  readonly outagesBefore: number;
  lastError: unknown;
  /** Accounts its call at the pool left out because they were held here. */
  leftOut = none;
  /** Ends its call at the pool or its pause, and begins another call. */
  askAgain: () => void = () => {};
  /** Ends the wait; does nothing once it is over. */
  readonly resolve: (lease: TurnLease) => void;
  readonly reject: (error: unknown) => void;
  #demand: LeaseDemand;
  readonly #over = new AbortController();

  constructor(demand: LeaseDemand, outagesBefore: number) {
    this.#demand = demand;
    this.outagesBefore = outagesBefore;
    let resolveAnswer!: (lease: TurnLease) => void;
    let rejectAnswer!: (error: unknown) => void;
    this.answer = new Promise((resolve, reject) => {
      resolveAnswer = resolve;
      rejectAnswer = reject;
    });
    const onAbort = () => this.reject(demand.signal?.reason);
    const end = (answer: () => void) => {
      if (this.isOver) return;
      demand.signal?.removeEventListener('abort', onAbort);
      answer();
      this.#over.abort();
    };
    this.resolve = (lease) => end(() => resolveAnswer(lease));
    this.reject = (error) => end(() => rejectAnswer(error));
    demand.signal?.addEventListener('abort', onAbort, { once: true });
  }

  get demand(): LeaseDemand {
    return this.#demand;
  }

  /** Aborts when the wait is over, however it ended. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** The preferred account is not to be had. */
  forgetPreference(): void {
    this.#demand = { ...this.#demand, prefer: undefined };
  }
}
