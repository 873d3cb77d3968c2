/** The public client library of the account pool: `warp2api/pool-client`. */
import { randomUUID } from 'node:crypto';
import { PoolError } from './errors.ts';
import { createTransport, type Transport } from './http-transport.ts';
import { createPoolCalls, type PoolCalls } from './pool-calls.ts';
import type {
  AllocateAnswer,
  AllocateRequest,
  LeasedAccount,
  ReleaseAnswer,
  ReleaseRequest,
  ReportAnswer,
  ReportItem,
  StatusAnswer,
} from './schema.ts';

export { PoolError, type PoolErrorCode } from './errors.ts';
export type {
  AccountState,
  AllocateRequest,
  LeasedAccount,
  ReleaseAnswer,
  ReleaseRequest,
  ReportAnswer,
  ReportItem,
  Shortage,
  StatusAnswer,
} from './schema.ts';

export interface AccountPoolClientOptions {
  /** Where the pool is; default `http://localhost:8019`. */
  readonly baseUrl?: string | URL;
  /** The pool's POOL_API_KEY (or ADMIN_KEY); absent where the pool asks for none. */
  readonly apiKey?: string | undefined;
  /** Further tries after a connection failed or while the pool restarts; default 3. */
  readonly retries?: number;
  /** The wait before the first retry in milliseconds, doubled with each, partly random; default 200. */
  readonly retryDelayMs?: number;
  /** Milliseconds one call may take; default 10,000. `allocate` has its `wait_ms` and 10,000. */
  readonly timeoutMs?: number;
}

export interface CallOptions {
  /** Ends the call and its retries; the call then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface ReleaseOptions extends CallOptions {
  /** Only these leases; absent: all of them, and the session with them. */
  readonly leases?: NonNullable<ReleaseRequest['leases']>;
}

/** What a turn did to an account. The id and the time are filled in when absent. */
export type Report = Omit<ReportItem, 'report_id' | 'at'> & Partial<Pick<ReportItem, 'report_id' | 'at'>>;

/** Accounts held until `release()`, until the end of an `await using` block, or until nobody used them for a while. */
export class AccountSession {
  readonly sessionId: string;
  /** When the pool takes the accounts back unless a call renews the session. */
  readonly expiresAt: Date;
  readonly accounts: readonly LeasedAccount[];
  /** False when the session was there before this call. */
  readonly created: boolean;
  readonly #client: AccountPoolClient;

  /** Made by `AccountPoolClient.allocate`. */
  constructor(client: AccountPoolClient, answer: AllocateAnswer) {
    this.#client = client;
    this.sessionId = answer.session_id;
    this.expiresAt = new Date(answer.expires_at);
    this.accounts = answer.accounts;
    this.created = answer.created;
  }

  /** Gives the accounts back. Doing it twice is harmless. */
  release(options: CallOptions = {}): Promise<ReleaseAnswer> {
    return this.#client.release(this, options);
  }

  /** Tells the pool what became of the accounts, which also renews the session. */
  report(reports: readonly Report[], options: CallOptions = {}): Promise<ReportAnswer> {
    return this.#client.report(this, reports, options);
  }

  /** Like `release`, but quiet when the pool is away: the leases then lapse at `expiresAt`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.release(this).catch(ignoreUnavailable);
  }
}

/**
 * Borrows accounts from a pool over HTTP and gives them back.
 *
 * Calls throw PoolError; its `code` says why (`no_account_available` with `retryAfterMs` and `shortage`,
 * `pool_unavailable`, `invalid_key`, ...).
 *
 * @example
 * await using pool = new AccountPoolClient({ baseUrl: 'http://localhost:8019' });
 * await using session = await pool.allocate({ provider: 'warp', wait_ms: 5_000 });
 * const [account] = session.accounts;
 * // call the provider with `Bearer ${account.id_token}`, then:
 * await session.report([
 *   { account_id: account.id, fence: account.fence, token_version: account.token_version, outcome: 'success' },
 * ]);
 */
export class AccountPoolClient {
  readonly #transport: Transport;
  readonly #calls: PoolCalls;
  readonly #sessions = new Map<string, AccountSession>();
  readonly #allocating = new Set<Promise<AccountSession>>();
  readonly #ending = new AbortController();
  #closing: Promise<void> | undefined;

  constructor(options: AccountPoolClientOptions = {}) {
    this.#transport = createTransport({
      baseUrl: options.baseUrl ?? 'http://localhost:8019',
      apiKey: options.apiKey,
    });
    this.#calls = createPoolCalls(this.#transport, {
      timeoutMs: options.timeoutMs ?? 10_000,
      retry: { retries: options.retries ?? 3, baseMs: options.retryDelayMs ?? 200, maxMs: 5_000 },
    });
  }

  /** The sessions this client holds, by id. */
  get sessions(): ReadonlyMap<string, AccountSession> {
    return this.#sessions;
  }

  /**
   * Ensures that a session holds `count` accounts that match; without `session_id` a new session.
   * With the id of a session that is held, it renews that session and brings the present bearers.
   */
  async allocate(request: AllocateRequest = {}, options: CallOptions = {}): Promise<AccountSession> {
    const { signal } = options;
    const ending = this.#ending.signal;
    ending.throwIfAborted();
    const running = this.#allocate(request, signal ? AbortSignal.any([signal, ending]) : ending);
    this.#allocating.add(running);
    try {
      return await running;
    } finally {
      this.#allocating.delete(running);
    }
  }

  /** Gives accounts back. A session the pool does not know (any more) counts as given back. */
  async release(session: string | AccountSession, options: ReleaseOptions = {}): Promise<ReleaseAnswer> {
    const sessionId = idOf(session);
    const { leases, signal } = options;
    const request = leases === undefined ? { session_id: sessionId } : { session_id: sessionId, leases };
    const answer = await this.#calls.release(request, signal).catch((error: unknown) => {
      if (error instanceof PoolError && error.code === 'session_not_found') return undefined;
      throw error;
    });
    if (leases === undefined || answer === undefined) this.#sessions.delete(sessionId);
    return answer ?? { success: true, released: 0 };
  }

  /** Tells the pool what became of leased accounts, which also renews the session. Repeating a report id is harmless. */
  report(
    session: string | AccountSession,
    reports: readonly Report[],
    options: CallOptions = {},
  ): Promise<ReportAnswer> {
    const at = new Date().toISOString();
    const items = reports.map((report) => ({
      ...report,
      report_id: report.report_id ?? randomUUID(),
      at: report.at ?? at,
    }));
    return this.#calls.report({ session_id: idOf(session), reports: items }, options.signal);
  }

  /** How the pool is doing. */
  status(options: CallOptions = {}): Promise<StatusAnswer> {
    return this.#calls.status(options.signal);
  }

  /** Gives back every session this client holds and closes its connections. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #allocate(request: AllocateRequest, signal: AbortSignal): Promise<AccountSession> {
    const session = new AccountSession(this, await this.#calls.allocate(request, signal));
    this.#sessions.set(session.sessionId, session);
    return session;
  }

  async #close(): Promise<void> {
    this.#ending.abort(new PoolError('pool_unavailable', 'This client is closed.'));
    // One that the pool has answered already becomes a session, which is then released like the others.
    await Promise.allSettled(this.#allocating);
    try {
      const releases = [...this.#sessions.keys()].map((id) => this.release(id).catch(ignoreUnavailable));
      await Promise.all(releases);
      await this.#calls.settle();
    } finally {
      this.#transport.close();
    }
  }
}

function idOf(session: string | AccountSession): string {
  return typeof session === 'string' ? session : session.sessionId;
}

function ignoreUnavailable(error: unknown): void {
  const isAway =
    error instanceof PoolError && (error.code === 'pool_unavailable' || error.code === 'shutting_down');
  if (!isAway) throw error;
}
