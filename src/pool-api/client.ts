/** The public client library of the account pool: `warp2api/pool-client`. */

import { randomUUID } from 'node:crypto';
import { systemClock } from '../lib/clock.ts';
import { BackgroundTasks } from '../lib/tasks.ts';
import {
  AccountSession,
  type CallOptions,
  ignoreAway,
  releasedError,
  type SessionTools,
} from './account-session.ts';
import { isAway, isPoolError, PoolError } from './errors.ts';
import type { PoolNews } from './event-stream.ts';
import { HeldSession } from './held-session.ts';
import { createHttpPool, type HttpPool } from './http-pool.ts';
import { type BlockOptions, type BlockTools, LeaseBlock } from './lease-block.ts';
import type { StatusAnswer } from './owner-schema.ts';
import { complete, type Report, ReportQueue, type ReportResult } from './report-queue.ts';
import type { AllocateRequest, ReleaseAnswer, ReleaseRequest, ReportAnswer, ReportItem } from './schema.ts';

export type { Outcome } from '../core/outcome.ts';
export type { AccountSession, Bearer, CallOptions, TokenOptions } from './account-session.ts';
export { isPoolError, PoolError, type PoolErrorCode } from './errors.ts';
export type { PoolNews } from './event-stream.ts';
export type { LeaseLoss } from './held-session.ts';
export type { BlockLease, BlockOptions, LeaseBlock, TakeOptions } from './lease-block.ts';
export type { StatusAnswer } from './owner-schema.ts';
export type { Report, ReportDetails } from './report-queue.ts';
export type {
  AccountState,
  AllocateRequest,
  LeasedAccount,
  PoolEvent,
  ReleaseAnswer,
  ReleaseRequest,
  ReportAnswer,
  ReportItem,
  Shortage,
} from './schema.ts';

export interface AccountPoolClientOptions {
  /** Where the pool is; default `http://localhost:8019`. */
  readonly baseUrl?: string | URL;
  /**
   * The pool's POOL_API_KEY; absent where the pool asks for none. What a program reports with it is a claim: the pool asks
   * the provider before an account changes for good.
   */
  readonly apiKey?: string | undefined;
  /** Further tries after a connection failed or while the pool restarts; default 3. */
  readonly retries?: number;
  /** The wait before the first retry in milliseconds, doubled with each, partly random; default 200. */
  readonly retryDelayMs?: number;
  /** Milliseconds one call may take; default 10,000. `allocate` has its `wait_ms` and 10,000. */
  readonly timeoutMs?: number;
}

export interface AllocateOptions extends CallOptions {
  /**
   * Whether the session is renewed in the background, at about a third of its ttl; default true. A signal renews until
   * it aborts. Without renewing the accounts lapse unless calls about them come in time.
   */
  readonly renew?: boolean | AbortSignal;
}

export interface ReleaseOptions extends CallOptions {
  /** Only these leases; absent: all of them, and the session with them. */
  readonly leases?: NonNullable<ReleaseRequest['leases']>;
}

export interface EventOptions {
  /** Ends the events, without an error. */
  readonly signal?: AbortSignal;
  /** Whether events are flowing; after an outage those missed come first, or a `reset`. */
  readonly onState?: (isConnected: boolean) => void;
}

/** What became of queued reports. */
export interface ReportCounts {
  readonly pending: number;
  /** Given up because more than 1,000 waited; successes of one lease are added up and count as one there. */
  readonly dropped: number;
  /** Not taken by the pool, such as those of another key's session. */
  readonly refused: number;
  readonly lastRefusal: PoolError | undefined;
}

interface Entry {
  readonly held: HeldSession;
  readonly session: AccountSession;
}

/**
 * Borrows accounts from a pool over HTTP and gives them back.
 *
 * Calls throw PoolError; its `code` says why (`no_account_available` with `retryAfterMs` and `shortage`,
 * `pool_unavailable`, `invalid_key`, ...). Only what is safe to repeat is tried again.
 *
 * @example
 * await using pool = new AccountPoolClient({ baseUrl: 'http://localhost:8019' });
 * await using session = await pool.allocate({ provider: 'warp', wait_ms: 5_000 });
 * const { token, account } = await session.token();
 * // call the provider with `Bearer ${token}`, then:
 * session.queueReport(account, 'success');
 */
export class AccountPoolClient {
  readonly #pool: HttpPool;
  readonly #entries = new Map<string, Entry>();
  readonly #blocks = new Map<string, LeaseBlock>();
  readonly #allocating = new BackgroundTasks();
  readonly #ending = new AbortController();
  readonly #reports: ReportQueue;
  readonly #tools: BlockTools & SessionTools;
  readonly #counts = { dropped: 0, refused: 0, lastRefusal: undefined as PoolError | undefined };
  #closing: Promise<void> | undefined;

  constructor(options: AccountPoolClientOptions = {}) {
    this.#pool = createHttpPool({
      ...options,
      baseUrl: options.baseUrl ?? 'http://localhost:8019',
      retry: { retries: options.retries ?? 3, baseMs: options.retryDelayMs ?? 200, maxMs: 5_000 },
    });
    this.#reports = new ReportQueue({
      timing: systemClock,
      send: (sessionId, items, count) => this.#sendQueued(sessionId, items, count),
      onDropped: (count) => {
        this.#counts.dropped += count;
      },
    });
    this.#tools = { timing: systemClock, pool: this.#pool, client: this, reports: this.#reports };
  }

  /** The sessions this client holds, by id. */
  get sessions(): ReadonlyMap<string, AccountSession> {
    return new Map([...this.#entries].map(([id, { session }]) => [id, session]));
  }

  /** What became of the reports of `queueReport`. */
  get reports(): ReportCounts {
    return { pending: this.#reports.pending, ...this.#counts };
  }

  /**
   * Ensures that a session holds `count` accounts that match; without `session_id` a new session. With the id of a
   * session that is held it answers that session, renewed and with the present bearers.
   *
   * @example
   * await using session = await pool.allocate({ provider: 'warp', count: 2, wait_ms: 5_000 });
   */
  async allocate(request: AllocateRequest = {}, options: AllocateOptions = {}): Promise<AccountSession> {
    this.#ending.signal.throwIfAborted();
    return await this.#allocating.add(this.#allocate(request, options));
  }

  /**
   * Accounts for a program that runs many turns at a time. Makes no call until the first `take`.
   *
   * @example
   * await using block = pool.block({ provider: 'warp', count: 4, slots: 8 });
   * using lease = await block.take();
   */
  block(options: BlockOptions): LeaseBlock {
    this.#ending.signal.throwIfAborted();
    const sessionId = options.session_id ?? `block:${randomUUID()}`;
    for (const [id, { isClosed }] of this.#blocks) if (isClosed) this.#blocks.delete(id);
    if (this.#blocks.has(sessionId) || this.#entries.has(sessionId)) {
      throw new PoolError('session_mismatch', `This client holds session "${sessionId}" already.`, {
        param: 'session_id',
      });
    }
    const block = new LeaseBlock(options, sessionId, this.#tools);
    this.#blocks.set(sessionId, block);
    return block;
  }

  /**
   * Gives accounts back. A session the pool does not know (any more) counts as given back.
   *
   * @example
   * await pool.release('job-1');
   */
  async release(session: string | AccountSession, options: ReleaseOptions = {}): Promise<ReleaseAnswer> {
    const sessionId = idOf(session);
    const { leases, signal } = options;
    const entry = this.#entries.get(sessionId);
    if (entry && typeof session !== 'string' && entry.session !== session) return nothingReleased;
    if (leases !== undefined) {
      const answer = await this.#sendRelease({ session_id: sessionId, leases }, signal);
      this.#entries.get(sessionId)?.held.forget(leases);
      return answer;
    }
    if (this.#reports.pending > 0) await this.#reports.flush();
    // Nothing may renew what is on its way back.
    entry?.held.end(releasedError());
    const answer = await this.#sendRelease({ session_id: sessionId }, signal);
    if (entry && this.#entries.get(sessionId) === entry) this.#entries.delete(sessionId);
    return answer;
  }

  /**
   * Tells the pool what became of leased accounts, which also renews the session. Repeating a report id is harmless.
   *
   * @example
   * const { results } = await pool.report('job-1', [
   *   { account_id, fence, token_version, outcome: 'quota_exhausted' },
   * ]);
   */
  report(
    session: string | AccountSession,
    reports: readonly Report[],
    options: CallOptions = {},
  ): Promise<ReportAnswer> {
    const now = systemClock.now();
    return this.#report(
      idOf(session),
      reports.map((report) => complete(report, now)),
      options.signal,
    );
  }

  /**
   * How the pool is doing. Needs the admin key where keys are set.
   *
   * @example
   * const { health, pool_stats } = await pool.status();
   */
  status(options: CallOptions = {}): Promise<StatusAnswer> {
    return this.#pool.status(options.signal);
  }

  /**
   * What happens to accounts, from the first turn of the loop on. It reconnects by itself and goes on where it was; when
   * the pool cannot send what was missed, the loop gets `{ type: 'reset' }`. Ends with the signal, with the loop, or when
   * the client is closed. Throws PoolError `invalid_key` or `forbidden` when the pool refuses the key.
   *
   * @example
   * for await (const news of pool.events({ signal })) {
   *   if (news.type === 'account-changed') console.log(news.account_id, news.status);
   *   else if (news.type === 'reset') console.log(await pool.status());
   * }
   */
  events(options: EventOptions = {}): AsyncGenerator<PoolNews, void, undefined> {
    const ending = this.#ending.signal;
    const signal = options.signal ? AbortSignal.any([options.signal, ending]) : ending;
    return this.#pool.news(options.onState ?? (() => {}), signal);
  }

  /**
   * The same for a listener. Resolves when the events end; rejects with what the listener throws.
   *
   * @example
   * const listening = pool.listen((news) => console.log(news.type), { signal });
   */
  async listen(
    listener: (news: PoolNews) => void | Promise<void>,
    options: EventOptions = {},
  ): Promise<void> {
    for await (const news of this.events(options)) await listener(news);
  }

  /**
   * Sends the reports that wait, gives back everything this client holds and closes its connections.
   *
   * @example
   * await pool.close();
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #allocate(request: AllocateRequest, options: AllocateOptions): Promise<AccountSession> {
    const { signal, renew = true } = options;
    const ending = this.#ending.signal;
    const either = signal ? AbortSignal.any([signal, ending]) : ending;
    const isNew = request.session_id === undefined;
    const sessionId = request.session_id ?? randomUUID();
    const named = { ...request, session_id: sessionId };
    const entry = this.#liveEntry(sessionId) ?? this.#createEntry(named, renew !== false);
    await entry.held.ensureAs(named, either, isNew);
    // Two calls for one session at a time: the first that is answered is the one that is kept.
    const kept = this.#liveEntry(sessionId);
    if (kept !== undefined && kept !== entry) {
      entry.held.end(releasedError());
      await kept.held.ensure({}, either);
      return kept.session;
    }
    this.#entries.set(sessionId, entry);
    if (renew instanceof AbortSignal) {
      if (renew.aborted) entry.held.stopRenewing();
      else renew.addEventListener('abort', () => entry.held.stopRenewing(), { once: true });
    }
    return entry.session;
  }

  /** None for a session whose release is under way or could not be delivered. */
  #liveEntry(sessionId: string): Entry | undefined {
    const entry = this.#entries.get(sessionId);
    return entry?.held.isEnded ? undefined : entry;
  }

  #createEntry(request: AllocateRequest & { session_id: string }, isRenewed: boolean): Entry {
    const held = new HeldSession({ request, pool: this.#pool, timing: systemClock, isRenewed });
    return { held, session: new AccountSession(held, this.#tools) };
  }

  async #sendRelease(request: ReleaseRequest, signal: AbortSignal | undefined): Promise<ReleaseAnswer> {
    try {
      return await this.#pool.release(request, signal);
    } catch (error) {
      if (isPoolError(error, 'session_not_found')) return nothingReleased;
      throw error;
    }
  }

  async #report(
    sessionId: string,
    items: readonly ReportItem[],
    signal?: AbortSignal,
  ): Promise<ReportAnswer> {
    const answer = await this.#pool.report({ session_id: sessionId, reports: [...items] }, signal);
    this.#entries.get(sessionId)?.held.noteReport(answer.results);
    this.#blocks.get(sessionId)?.noteReport(answer.results);
    return answer;
  }

  async #sendQueued(
    sessionId: string,
    items: readonly ReportItem[],
    count: number,
  ): Promise<readonly ReportResult[] | undefined> {
    try {
      return (await this.#report(sessionId, items)).results;
    } catch (error) {
      if (isAway(error)) return undefined;
      this.#counts.refused += count;
      this.#counts.lastRefusal = isPoolError(error)
        ? error
        : new PoolError('internal', String(error), { cause: error });
      return [];
    }
  }

  async #close(): Promise<void> {
    this.#ending.abort(new PoolError('pool_unavailable', 'This client is closed.'));
    // One that the pool has answered already becomes a session, which is then released like the others.
    await this.#allocating.ended();
    try {
      await this.#reports.close();
      await Promise.all([...this.#blocks.values()].map((block) => block.close()));
      const releases = [...this.#entries.keys()].map((id) => this.release(id).catch(ignoreAway));
      await Promise.all(releases);
    } finally {
      for (const { held } of this.#entries.values()) held.end(releasedError());
      this.#entries.clear();
      await this.#pool.close();
    }
  }
}

const nothingReleased: ReleaseAnswer = { success: true, released: 0 };

function idOf(session: string | AccountSession): string {
  return typeof session === 'string' ? session : session.sessionId;
}
