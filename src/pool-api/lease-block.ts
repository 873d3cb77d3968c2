import { BlockLease } from './block-lease.ts';
import { type BlockOptions, checkBlockOptions } from './block-options.ts';
import { isAway, isPoolError, PoolError } from './errors.ts';
import type { EventHandlers } from './event-stream.ts';
import { HeldSession } from './held-session.ts';
import { LeaseTurns, type TurnCount, type TurnWish } from './lease-turns.ts';
import type { PoolCalls } from './pool-calls.ts';
import type { LeasedAccount, PoolEvent, ReportItem } from './schema.ts';
import type { Timing } from './timing.ts';
import { reportOn } from './turn-report.ts';

export interface TakeOptions {
  /** Ends the wait; `take` then throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** In milliseconds; default that of the block. */
  readonly waitMs?: number;
  /** Ids of accounts that will not do, such as one that has just failed this turn. */
  readonly exclude?: readonly string[];
  /** The id of an account to use where it is free. */
  readonly prefer?: string;
}

/** The client's side of a block; not for programs. */
export interface BlockHost {
  readonly timing: Timing;
  readonly calls: Pick<PoolCalls, 'allocate' | 'release'>;
  follow(handlers: EventHandlers, signal: AbortSignal): Promise<void>;
  queueReport(sessionId: string, item: ReportItem): void;
  flushReports(): Promise<void>;
  onClosed(block: LeaseBlock): void;
}

interface Waiter {
  readonly wish: TurnWish;
  readonly deadline: number;
  /** Aborts when the wait is over, however it ended. */
  readonly over: AbortController;
  isAsking: boolean;
  lastError: PoolError | undefined;
  resolve(lease: BlockLease): void;
  reject(error: unknown): void;
}

const confirmWithoutEventsMs = 15_000;
const longestWaitMs = 60_000;
/** The pool answers by the deadline; so much later it is not waited for. */
const graceMs = 1_000;
const askAgainMs = 1_000;

/**
 * Accounts for a program that runs many turns: held in one session, handed out here without a call to the pool, first
 * come, first served. It borrows further accounts up to `count` while turns wait, and gives back what lies idle.
 *
 * @example
 * await using block = pool.block({ provider: 'warp', count: 4, slots: 8 });
 * {
 *   using lease = await block.take({ signal });
 *   // call the provider with `Bearer ${lease.token}`, then:
 *   lease.report('success');
 * }
 */
export class LeaseBlock {
  readonly sessionId: string;
  readonly #options: BlockOptions;
  readonly #host: BlockHost;
  readonly #session: HeldSession;
  readonly #turns: LeaseTurns;
  /** In the order they came; whoever is first and can use a place gets it. */
  readonly #waiters = new Set<Waiter>();
  readonly #background = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #isSeeking = false;
  #hasEvents = false;
  #isFollowing = false;
  #wakeSeeker = () => {};
  #cancelTidy = () => {};
  #closing: Promise<void> | undefined;

  /** Made by `AccountPoolClient.block`. */
  constructor(options: BlockOptions, sessionId: string, host: BlockHost) {
    const { provider, model, slots = 1, exclusive = slots === 1, ttl_seconds = 120 } = options;
    checkBlockOptions(options, exclusive);
    this.sessionId = sessionId;
    this.#options = options;
    this.#host = host;
    this.#session = new HeldSession({
      request: {
        session_id: sessionId,
        exclusive,
        slots,
        ttl_seconds,
        ...(provider === undefined ? {} : { provider }),
        ...(model === undefined ? {} : { model }),
      },
      calls: host.calls,
      timing: host.timing,
      isRenewed: true,
      renewAtLeastEveryMs: () => (this.#hasEvents ? Number.POSITIVE_INFINITY : confirmWithoutEventsMs),
      onLost() {},
      onChange: () => this.#onChange(),
    });
    this.#turns = new LeaseTurns(this.#session, host.timing);
  }

  /** Accounts held now. */
  get accounts(): readonly LeasedAccount[] {
    return this.#session.accounts;
  }

  /** Turns that run now. */
  get turns(): number {
    return this.#turns.all.reduce((sum, { turns }) => sum + turns, 0);
  }

  /** Turns that wait for a place. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /**
   * A turn's right to use an account. Throws PoolError `no_account_available` when none came free in time,
   * `pool_unavailable` when the pool is away and nothing is held, or the signal's reason.
   *
   * @example
   * using lease = await block.take({ signal, exclude: [failedAccountId] });
   */
  async take(options: TakeOptions = {}): Promise<BlockLease> {
    this.#stop.signal.throwIfAborted();
    options.signal?.throwIfAborted();
    this.#follow();
    const wish = { prefer: options.prefer, exclude: options.exclude };
    const count = this.#waiters.size === 0 ? this.#turns.pick(wish) : undefined;
    if (count) return this.#begin(count);
    return await this.#wait(wish, options.waitMs ?? this.#options.waitMs ?? 10_000, options.signal);
  }

  /** Ends the waits with `shutting_down`, gives every account back and stops. Turns that run lose their accounts. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** For the client: news about accounts from a report. */
  get held(): HeldSession {
    return this.#session;
  }

  #begin(count: TurnCount): BlockLease {
    this.#turns.begin(count);
    const { account } = count;
    let isOver = false;
    return new BlockLease(account, {
      end: () => {
        if (isOver) return;
        isOver = true;
        this.#turns.end(count);
        this.#handOut();
        this.#tidy();
      },
      report: (outcome, details) => {
        const item = reportOn(account, outcome, details, this.#host.timing.now());
        this.#host.queueReport(this.sessionId, item);
      },
      isHeld: () => count.isHeld && this.#session.isLive(),
    });
  }

  #wait(wish: TurnWish, waitMs: number, signal: AbortSignal | undefined): Promise<BlockLease> {
    const { timing } = this.#host;
    return new Promise((resolve, reject) => {
      const over = new AbortController();
      const settle = (answer: () => void) => {
        if (!this.#waiters.delete(waiter)) return;
        cancelTimer();
        signal?.removeEventListener('abort', onAbort);
        over.abort();
        answer();
      };
      const waiter: Waiter = {
        wish,
        deadline: timing.monotonic() + waitMs,
        over,
        isAsking: false,
        lastError: undefined,
        resolve: (lease) => settle(() => resolve(lease)),
        reject: (error) => settle(() => reject(error)),
      };
      const giveUp = () => waiter.reject(waiter.lastError ?? fullError(this.#session.accounts.length));
      const onAbort = () => waiter.reject(signal?.reason);
      let cancelTimer = timing.after(
        waitMs,
        () => {
          if (waiter.isAsking) cancelTimer = timing.after(graceMs, giveUp, true);
          else giveUp();
        },
        true,
      );
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
      // Those before may wait for other accounts than one that is free here.
      this.#handOut();
      void this.#seek();
    });
  }

  #handOut(): void {
    for (const waiter of this.#waiters) {
      const count = this.#turns.pick(waiter.wish);
      if (count) waiter.resolve(this.#begin(count));
    }
  }

  /** Finds places for those who wait, one call at a time. */
  async #seek(): Promise<void> {
    if (this.#isSeeking) return;
    this.#isSeeking = true;
    for (;;) {
      this.#handOut();
      const [first] = this.#waiters;
      if (!first) break;
      try {
        await this.#seekFor(first);
      } catch (error) {
        await this.#noteFailure(first, error);
      }
    }
    this.#isSeeking = false;
  }

  async #seekFor(waiter: Waiter): Promise<void> {
    const { signal } = waiter.over;
    const session = this.#session;
    const isStale = ({ account }: TurnCount) => !session.isFresh(account);
    const hasLapsed = session.accounts.length > 0 && !session.isLive();
    if (hasLapsed || (this.#isOld() && this.#turns.all.some(isStale))) return await session.confirm(signal);
    const { exclude = [], prefer } = waiter.wish;
    const isUseless = (count: TurnCount) =>
      count.isRetired || isStale(count) || exclude.includes(count.account.id);
    const leases = this.#turns.all;
    const useless = leases.filter(isUseless);
    if (leases.length >= this.#options.count) {
      // An account that will not do makes place for one that may.
      const swapped = useless.find(({ turns }) => turns === 0);
      if (swapped) return await this.#giveBack([swapped]);
      return await this.#pause(askAgainMs, signal);
    }
    const leftMs = Math.max(0, Math.floor(waiter.deadline - this.#host.timing.monotonic()));
    waiter.isAsking = true;
    try {
      const ids = [...new Set([...exclude, ...useless.map(({ account }) => account.id)])];
      await session.ensure(
        {
          count: leases.length - useless.length + 1,
          wait_ms: Math.min(leftMs, longestWaitMs),
          ...(ids.length === 0 ? {} : { exclude: ids }),
          ...(prefer === undefined ? {} : { prefer }),
        },
        signal,
      );
    } finally {
      waiter.isAsking = false;
    }
    // What came would have been handed out. It did not do, so asking at once again would go round in circles.
    if (!signal.aborted) await this.#pause(askAgainMs, signal);
  }

  async #noteFailure(waiter: Waiter, error: unknown): Promise<void> {
    if (waiter.over.signal.aborted) return;
    const isShort = isPoolError(error, 'no_account_available');
    if (!(isPoolError(error) && (isShort || isAway(error)))) return waiter.reject(error);
    waiter.lastError = error;
    const leftMs = waiter.deadline - this.#host.timing.monotonic();
    const { exclude = [] } = waiter.wish;
    const mayComeFree = this.#turns.all.some(
      ({ account, isRetired }) => !isRetired && !exclude.includes(account.id),
    );
    const isHopeless = isShort && !mayComeFree && (error.retryAfterMs ?? 0) > leftMs;
    if (leftMs <= 0 || isHopeless) return waiter.reject(error);
    await this.#pause(Math.min(askAgainMs, leftMs), waiter.over.signal);
  }

  /** Until something changes here. */
  async #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const finish = () => {
        cancel();
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const cancel = this.#host.timing.after(delayMs, finish);
      signal.addEventListener('abort', finish, { once: true });
      this.#wakeSeeker = finish;
    });
  }

  #isOld(): boolean {
    return this.#host.timing.monotonic() - this.#session.confirmedAt >= askAgainMs;
  }

  #onChange(): void {
    this.#turns.sync();
    this.#handOut();
    this.#tidy();
    this.#wakeSeeker();
  }

  /** Gives back what nobody uses, now and when the next account has lain idle for long enough. */
  #tidy(): void {
    this.#cancelTidy();
    if (this.#stop.signal.aborted) return;
    const { idleMs = 60_000, minimum = 0 } = this.#options;
    const leaving = this.#turns.leaving(idleMs, minimum);
    if (leaving.length > 0) this.#inBackground(this.#giveBack(leaving));
    const idle = this.#turns.all.filter(({ turns }) => turns === 0);
    if (idle.length <= minimum) return;
    const nextAt = Math.min(...idle.map(({ idleSince }) => idleSince + idleMs));
    const delayMs = Math.max(askAgainMs, nextAt - this.#host.timing.monotonic());
    this.#cancelTidy = this.#host.timing.after(delayMs, () => this.#tidy());
  }

  async #giveBack(leases: readonly TurnCount[]): Promise<void> {
    const done = this.#session.giveBack(leases.map(({ account }) => account));
    this.#turns.sync();
    this.#wakeSeeker();
    await done;
  }

  /** With the pool away the accounts lapse by themselves. */
  #inBackground(task: Promise<void>): void {
    const done: Promise<void> = task.then(
      () => void this.#background.delete(done),
      () => void this.#background.delete(done),
    );
    this.#background.add(done);
  }

  #follow(): void {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    const handlers: EventHandlers = {
      onEvent: (event) => this.#onEvent(event),
      onState: (isConnected) => {
        this.#hasEvents = isConnected;
        // Whatever was said while nobody listened is learnt by asking.
        this.#session.renewSoon();
      },
      onReset: () => this.#session.renewSoon(),
    };
    void this.#host.follow(handlers, this.#stop.signal);
  }

  #onEvent(event: PoolEvent): void {
    for (const count of this.#turns.all) {
      const { account } = count;
      if (event.type === 'lease-wanted') {
        if (count.turns === 0 && event.account_ids.includes(account.id)) count.isRetired = true;
      } else if (event.account_id === account.id) {
        if (event.type === 'account-removed' || event.status !== 'active') count.isRetired = true;
      } else if (event.type === 'account-changed' && event.status === 'exhausted' && event.free) {
        // No free account stands in for another of its provider.
        if (account.free && account.provider === event.provider) count.isRetired = true;
      }
    }
    this.#tidy();
    this.#wakeSeeker();
  }

  async #close(): Promise<void> {
    const error = new PoolError('shutting_down', 'This block is closed.');
    this.#stop.abort(error);
    this.#cancelTidy();
    for (const waiter of this.#waiters) waiter.reject(error);
    await this.#host.flushReports();
    this.#session.end(error);
    while (this.#background.size > 0) await Promise.all(this.#background);
    try {
      if (this.#isFollowing) await this.#host.calls.release({ session_id: this.sessionId });
    } catch (caught) {
      // With the pool away, or the session gone there already, nothing is left to do.
      if (!isAway(caught) && !isPoolError(caught, 'session_not_found')) throw caught;
    } finally {
      this.#host.onClosed(this);
    }
  }
}

function fullError(held: number): PoolError {
  const message = `Every turn of the ${held} accounts of this block is taken; wait longer, or raise its count or slots.`;
  return new PoolError('no_account_available', message, { retryAfterMs: 1_000 });
}
