import type { Clock } from '../lib/clock.ts';
import { isAway, PoolError } from './errors.ts';
import { LeaseEngine } from './lease-engine.ts';
import type { Pool } from './pool.ts';
import { type ReportDetails, type ReportQueue, reportOn } from './report-queue.ts';
import type { LeasedAccount, ReportAnswer, ReportItem } from './schema.ts';
import type { TurnLease } from './waiting-turns.ts';

export interface BlockOptions {
  /** Most accounts held at a time. */
  readonly count: number;
  readonly provider?: string;
  /** Only accounts that may use this upstream model. */
  readonly model?: string;
  /** Only accounts with one of these labels. */
  readonly labels?: readonly string[];
  /** Turns at a time on each account; default 1. More than 1 needs shared accounts. */
  readonly slots?: number;
  /** Whether no other program may use the accounts meanwhile; default true for 1 slot, false for more. */
  readonly exclusive?: boolean;
  /** Accounts kept although nothing runs on them; default 0. */
  readonly minimum?: number;
  /** How long an account may lie idle before it goes back, in milliseconds; default 60,000. */
  readonly idleMs?: number;
  /** How long `take` waits for a turn, in milliseconds; default 10,000. */
  readonly waitMs?: number;
  /** Idle seconds after which the pool takes the accounts back from a program that died; default 120. */
  readonly ttl_seconds?: number;
  /** Default: one of its own, which begins with `block:`. */
  readonly session_id?: string;
}

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

/** What the client lends its blocks; not for programs. */
export interface BlockTools {
  readonly timing: Clock;
  readonly pool: Pick<Pool, 'allocate' | 'release' | 'subscribe'>;
  readonly reports: Pick<ReportQueue, 'queue' | 'flush'>;
}

/** One turn's right to use an account. Ends with `release()` or its `using` block. */
export class BlockLease {
  /** As it was when the turn began; reports speak of this bearer. */
  readonly account: LeasedAccount;
  readonly #turn: TurnLease;
  readonly #tools: BlockTools;

  /** Made by `LeaseBlock.take`. */
  constructor(turn: TurnLease, tools: BlockTools) {
    this.account = turn.account;
    this.#turn = turn;
    this.#tools = tools;
  }

  /** The bearer to send to the provider. */
  get token(): string {
    return this.account.id_token;
  }

  /** False once the pool has taken the account back: others may use it now. */
  get isHeld(): boolean {
    return this.#turn.isHeld;
  }

  /**
   * Tells the pool how the turn went, without waiting. Throws PoolError `invalid_request` for figures it would refuse.
   *
   * @example
   * lease.report('rate_limited', { retry_after_ms: 2_000 });
   */
  report(outcome: ReportItem['outcome'], details: ReportDetails = {}): void {
    const { timing, reports } = this.#tools;
    void reports.queue(this.#turn.sessionId, reportOn(this.account, outcome, details, timing.now()));
  }

  /** Ends the turn; the block keeps the account for the next one. Doing it twice is harmless. */
  release(): void {
    this.#turn.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

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
  readonly #waitMs: number;
  readonly #tools: BlockTools;
  readonly #engine: LeaseEngine;
  #isClosed = false;
  #closing: Promise<void> | undefined;

  /** Made by `AccountPoolClient.block`. */
  constructor(options: BlockOptions, sessionId: string, tools: BlockTools) {
    checkBlockOptions(options);
    const { provider, model, labels, slots = 1, exclusive = slots === 1, ttl_seconds = 120 } = options;
    this.sessionId = sessionId;
    this.#waitMs = options.waitMs ?? 10_000;
    this.#tools = tools;
    this.#engine = new LeaseEngine({
      ...tools,
      request: { exclusive, slots, ttl_seconds, provider, model, labels: labels && [...labels] },
      sessions: { one: sessionId },
      count: options.count,
      minimum: options.minimum ?? 0,
      idleMs: options.idleMs ?? 60_000,
      answerLimitMs: 0,
      waitsForPool: true,
    });
  }

  /** Accounts held now. */
  get accounts(): readonly LeasedAccount[] {
    return this.#engine.held.accounts;
  }

  /** Turns that run now. */
  get turns(): number {
    return this.#engine.held.turns;
  }

  /** Turns that wait for a place. */
  get waiting(): number {
    return this.#engine.waiting;
  }

  /**
   * A turn's right to use an account. Throws PoolError `no_account_available` when none came free in time,
   * `pool_unavailable` when the pool is unreachable and nothing is held, or the signal's reason.
   *
   * @example
   * using lease = await block.take({ signal, exclude: [failedAccountId] });
   */
  async take(options: TakeOptions = {}): Promise<BlockLease> {
    this.#engine.follow();
    const { signal, prefer, exclude, waitMs = this.#waitMs } = options;
    const deadline = this.#tools.timing.monotonic() + waitMs;
    const demand = { prefer, preference: 'hint', exclude: new Set(exclude), deadline, signal } as const;
    return new BlockLease(await this.#engine.acquire(demand), this.#tools);
  }

  /** Whether every account was given back. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Ends the waits with `shutting_down`, gives every account back and stops. Turns that run lose their accounts. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  noteReport(results: ReportAnswer['results']): void {
    this.#engine.held.noteReport(this.sessionId, results);
  }

  async #close(): Promise<void> {
    const reason = new PoolError('shutting_down', 'This block is closed.');
    this.#engine.stopWaiting(reason);
    await this.#tools.reports.flush();
    try {
      await this.#engine.close(reason);
    } catch (error) {
      // While the pool is unreachable nothing is left to do: the accounts lapse.
      if (!isAway(error)) throw error;
    } finally {
      this.#isClosed = true;
    }
  }
}

/** Throws PoolError `invalid_request` for options that cannot work. */
function checkBlockOptions({ count, slots = 1, exclusive = slots === 1, minimum = 0 }: BlockOptions): void {
  const fault =
    !Number.isInteger(count) || count < 1
      ? (['count', '"count" is the most accounts to hold: 1 or more.'] as const)
      : exclusive && slots > 1
        ? (['slots', '"slots" above 1 needs exclusive: false.'] as const)
        : !Number.isInteger(minimum) || minimum < 0 || minimum > count
          ? (['minimum', '"minimum" is how many accounts to keep: 0 to "count".'] as const)
          : undefined;
  if (fault) throw new PoolError('invalid_request', fault[1], { param: fault[0] });
}
