import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/at-most.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { Basics } from '../base/basics.ts';
import { logFailure, shuttingDown } from '../base/failures.ts';
import type { EnsureResult, Granted, LeaseDemand, Short, Skip } from '../store/store.ts';
import type { LendingStore } from './lending-store.ts';

/** `isNewSession`: the session holds nothing, so equal demands fail alike. */
type Demand = Omit<LeaseDemand, 'waitUntil'> & { readonly isNewSession: boolean };

interface WaitingCaller {
  readonly demand: Demand;
  readonly since: number;
  deadline: number;
  /** When to try again without being woken. */
  retryAt: number | null;
  lastShort: Short | undefined;
  wantedAt: number;
  isSettled: boolean;
  resolve(result: EnsureResult): void;
  reject(error: unknown): void;
}

/** How long a gateway that is asked for an idle lease takes to give it back. */
const giveBackMs = 1000;
/** How long a refresh that is waited for may take, and how long one caller waits for refreshes altogether. */
const refreshTakesMs = 5000;
const longestRefreshWaitMs = 20_000;
/** Callers of one key that may wait at the same time: whenever a place becomes free, each of them is tried. */
export const mostWaiting = 1000;
const mostSessions = 10_000;

/** Where callers get leases of the store that lends, or wait for them: first come, first tried. */
export class WaitingRoom {
  readonly #basics: Pick<Basics, 'clock' | 'logger' | 'events'>;
  readonly #lending: LendingStore;
  readonly #skips: SkipLog;
  /** The last attempt for each of the sessions that asked last: of others nothing is taken back, and their leases lapse. */
  readonly #lastAttempts = new LRUCache<string, number>(atMost(mostSessions));
  readonly #numbers = new WeakMap<Granted, number>();
  #attempts = 0;
  #queue: WaitingCaller[] = [];
  #isPumping = false;
  #isDirty = false;
  #isClosed = false;
  #wakes = 0;
  #stopTimer = (): void => {};

  constructor(basics: Pick<Basics, 'clock' | 'logger' | 'events'>, lending: LendingStore, skips: SkipLog) {
    this.#basics = basics;
    this.#lending = lending;
    this.#skips = skips;
    basics.events.freed = () => this.#wake();
  }

  get size(): number {
    return this.#queue.length;
  }

  /** Answers once it is decided; rejects with the signal's reason when the caller has gone. */
  async enter(demand: Demand, waitMs: number, signal?: AbortSignal): Promise<EnsureResult> {
    if (this.#isClosed) throw shuttingDown();
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const settle =
        <T>(answer: (value: T) => void) =>
        (value: T): void => {
          if (caller.isSettled) return;
          caller.isSettled = true;
          signal?.removeEventListener('abort', leave);
          this.#queue = this.#queue.filter((other) => other !== caller);
          answer(value);
        };
      const now = this.#basics.clock.now();
      const caller: WaitingCaller = {
        demand,
        since: now,
        deadline: now + waitMs,
        retryAt: null,
        lastShort: undefined,
        wantedAt: Number.NEGATIVE_INFINITY,
        isSettled: false,
        resolve: settle(resolve),
        reject: settle(reject),
      };
      const leave = (): void => caller.reject(signal?.reason);
      signal?.addEventListener('abort', leave);
      void this.#begin(caller);
    });
  }

  /** Ends every wait with `shutting_down`. */
  close(): void {
    this.#isClosed = true;
    this.#stopTimer();
    for (const caller of [...this.#queue]) caller.reject(shuttingDown());
  }

  /** Takes back what an attempt added, for a caller that never got it. */
  async giveBack(sessionId: string, granted: Granted): Promise<void> {
    // A caller that broke off and called again was given these leases by now, or will be.
    if (this.#lastAttempts.peek(sessionId) !== this.#numbers.get(granted)) return;
    const { clock, logger } = this.#basics;
    const leases = granted.created ? null : granted.added;
    await this.#lending.current.release(clock.now(), { sessionId, keyId: null, leases });
    logger.info({ sessionId }, 'the caller had gone before its leases were ready; they were given back');
  }

  async #begin(caller: WaitingCaller): Promise<void> {
    const wakesBefore = this.#wakes;
    // Those who wait already go first.
    if (this.#queue.length === 0 && !this.#isPumping) await this.#attempt(caller);
    if (caller.isSettled) return;
    if (this.#isClosed) return caller.reject(shuttingDown());
    const { keyId } = caller.demand.owner;
    if (this.#queue.filter(({ demand }) => demand.owner.keyId === keyId).length >= mostWaiting) {
      return caller.reject(tooManyWait());
    }
    this.#queue.push(caller);
    if (caller.lastShort === undefined || this.#wakes !== wakesBefore) await this.#pump();
    else this.#setTimer();
  }

  /** A place may have come free. */
  #wake(): void {
    this.#wakes += 1;
    if (this.#queue.length > 0) void this.#pump();
  }

  async #pump(): Promise<void> {
    this.#isDirty = true;
    if (this.#isPumping) return;
    this.#isPumping = true;
    while (this.#isDirty) {
      this.#isDirty = false;
      await this.#pass();
    }
    this.#isPumping = false;
    this.#setTimer();
  }

  /** Tries each caller once, save those whose like has just failed for no more than they want. */
  async #pass(): Promise<void> {
    const failed = new Map<
      string,
      { readonly count: number; readonly short: Short; readonly retryAt: number | null }
    >();
    for (const caller of [...this.#queue]) {
      if (caller.isSettled) continue;
      const { demand } = caller;
      const shape = shapeOf(demand);
      const like = demand.isNewSession ? failed.get(shape) : undefined;
      if (like !== undefined && like.count <= demand.count && caller.lastShort !== undefined) {
        caller.lastShort = like.short;
        caller.retryAt = like.retryAt;
        if (this.#basics.clock.now() >= caller.deadline) caller.resolve(like.short);
        continue;
      }
      const shortBefore = caller.lastShort;
      await this.#attempt(caller);
      const { lastShort, retryAt } = caller;
      if (demand.isNewSession && lastShort !== undefined && lastShort !== shortBefore) {
        failed.set(shape, { count: demand.count, short: lastShort, retryAt });
      }
    }
  }

  async #attempt(caller: WaitingCaller): Promise<void> {
    try {
      const { isNewSession: _, ...demand } = caller.demand;
      const { sessionId } = demand;
      this.#attempts += 1;
      const number = this.#attempts;
      this.#lastAttempts.set(sessionId, number);
      const now = this.#basics.clock.now();
      const result = await this.#lending.current.ensureLeases(now, { ...demand, waitUntil: caller.deadline });
      if (result.result === 'granted') this.#numbers.set(result, number);
      if (result.result !== 'mismatch') this.#skips.note(this.#basics.clock.now(), sessionId, result.skipped);
      if (!caller.isSettled) this.#judge(caller, result);
      else if (result.result === 'granted') await this.giveBack(sessionId, result);
    } catch (error) {
      if (!caller.isSettled) caller.reject(error);
      else logFailure(this.#basics.logger, error, 'a wait for leases failed after its caller had gone');
    }
  }

  /** Answers the caller, or sets what it waits for. */
  #judge(caller: WaitingCaller, result: EnsureResult): void {
    if (result.result !== 'short') {
      caller.resolve(result);
      return;
    }
    caller.lastShort = result;
    caller.retryAt = result.nextAt;
    const now = this.#basics.clock.now();
    if (result.couldServe && result.gatewayHeld.length > 0) {
      if (caller.wantedAt === Number.NEGATIVE_INFINITY) {
        caller.deadline = Math.max(caller.deadline, now + giveBackMs);
      }
      if (now - caller.wantedAt >= giveBackMs && now < caller.deadline) {
        caller.wantedAt = now;
        this.#recall(result.gatewayHeld);
      }
      caller.retryAt = Math.min(caller.retryAt ?? Number.POSITIVE_INFINITY, now + giveBackMs);
    }
    if (result.refreshBy !== null) {
      const until = Math.min(result.refreshBy + refreshTakesMs, caller.since + longestRefreshWaitMs);
      caller.deadline = Math.max(caller.deadline, until);
    }
    const couldServe = result.couldServe || result.refreshBy !== null;
    if (!couldServe || now >= caller.deadline) caller.resolve(result);
  }

  /** Asks gateways everywhere for idle leases on these accounts. */
  #recall(ids: readonly string[]): void {
    const { events, logger } = this.#basics;
    events.publish({ type: 'lease-wanted', account_ids: [...ids] });
    this.#lending.current
      .tell({ type: 'wanted', accountIds: ids })
      .catch((error: unknown) => logFailure(logger, error, 'other instances could not be asked for leases'));
  }

  #setTimer(): void {
    const { clock } = this.#basics;
    this.#stopTimer();
    this.#stopTimer = () => {};
    if (this.#queue.length === 0) return;
    const next = Math.min(
      ...this.#queue.map(({ deadline, retryAt }) => Math.min(deadline, retryAt ?? deadline)),
    );
    // At least a millisecond ahead: a time that has passed and changed nothing must not spin.
    this.#stopTimer = clock.after(Math.max(1, next - clock.now()), () => void this.#pump());
  }
}

function tooManyWait(): PoolError {
  const message = 'Too many callers wait already: try again after Retry-After.';
  return new PoolError('no_account_available', message, { retryAfterMs: 1000 });
}

function shapeOf(demand: Demand): string {
  const { provider, model, labels, exclusive, slots, owner, exclude } = demand;
  return JSON.stringify([provider, model, labels, exclusive, slots, owner.isGateway, exclude]);
}

interface NotedSkip {
  readonly at: number;
  /** A word of `Skip`. */
  readonly reason: string;
  readonly sessionId: string;
}

const keptOfAccount = 5;
const keptAccounts = 10_000;

/** Remembers why accounts were lately passed over, for owners who wonder. In memory, bounded both ways. */
export class SkipLog {
  readonly #byAccount = new LRUCache<string, readonly NotedSkip[]>(atMost(keptAccounts));

  note(at: number, sessionId: string, skips: readonly Skip[]): void {
    for (const { accountId, reason } of skips) {
      const before = this.of(accountId);
      const last = before[0];
      // One who waits is refused many times over: that is one skip.
      const isSame = last !== undefined && last.sessionId === sessionId && last.reason === reason;
      const noted = [{ at, reason, sessionId }, ...(isSame ? before.slice(1) : before)];
      this.#byAccount.set(accountId, noted.slice(0, keptOfAccount));
    }
  }

  /** The newest first. */
  of(accountId: string): readonly NotedSkip[] {
    return this.#byAccount.get(accountId) ?? [];
  }
}
