import { LRUCache } from 'lru-cache';
import type { Basics } from '../base/basics.ts';
import { logFailure } from '../base/failures.ts';
import type { EnsureResult, Granted, LeaseDemand, Skip } from '../store/store.ts';
import type { LendingStore } from './lending-store.ts';

type Lease = Granted['added'][number];

const mostSessions = 10_000;

/** Lends accounts of the store that lends, one attempt at a time, and takes them back. */
export class Lender {
  readonly #basics: Basics;
  readonly #lending: LendingStore;
  readonly #skips: SkipLog;
  /** The last attempt for each of the sessions that asked last: of others nothing is taken back, and their leases lapse. */
  readonly #lastAttempts = new LRUCache<string, number>({ max: mostSessions });
  readonly #numbers = new WeakMap<Granted, number>();
  #count = 0;

  constructor(basics: Basics, lending: LendingStore, skips: SkipLog) {
    this.#basics = basics;
    this.#lending = lending;
    this.#skips = skips;
  }

  async attempt(demand: LeaseDemand): Promise<EnsureResult> {
    const { clock } = this.#basics;
    const { sessionId } = demand;
    this.#count += 1;
    const number = this.#count;
    this.#lastAttempts.set(sessionId, number);
    const result = await this.#lending.current.ensureLeases(clock.now(), demand);
    if (result.result === 'granted') this.#numbers.set(result, number);
    if (result.result !== 'mismatch') this.#skips.note(clock.now(), sessionId, result.skipped);
    return result;
  }

  /** Null when there is no such session of that key; a key of null releases any session. */
  async release(
    sessionId: string,
    keyId: string | null,
    leases: readonly Lease[] | null,
  ): Promise<number | null> {
    const { clock } = this.#basics;
    const result = await this.#lending.current.release(clock.now(), { sessionId, keyId, leases });
    return result === null ? null : result.released;
  }

  /** Takes back what an attempt added, for a caller that never got it. */
  async giveBack(sessionId: string, granted: Granted): Promise<void> {
    // A caller that broke off and called again was given these leases by now, or will be.
    if (this.#lastAttempts.peek(sessionId) !== this.#numbers.get(granted)) return;
    await this.release(sessionId, null, granted.created ? null : granted.added);
    const message = 'the caller had gone before its leases were ready; they were given back';
    this.#basics.logger.info({ sessionId }, message);
  }

  /** Asks gateways everywhere for idle leases on these accounts. */
  recall(ids: readonly string[]): void {
    const { events, logger } = this.#basics;
    events.publish({ type: 'lease-wanted', account_ids: [...ids] });
    this.#lending.current
      .tell({ type: 'wanted', accountIds: ids })
      .catch((error: unknown) => logFailure(logger, error, 'other instances could not be asked for leases'));
  }
}

/** One time an account was passed over. */
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
  readonly #byAccount = new LRUCache<string, readonly NotedSkip[]>({ max: keptAccounts });

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
