import { type Clock, sleep } from '../lib/clock.ts';
import type { AccountPoolClient } from './client.ts';
import { isAway, isShort, PoolError } from './errors.ts';
import type { HeldSession, LeaseLoss } from './held-session.ts';
import { type Report, type ReportDetails, type ReportQueue, reportOn } from './report-queue.ts';
import type { LeasedAccount, ReleaseAnswer, ReportAnswer, ReportItem } from './schema.ts';

export interface CallOptions {
  /** Ends the call and its retries; the call then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface TokenOptions extends CallOptions {
  /** The bearer of this account of the session; absent: of the first that has one which lasts. */
  readonly accountId?: string;
  /** How long the bearer has to last, in milliseconds; default 10,000. */
  readonly validForMs?: number;
  /** How long to wait for one, in milliseconds; default the `wait_ms` of the session, else 10,000. */
  readonly waitMs?: number;
}

/** What the client lends its sessions; not for programs. */
export interface SessionTools {
  readonly timing: Clock;
  readonly client: Pick<AccountPoolClient, 'release' | 'report'>;
  readonly reports: Pick<ReportQueue, 'queue'>;
}

/**
 * Accounts held until `release()` or the end of an `await using` block, and renewed in the background until then.
 *
 * @example
 * await using session = await pool.allocate({ provider: 'warp' });
 * const { token, account } = await session.token();
 * // call the provider with `Bearer ${token}`, then:
 * session.queueReport(account, 'success');
 */
export class AccountSession {
  readonly sessionId: string;
  readonly #held: HeldSession;
  readonly #tools: SessionTools;

  /** Made by `AccountPoolClient.allocate`. */
  constructor(held: HeldSession, tools: SessionTools) {
    this.#held = held;
    this.#tools = tools;
    this.sessionId = held.sessionId;
  }

  /** What is held by the last word of the pool, with the present bearers; empty after a loss or a release. */
  get accounts(): readonly LeasedAccount[] {
    return this.#held.matching;
  }

  /** When the pool takes the accounts back unless a call renews the session. */
  get expiresAt(): Date {
    return this.#held.expiresAt;
  }

  /** False when the session was there before the last `allocate`. */
  get created(): boolean {
    return this.#held.created;
  }

  /** True once it was released, or its client closed. */
  get isReleased(): boolean {
    return this.#held.isEnded;
  }

  /**
   * A bearer that has not run out, without a call where the last answer is young. A session whose accounts were lost
   * borrows again; one whose bearer is about to lapse gets a new bearer or another account, waiting for it if need be.
   * While the pool is unreachable it goes on with what it has until that lapses.
   *
   * @example
   * const { token, account } = await session.token({ signal: AbortSignal.timeout(5_000) });
   */
  token(options: TokenOptions = {}): Promise<Bearer> {
    return findBearer(this.#held, this.#tools.timing, options);
  }

  /**
   * Renews the session now, borrows what was lost, and brings the present bearers. Happens by itself in the background,
   * apart from the borrowing.
   *
   * @example
   * await session.renew();
   */
  async renew(options: CallOptions = {}): Promise<void> {
    await this.#held.ensure({}, options.signal);
  }

  /**
   * Hears of leases that ended without having been released. The next `token()` or `renew()` borrows again. Answers how
   * to stop listening.
   *
   * @example
   * session.onLost(({ reason, accounts }) => console.warn(reason, accounts.map(({ id }) => id)));
   */
  onLost(listener: (loss: LeaseLoss) => void): () => void {
    return this.#held.onLost(listener);
  }

  /**
   * Tells the pool what became of the accounts, which also renews the session.
   *
   * @example
   * const [account] = session.accounts;
   * if (account) {
   *   const { id: account_id, fence, token_version } = account;
   *   await session.report([{ account_id, fence, token_version, outcome: 'rate_limited', retry_after_ms: 2_000 }]);
   * }
   */
  report(reports: readonly Report[], options: CallOptions = {}): Promise<ReportAnswer> {
    return this.#tools.client.report(this, reports, options);
  }

  /**
   * The same without waiting: successes are sent together within a second, anything that changes the account at once,
   * and again while the pool is unreachable. At most 1,000 wait; successes are dropped first. Throws PoolError
   * `invalid_request` for figures the pool would refuse.
   *
   * @example
   * session.queueReport(account, 'success', { usage: { input_tokens: 812, output_tokens: 64 } });
   */
  queueReport(account: LeasedAccount, outcome: ReportItem['outcome'], details: ReportDetails = {}): void {
    const { timing, reports } = this.#tools;
    void reports.queue(this.sessionId, reportOn(account, outcome, details, timing.now()));
  }

  /**
   * Gives the accounts back, after the reports that wait. Doing it twice is harmless.
   *
   * @example
   * const { released } = await session.release();
   */
  release(options: CallOptions = {}): Promise<ReleaseAnswer> {
    return this.#tools.client.release(this, options);
  }

  /** Like `release`, but quiet when the pool is unreachable: the leases then lapse at `expiresAt`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release().catch(ignoreAway);
  }
}

export function releasedError(): PoolError {
  return new PoolError('session_not_found', 'This session was released; allocate a new one.');
}

export function ignoreAway(error: unknown): void {
  if (!isAway(error)) throw error;
}

/** What to send to the provider, and on whose account. */
export interface Bearer {
  readonly token: string;
  /** Null for a bearer that does not expire. */
  readonly expiresAt: Date | null;
  readonly account: LeasedAccount;
}

/** An answer of the pool this young is believed without asking. */
const confirmedForMs = 15_000;
/** How long to wait for another account before the own ones are looked at again. */
const lookAgainMs = 2_000;

/** From memory, from the pool, or from another account when the pool has no fresh one for those that are held. */
export async function findBearer(
  session: HeldSession,
  timing: Clock,
  options: TokenOptions,
): Promise<Bearer> {
  const { accountId, validForMs = 10_000, signal, waitMs = session.request.wait_ms ?? 10_000 } = options;
  const deadline = timing.monotonic() + waitMs;
  const ours = () => session.matching.filter(({ id }) => accountId === undefined || id === accountId);
  const fresh = () => {
    const account = session.isLive()
      ? ours().find((candidate) => session.isFresh(candidate, validForMs))
      : undefined;
    return account === undefined ? undefined : bearerOf(account);
  };

  const remembered = fresh();
  if (remembered && timing.monotonic() - session.confirmedAt < confirmedForMs) return remembered;
  try {
    if (session.isLive()) await session.confirm(signal);
    const confirmed = fresh();
    if (confirmed) return confirmed;
    if (!session.isLive()) await session.ensure({ wait_ms: leftMs() }, signal);
  } catch (error) {
    const present = fresh();
    if (present && isAway(error)) return present;
    throw error;
  }

  for (;;) {
    const found = fresh();
    if (found) return found;
    if (accountId !== undefined && ours().length === 0) throw noSuchLease(accountId);
    const pauseMs = Math.min(leftMs(), lookAgainMs);
    if (accountId === undefined) {
      await replace(ours(), pauseMs);
    } else {
      await waitFor(pauseMs);
      await session.confirm(signal);
    }
    const later = fresh();
    if (later) return later;
    if (leftMs() === 0) throw aboutToLapse();
  }

  function leftMs(): number {
    return Math.max(0, Math.floor(deadline - timing.monotonic()));
  }

  /** Another account for those whose bearers run out; they go back once it is there. */
  async function replace(stale: readonly LeasedAccount[], waitMs: number): Promise<void> {
    const { exclude = [] } = session.request;
    try {
      const ids = stale.map(({ id }) => id);
      await session.ensure({ exclude: [...new Set([...exclude, ...ids])], wait_ms: waitMs }, signal);
    } catch (error) {
      if (!isShort(error)) throw error;
      // None can be had now: where that was said at once, the own accounts' refresh is waited for.
      await waitFor(Math.min(waitMs, leftMs()));
      return session.confirm(signal);
    }
    if (stale.length === 0) return;
    await session.giveBackLapsed(stale);
  }

  async function waitFor(waitMs: number): Promise<void> {
    signal?.throwIfAborted();
    await sleep(timing, waitMs, signal, true);
    signal?.throwIfAborted();
  }
}

function bearerOf(account: LeasedAccount): Bearer {
  const { token_expires_at: expiresAt } = account;
  return {
    token: account.id_token,
    expiresAt: expiresAt === null ? null : new Date(expiresAt),
    account,
  };
}

function noSuchLease(accountId: string): PoolError {
  return new PoolError('account_not_found', `This session does not hold account ${accountId} any more.`, {
    param: 'accountId',
  });
}

function aboutToLapse(): PoolError {
  const message = 'The bearers that could be had are about to lapse and cannot be refreshed yet; try again.';
  return new PoolError('no_account_available', message, { retryAfterMs: 5_000 });
}
