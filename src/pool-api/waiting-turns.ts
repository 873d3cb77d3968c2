import type { Clock } from '../lib/clock.ts';
import { type PoolError, QueueFullError } from './errors.ts';
import { type AccountDemand, isSought, type Lease, type LeaseDemand } from './held-lease.ts';
import type { HeldLeases } from './held-leases.ts';
import type { LeasedAccount } from './schema.ts';

/** How much of the wait for the last places counts for the next. */
const paceWeight = 0.2;
/** Places that have to have come free before their pace says anything. */
const leastPaced = 5;
/** What an older wait says is outdated. */
const forgetPaceMs = 60_000;
/** A turn is refused whose wait would surely be too long: so many times what it may wait. */
const lateFactor = 2;

/** Those that wait for the accounts of one provider. */
class Line {
  /** Whose turn is next comes first. */
  readonly byClient = new Map<string, Set<Waiter>>();
  size = 0;
  /** Mean time between two places for waiting turns. */
  #paceMs = 0;
  #paced = 0;
  #since = 0;

  add(waiter: Waiter, now: number): void {
    const { client = '' } = waiter.demand;
    if (this.size === 0) {
      if (now - this.#since > forgetPaceMs) this.#paced = 0;
      this.#since = now;
    }
    const own = this.byClient.get(client) ?? new Set();
    this.byClient.set(client, own.add(waiter));
    this.size += 1;
  }

  delete(waiter: Waiter): void {
    const { client = '' } = waiter.demand;
    const own = this.byClient.get(client);
    if (!own?.delete(waiter)) return;
    this.size -= 1;
    if (own.size === 0) this.byClient.delete(client);
  }

  /** One place to each client that can use one, until there is none left. */
  handOut(held: HeldLeases, now: number): void {
    for (let isLeft = true; isLeft; ) {
      isLeft = false;
      for (const [client, own] of [...this.byClient]) {
        for (const waiter of own) {
          const lease = waiter.isOver ? undefined : pickFor(held, waiter.demand);
          if (!lease) continue;
          waiter.resolve(new TurnLease(held, lease));
          this.#notePlace(now);
          this.byClient.delete(client);
          this.byClient.set(client, own);
          isLeft = true;
          break;
        }
      }
    }
  }

  /** The pool has just lent more: how long that took is not how long places take to come free. */
  forgetPace(now: number): void {
    this.#paced = 0;
    this.#since = now;
  }

  countOf(client: string): number {
    return this.byClient.get(client)?.size ?? 0;
  }

  /** How long one more turn of this client would wait, as places have come free lately; 0 where that is not known. */
  expectedMs(client: string): number {
    if (this.#paced < leastPaced) return 0;
    const own = this.countOf(client) + 1;
    let ahead = own;
    for (const [other, { size }] of this.byClient) if (other !== client) ahead += Math.min(size, own);
    return ahead * this.#paceMs;
  }

  #notePlace(now: number): void {
    const tookMs = now - this.#since;
    this.#since = now;
    this.#paceMs = this.#paced === 0 ? tookMs : this.#paceMs + paceWeight * (tookMs - this.#paceMs);
    this.#paced += 1;
  }
}

/** Turns that wait for a place. Clients take turns, so that one with many waits does not hold up the others. */
export class WaitingTurns {
  readonly #timing: Pick<Clock, 'monotonic'>;
  readonly #most: number;
  /** By provider. */
  readonly #lines = new Map<string, Line>();

  constructor(timing: Pick<Clock, 'monotonic'>, most = Number.POSITIVE_INFINITY) {
    this.#timing = timing;
    this.#most = most;
  }

  get size(): number {
    let all = 0;
    for (const { size } of this.#lines.values()) all += size;
    return all;
  }

  /** Throws QueueFullError where there is no room for one more, or surely no place for it in time. */
  check(demand: LeaseDemand): void {
    const leftMs = demand.deadline - this.#timing.monotonic();
    const { size } = this;
    if (this.#most === Number.POSITIVE_INFINITY || size === 0 || leftMs <= 0) return;
    const { client = '' } = demand;
    const expectedMs = this.expectedMs(demand);
    const ofClient = [...this.#lines.values()].reduce((sum, line) => sum + line.countOf(client), 0);
    const isShareFull = ofClient >= this.#most / 2;
    if (isShareFull || size >= this.#most || expectedMs > lateFactor * leftMs) {
      throw new QueueFullError(isShareFull || 2 * ofClient > size, expectedMs);
    }
  }

  add(waiter: Waiter): void {
    this.#lineOf(waiter).add(waiter, this.#timing.monotonic());
  }

  delete(waiter: Waiter): void {
    this.#lineOf(waiter).delete(waiter);
  }

  /** Something has changed about what is held. */
  handOut(held: HeldLeases): void {
    for (const line of this.#lines.values()) if (line.size > 0) line.handOut(held, this.#timing.monotonic());
  }

  /** The pool has lent more than before, and it has been handed out. */
  forgetPace(): void {
    for (const line of this.#lines.values()) line.forgetPace(this.#timing.monotonic());
  }

  /** The pool may lend this account now, which it was not asked for. */
  askAgainFor(accountId: string): void {
    for (const waiter of this.#all()) if (waiter.leftOut.has(accountId)) waiter.askAgain();
  }

  rejectAll(reason: PoolError): void {
    for (const waiter of this.#all()) waiter.reject(reason);
  }

  /** How long one more turn would wait; 0 where that is not known. */
  expectedMs({ provider = '', client = '' }: AccountDemand): number {
    return this.#lines.get(provider)?.expectedMs(client) ?? 0;
  }

  *#all(): Generator<Waiter> {
    for (const { byClient } of this.#lines.values()) for (const own of byClient.values()) yield* own;
  }

  #lineOf({ demand: { provider = '' } }: Waiter): Line {
    const line = this.#lines.get(provider) ?? new Line();
    this.#lines.set(provider, line);
    return line;
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

  /** No new turn gets the account through this lease; it goes back when its last turn ends, and recovers slowly. */
  retire(): void {
    this.#leases.failed(this.#lease);
  }

  /** To be called before `release`: the turn went well. */
  succeeded(): void {
    this.#leases.succeeded(this.#lease);
  }
}
