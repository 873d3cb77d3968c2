import { withJitter } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { createLimit } from '../lib/tasks.ts';
import { isAway, isPoolError, PoolError, retryDelayMs } from './errors.ts';
import type { AllocateCall, Pool } from './pool.ts';
import type { AllocateAnswer, AllocateRequest, LeasedAccount, ReportAnswer } from './schema.ts';

/** Leases that ended without having been given back. */
export interface LeaseLoss {
  /**
   * `session_expired`: the pool took the whole session back. `lease_ended`: the account was disabled, rejected or
   * removed. `token_lapsed`: its bearer ran out, and another account took its place. `refused`: the pool no longer
   * lets this client renew; `error` says why.
   */
  readonly reason: 'session_expired' | 'lease_ended' | 'token_lapsed' | 'refused';
  readonly accounts: readonly LeasedAccount[];
  readonly error?: PoolError;
}

export interface HeldSessionOptions {
  readonly request: AllocateRequest & { readonly session_id: string };
  readonly pool: Pick<Pool, 'allocate' | 'release'>;
  readonly timing: Clock;
  /** Renewed in the background while accounts are held. */
  readonly isRenewed: boolean;
  /** Renewed at least so often, in milliseconds, whatever the ttl. */
  readonly renewAtLeastEveryMs?: () => number;
  readonly onChange?: () => void;
}

/** What an ensuring call may ask for beyond the session's own request. */
export type Ensure = Pick<AllocateRequest, 'count' | 'wait_ms' | 'exclude' | 'prefer' | 'model' | 'labels'>;

/** Names one lease. */
type LeaseName = Pick<LeasedAccount, 'id' | 'fence'>;

const longestRenewalMs = 10 * 60_000;
/** Of an older pool only its time by another clock is known: never so short that renewing would not end. */
const shortestUnnamedTtlMs = 60_000;
const renewalRetryMs = 1_000;
const longestRenewalRetryMs = 15_000;
const tokenMarginMs = 10_000;
const leaseMarginMs = 2_000;

/** What one session holds, by the last word of the pool: ensured, renewed in the background, given back. */
export class HeldSession {
  readonly sessionId: string;
  readonly #options: HeldSessionOptions;
  /**
   * How far the pool's clock is ahead of the monotonic one, by its last answer; older pools send no time. Times in its answers
   * are compared with that, because this machine's clock may differ, and may be changed.
   */
  #poolAheadMs: number | undefined;
  request: AllocateRequest;
  accounts: readonly LeasedAccount[] = [];
  #answer: AllocateAnswer | undefined;
  /** Monotonic time, counted from before the call, at which the pool may take the accounts back. */
  #lapsesAt = 0;
  #ttlMs = shortestUnnamedTtlMs;
  /** When the pool last said what is held, in monotonic time. */
  confirmedAt = Number.NEGATIVE_INFINITY;
  /** Leases on their way back: an answer that was under way may still name them. */
  readonly #leaving = new Set<string>();
  /** One call about a session at a time, so that no older answer overwrites a newer one. */
  readonly #line = createLimit(1);
  #failures = 0;
  #cancelRenewal = () => {};
  #isRenewed: boolean;
  readonly #ended = new AbortController();
  readonly #lossListeners = new Set<(loss: LeaseLoss) => void>();

  constructor(options: HeldSessionOptions) {
    this.#options = options;
    this.request = options.request;
    this.#isRenewed = options.isRenewed;
    this.sessionId = options.request.session_id;
  }

  /** Those held that the last request did not exclude. */
  get matching(): readonly LeasedAccount[] {
    const { exclude } = this.request;
    return exclude === undefined ? this.accounts : this.accounts.filter(({ id }) => !exclude.includes(id));
  }

  get created(): boolean {
    return this.#answer?.created ?? false;
  }

  get expiresAt(): Date {
    return new Date(this.#answer?.expires_at ?? 0);
  }

  get isEnded(): boolean {
    return this.#ended.signal.aborted;
  }

  /** The last attempt to renew found the pool unreachable. */
  get isPoolAway(): boolean {
    return this.#failures > 0;
  }

  isLive(now = this.#options.timing.monotonic()): boolean {
    const marginMs = Math.min(leaseMarginMs, this.#ttlMs / 10);
    return this.accounts.length > 0 && this.#lapsesAt - marginMs > now;
  }

  isFresh(account: LeasedAccount, validForMs = tokenMarginMs): boolean {
    return this.#until(account.token_expires_at) > validForMs;
  }

  /** Until when the bearer is good for a new turn, in monotonic time. */
  freshUntil(account: LeasedAccount): number {
    return this.#options.timing.monotonic() + this.#until(account.token_expires_at) - tokenMarginMs;
  }

  /** Makes the session hold what it asks for; renews it and brings the present bearers. */
  async ensure(change: Ensure = {}, signal?: AbortSignal, call: AllocateCall = {}): Promise<void> {
    await this.#inLine(signal, async (either) => {
      const askedAt = this.#options.timing.monotonic();
      const request = { ...this.request, ...change, session_id: this.sessionId };
      this.#adopt(await this.#options.pool.allocate(request, either, call), askedAt, request.exclude);
    });
  }

  /** The same with a new request from now on; without one what was asked before stays as it was. */
  async ensureAs(request: AllocateRequest, signal: AbortSignal | undefined, isNew: boolean): Promise<void> {
    const before = this.request;
    this.request = request;
    try {
      await this.ensure({}, signal, { isNew });
    } catch (error) {
      this.request = before;
      throw error;
    }
  }

  /**
   * Asks for more slots on the one account the session holds. What the pool lends instead goes back: the lease is then
   * only too small to be named. Throws PoolError when the pool is unreachable.
   */
  async grow(slots: number): Promise<void> {
    await this.#inLine(undefined, async (either) => {
      const [held] = this.accounts;
      if (held === undefined) return;
      const askedAt = this.#options.timing.monotonic();
      const request = { ...this.#ownRequest(), slots, prefer: held.id };
      let answer: AllocateAnswer;
      try {
        answer = await this.#options.pool.allocate(request, either);
      } catch (error) {
        if (isAway(error) || !isPoolError(error)) throw error;
        return;
      }
      if (answer.created) return await this.#loseTo(answer);
      const others = answer.accounts.filter((account) => keyOf(account) !== keyOf(held));
      if (others.length > 0) await this.#release(others).catch(() => undefined);
      if (others.length === answer.accounts.length) return;
      this.request = { ...this.request, slots };
      this.#adopt({ ...answer, accounts: answer.accounts.filter((one) => !others.includes(one)) }, askedAt);
    });
  }

  /**
   * Asks what is still held and renews it, borrowing nothing in place of what was lost. Throws PoolError when the pool
   * is unreachable, which says nothing about the accounts.
   */
  async confirm(signal?: AbortSignal): Promise<void> {
    await this.#inLine(signal, async (either) => {
      if (this.accounts.length === 0) return;
      const askedAt = this.#options.timing.monotonic();
      let answer: AllocateAnswer;
      try {
        answer = await this.#options.pool.allocate(this.#ownRequest(), either);
      } catch (error) {
        return this.#noteRefusal(error);
      }
      const known = new Set(this.accounts.map(keyOf));
      if (answer.accounts.some((account) => known.has(keyOf(account)))) return this.#adopt(answer, askedAt);
      await this.#loseTo(answer);
    });
  }

  /** Renews now in the background, and tries until the pool has answered. */
  async renew(): Promise<void> {
    this.#cancelRenewal();
    try {
      await this.confirm();
    } catch {
      // The pool is unreachable: it is asked again until it answers, and says then what is left.
      this.#schedule(retryDelayMs(this.#failures, renewalRetryMs, longestRenewalRetryMs));
      this.#failures += 1;
    }
  }

  /** Gives these back; with the last one the session ends at the pool. Throws PoolError. */
  async giveBack(accounts: readonly LeasedAccount[]): Promise<void> {
    const keys = new Set(accounts.map(keyOf));
    for (const key of keys) this.#leaving.add(key);
    this.accounts = this.accounts.filter((account) => !keys.has(keyOf(account)));
    try {
      await this.#inLine(undefined, async () => {
        const isLast = this.accounts.length === 0;
        if (isLast) this.#cancelRenewal();
        await this.#release(isLast ? undefined : accounts);
      });
    } finally {
      for (const key of keys) this.#leaving.delete(key);
    }
  }

  /** Gives back all that the session may hold, after `end`. Throws PoolError. */
  release(): Promise<void> {
    return this.#release(undefined);
  }

  /** These were given back by another call. */
  forget(leases: readonly LeaseName[]): void {
    const keys = new Set(leases.map(keyOf));
    this.accounts = this.accounts.filter((account) => !keys.has(keyOf(account)));
    this.#options.onChange?.();
  }

  /** A report's answer names newer bearers and how the accounts are. */
  noteReport(results: ReportAnswer['results']): void {
    let hasChanged = false;
    const accounts = this.accounts.map((account) => {
      const result = results.findLast(({ account_id: id }) => id === account.id);
      const { status, id_token, token_version: version = 0, token_expires_at = null } = result ?? {};
      const isNewer = id_token !== undefined && version > account.token_version;
      if (!isNewer && (status ?? account.status) === account.status) return account;
      hasChanged = true;
      const bearer = isNewer ? { id_token, token_version: version, token_expires_at } : {};
      return { ...account, status: status ?? account.status, ...bearer };
    });
    if (!hasChanged) return;
    this.accounts = accounts;
    this.#options.onChange?.();
  }

  /** Calls `listener` when leases end without having been given back. Answers how to stop that. */
  onLost(listener: (loss: LeaseLoss) => void): () => void {
    this.#lossListeners.add(listener);
    return () => this.#lossListeners.delete(listener);
  }

  /** Gives back leases whose bearers run out, now that another account is there. Throws PoolError. */
  async giveBackLapsed(accounts: readonly LeasedAccount[]): Promise<void> {
    await this.giveBack(accounts);
    this.#tellLoss({ reason: 'token_lapsed', accounts });
  }

  /** Ends renewing and every call under way; what is held lapses unless it is released. */
  end(reason: PoolError): void {
    this.#cancelRenewal();
    this.accounts = [];
    this.#ended.abort(reason);
  }

  /** Ends renewing only: what is held lapses unless calls renew it. */
  stopRenewing(): void {
    this.#cancelRenewal();
    this.#isRenewed = false;
  }

  /** How often it has to be renewed has changed. */
  reschedule(): void {
    this.#schedule(this.#renewalMs());
  }

  /** `count` 1 and no further wish: all that is held is answered, and nothing is added to it. */
  #ownRequest(): AllocateRequest {
    const { exclude: _exclude, prefer: _prefer, model: _model, labels: _labels, ...rest } = this.request;
    return { ...rest, session_id: this.sessionId, count: 1, wait_ms: 0 };
  }

  /** `excluded`: accounts the answer leaves out although they are held. */
  #adopt(answer: AllocateAnswer, askedAt: number, excluded: readonly string[] = []): void {
    const kept = this.accounts.filter(({ id }) => excluded.includes(id));
    const answered = answer.accounts.filter((account) => !this.#leaving.has(keyOf(account)));
    const now = [...(answer.created ? [] : kept), ...answered];
    const keys = new Set(now.map(keyOf));
    const lost = this.accounts.filter((account) => !keys.has(keyOf(account)));
    const saidAt = Date.parse(answer.timestamp ?? '');
    if (!Number.isNaN(saidAt)) this.#poolAheadMs = saidAt - this.#options.timing.monotonic();
    this.#answer = answer;
    this.accounts = now;
    const { ttl_seconds: seconds } = this.request;
    const unnamedMs = Math.max(shortestUnnamedTtlMs, this.#until(answer.expires_at));
    this.#ttlMs = seconds === undefined ? unnamedMs : seconds * 1_000;
    this.#lapsesAt = askedAt + this.#ttlMs;
    this.confirmedAt = askedAt;
    this.#failures = 0;
    this.#schedule(this.#renewalMs());
    if (lost.length > 0) {
      const reason = answer.created ? 'session_expired' : 'lease_ended';
      this.#tellLoss({ reason, accounts: lost });
    }
    this.#options.onChange?.();
  }

  /** How long until a time that the pool named; infinite for null, which never comes. */
  #until(time: string | null): number {
    if (time === null) return Number.POSITIVE_INFINITY;
    const { timing } = this.#options;
    const now = this.#poolAheadMs === undefined ? timing.now() : timing.monotonic() + this.#poolAheadMs;
    return Date.parse(time) - now;
  }

  #lose(loss: LeaseLoss): void {
    this.#cancelRenewal();
    this.accounts = [];
    this.#tellLoss(loss);
    this.#options.onChange?.();
  }

  #tellLoss(loss: LeaseLoss): void {
    for (const listener of [...this.#lossListeners]) listener(loss);
  }

  /** Nothing was left, and the question has borrowed something that was not wanted. */
  async #loseTo({ created }: AllocateAnswer): Promise<void> {
    this.#lose({ reason: created ? 'session_expired' : 'lease_ended', accounts: this.accounts });
    await this.#release(undefined).catch(() => undefined);
  }

  #noteRefusal(error: unknown): void {
    if (!(error instanceof PoolError) || isAway(error) || error.code === 'internal') throw error;
    if (error.code === 'no_account_available') {
      // Not one was left, and none could be had instead.
      this.#lose({ reason: 'lease_ended', accounts: this.accounts });
    } else {
      this.#lose({ reason: 'refused', accounts: this.accounts, error });
    }
  }

  async #release(leases: readonly LeaseName[] | undefined): Promise<void> {
    const names = leases?.map(({ id, fence }) => ({ id, fence }));
    try {
      await this.#options.pool.release({ session_id: this.sessionId, leases: names });
    } catch (error) {
      // A session the pool no longer knows is what was wanted.
      if (!isPoolError(error, 'session_not_found')) throw error;
    }
  }

  /** Runs after the calls before it. The signal ends the wait for them, too. */
  async #inLine(
    signal: AbortSignal | undefined,
    task: (either: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const ended = this.#ended.signal;
    const either = signal ? AbortSignal.any([signal, ended]) : ended;
    either.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => reject(either.reason);
      either.addEventListener('abort', onAbort, { once: true });
      const run = this.#line(() => {
        // A call that has begun ends when the signal aborts, and then gives back what it may have borrowed.
        either.removeEventListener('abort', onAbort);
        either.throwIfAborted();
        return task(either);
      });
      run.then(resolve, reject);
    });
  }

  /** A third of the ttl at most, a part of it random so that many clients do not come at once. */
  #renewalMs(): number {
    const leastMs = this.#options.renewAtLeastEveryMs?.() ?? Number.POSITIVE_INFINITY;
    return withJitter(Math.min(this.#ttlMs / 3, longestRenewalMs, leastMs), 0.8, 1);
  }

  #schedule(delayMs: number): void {
    this.#cancelRenewal();
    if (!this.#isRenewed || this.isEnded || this.accounts.length === 0) return;
    this.#cancelRenewal = this.#options.timing.after(delayMs, () => void this.renew());
  }
}

function keyOf({ id, fence }: LeaseName): string {
  return `${fence}:${id}`;
}
