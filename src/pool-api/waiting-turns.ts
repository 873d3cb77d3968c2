import type { PoolError } from './errors.ts';
import { type AccountDemand, isSought, type Lease, type LeaseDemand } from './held-lease.ts';
import type { HeldLeases } from './held-leases.ts';
import type { LeasedAccount } from './schema.ts';

/** Turns that wait for a place, in the order they came: the first that can use one gets it. */
export class WaitingTurns {
  readonly #waiters = new Set<Waiter>();

  get size(): number {
    return this.#waiters.size;
  }

  add(waiter: Waiter): void {
    this.#waiters.add(waiter);
  }

  delete(waiter: Waiter): void {
    this.#waiters.delete(waiter);
  }

  /** Something has changed about what is held. */
  handOut(held: HeldLeases): void {
    for (const waiter of this.#waiters) {
      const lease = waiter.isOver ? undefined : pickFor(held, waiter.demand);
      if (lease) waiter.resolve(new TurnLease(held, lease));
    }
  }

  /** The pool may lend this account now, which it was not asked for. */
  askAgainFor(accountId: string): void {
    for (const waiter of this.#waiters) if (waiter.leftOut.has(accountId)) waiter.askAgain();
  }

  rejectAll(reason: PoolError): void {
    for (const waiter of this.#waiters) waiter.reject(reason);
  }
}

/** A place on what is held; none where the preferred account is worth asking for first. */
export function pickFor(held: HeldLeases, demand: AccountDemand): Lease | undefined {
  const lease = held.pick(demand);
  return isSought(demand) && lease?.account.id !== demand.prefer ? undefined : lease;
}

const none: ReadonlySet<string> = new Set();

/** A turn for which no place was free when it came. */
export class Waiter {
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
