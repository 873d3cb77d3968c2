import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { systemClock } from '../lib/clock.ts';
import {
  accountAnswer,
  accountDetailsAnswer,
  importAnswer,
  listAnswer,
  listQuery,
  loginAnswer,
  removeAnswer,
} from './account-schema.ts';
import { isAway, NoAnswerError, PoolError, type RetryPolicy, retryDelayMs, withRetries } from './errors.ts';
import { followEvents, readNews } from './event-stream.ts';
import { type Call, createTransport, type TransportOptions } from './http-transport.ts';
import {
  auditAnswer,
  auditQuery,
  refreshTokensAnswer,
  replenishAnswer,
  sessionsAnswer,
  sessionsQuery,
  statusAnswer,
} from './owner-schema.ts';
import type { AllocateCall, Pool, PoolAdmin, PoolHealth } from './pool.ts';
import {
  type AllocateAnswer,
  type AllocateRequest,
  allocateAnswer,
  type EligibleRequest,
  eligibleAnswer,
  healthAnswer,
  type PoolEvent,
  type ReleaseAnswer,
  type ReleaseRequest,
  type ReportRequest,
  releaseAnswer,
  reportAnswer,
} from './schema.ts';

export interface HttpPoolOptions extends TransportOptions {
  /** For calls that do not wait at the pool; default 10 s. */
  readonly timeoutMs?: number;
  readonly retry?: RetryPolicy;
  /** Silence after which the event stream counts as dead; default 60 s. */
  readonly eventSilenceMs?: number;
}

const defaultTimeoutMs = 10_000;
/** The pool takes `wait_ms` to find a place; this much more for the way there and back. */
const allocateGraceMs = 10_000;
/** Every account of an import is tried at its provider, and so are those of a source and those that are refreshed. */
const longTimeoutMs = 900_000;
const healthTimeoutMs = 2_000;
/** A credential is tried at its provider: 10 s for a refresh, 5 for the question that proves it. */
const tryTimeoutMs = 25_000;
/** The provider is asked before it is answered. */
const startLoginTimeoutMs = 15_000;
/** One quick retry bridges a connection the pool closed just now; longer outages are the caller's to handle. */
const quickRetry = { retries: 1, baseMs: 100, maxMs: 200 };

/** A gateway's health has nearly the same fields, and `pool` beside them. */
const poolHealth = z
  .looseObject(healthAnswer.shape)
  .refine((answer) => !('pool' in answer), 'is the health of a gateway');
const unreachable: PoolHealth = {
  isReachable: false,
  isSandbox: false,
  providers: undefined,
  gatewayOnly: 0,
};

export type HttpPool = ReturnType<typeof createHttpPool>;

/**
 * The pool behind HTTP, for a borrower in another process. Each call is made so that it can be repeated without doing
 * anything twice.
 *
 * @example
 * const pool = createHttpPool({ baseUrl: 'http://127.0.0.1:8019' });
 * const { accounts } = await pool.allocate({ provider: 'warp' });
 */
export function createHttpPool(options: HttpPoolOptions) {
  const transport = createTransport(options);
  const { timeoutMs = defaultTimeoutMs, retry = quickRetry, eventSilenceMs } = options;
  const closing = new AbortController();

  const repeat = <T>(call: Call, answer: z.ZodType<T>): Promise<T> =>
    withRetries(retry, true, call.signal, () => transport.exchange({ timeoutMs, ...call }, answer));
  const giveBack = (body: ReleaseRequest, signal?: AbortSignal) =>
    repeat({ method: 'POST', path: '/api/accounts/release', body, signal }, releaseAnswer);
  const pending = new PendingReleases((sessionId) => giveBack({ session_id: sessionId }));

  return {
    /** Without `session_id` it makes one, and gives back what may have been lent when the call fails. */
    async allocate(
      request: AllocateRequest,
      signal?: AbortSignal,
      { isNew = request.session_id === undefined, trace }: AllocateCall = {},
    ): Promise<AllocateAnswer> {
      // The id is made here, so that a repeated call finds the session of the first instead of leasing twice.
      const sessionId = request.session_id ?? randomUUID();
      if (request.session_id !== undefined) await pending.forget(sessionId);
      const deadline = performance.now() + (request.wait_ms ?? 0);
      let mayHaveLent = false;
      const attempt = () => {
        // A further try waits for what is left, so that the caller waits no longer than it said.
        const waitMs = Math.max(0, Math.floor(deadline - performance.now()));
        const wait = request.wait_ms === undefined ? {} : { wait_ms: Math.min(request.wait_ms, waitMs) };
        const call = {
          method: 'POST',
          path: '/api/accounts/allocate',
          body: { ...request, ...wait, session_id: sessionId },
          timeoutMs: waitMs + allocateGraceMs,
          signal,
          ...(trace && { headers: { ...trace } }),
        } as const;
        return transport.exchange(call, allocateAnswer).catch((error: unknown) => {
          // The last try may surely not have arrived, and the one before it have lent something.
          mayHaveLent ||= mayHaveArrived(error, signal);
          throw error;
        });
      };
      try {
        return await withRetries(retry, true, signal, attempt);
      } catch (error) {
        // The pool may have lent something whose session id no caller knows.
        if (isNew && mayHaveLent) pending.add(sessionId);
        throw error;
      }
    },
    eligible: (body: EligibleRequest) =>
      transport.exchange({ method: 'POST', path: '/api/accounts/eligible', body, timeoutMs }, eligibleAnswer),
    /** One that fails because the pool is unreachable is repeated until it gets an answer, or the id is used for something else. */
    async release(request: ReleaseRequest, signal?: AbortSignal): Promise<ReleaseAnswer> {
      try {
        return await giveBack(request, signal);
      } catch (error) {
        if (isAway(error) && request.leases === undefined) pending.add(request.session_id);
        throw error;
      }
    },
    report: (body: ReportRequest, signal?: AbortSignal) =>
      repeat({ method: 'POST', path: '/api/accounts/report', body, signal }, reportAnswer),
    status: (signal?: AbortSignal) =>
      repeat({ method: 'GET', path: '/api/accounts/status', signal }, statusAnswer),
    subscribe(
      onEvent: (event: PoolEvent) => void,
      onState: (isConnected: boolean) => void,
      signal: AbortSignal,
    ): void {
      const either = AbortSignal.any([signal, closing.signal]);
      void followEvents(transport, eventSilenceMs, onEvent, onState, either);
    },
    /** The same for a loop. */
    news: (onState: (isConnected: boolean) => void, signal: AbortSignal) =>
      readNews(transport, { onState, signal }),
    async health(): Promise<PoolHealth> {
      const call = { method: 'GET', path: '/health', timeoutMs: healthTimeoutMs } as const;
      const answer = await transport.exchange(call, poolHealth).catch(() => undefined);
      if (answer === undefined) return unreachable;
      const lacksStore = answer.store?.reachable === false;
      return {
        isReachable: !lacksStore,
        ...(lacksStore && { lacksStore }),
        isSandbox: answer.sandbox,
        providers: answer.providers,
        accounts: answer.accounts,
        caller: answer.caller,
        gatewayOnly: answer.gateway_only_accounts ?? 0,
        isReadOnly: answer.store && !answer.store.writable,
      };
    },
    /** Tries once more to give back what could not be given back. */
    async close() {
      closing.abort();
      await pending.close();
      transport.close();
    },
  } satisfies Pool & Record<string, unknown>;
}

/** The owner's side of a pool behind HTTP; `apiKey` is the ADMIN_KEY where one is set. */
export function createHttpPoolAdmin(options: HttpPoolOptions): PoolAdmin & { close(): Promise<void> } {
  const transport = createTransport(options);
  const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
  const tryMs = options.timeoutMs ?? tryTimeoutMs;

  const send = <T>(
    method: Call['method'],
    path: string,
    body: unknown,
    schema: z.ZodType<T>,
    limitMs = timeoutMs,
  ) =>
    withRetries(quickRetry, method === 'GET', undefined, () =>
      transport.exchange({ method, path, body, timeoutMs: limitMs }, schema),
    );
  const get = <T>(path: string, schema: z.ZodType<T>) => send('GET', path, undefined, schema);
  /** Never repeated: the pool may be at it for minutes. */
  const run = <T>(path: string, body: object, schema: z.ZodType<T>) =>
    transport.exchange({ method: 'POST', path, body, timeoutMs: longTimeoutMs }, schema);

  return {
    addAccount: async (body) => (await send('POST', '/api/accounts', body, accountAnswer, tryMs)).account,
    listAccounts: (query) => get(`/api/accounts${queryText(query, listQuery)}`, listAnswer),
    getAccount: async (id) => (await get(accountPath(id), accountDetailsAnswer)).account,
    changeAccount: async (id, body) =>
      (await send('PATCH', accountPath(id), body, accountAnswer, tryMs)).account,
    removeAccount: async (id) => void (await send('DELETE', accountPath(id), undefined, removeAnswer)),
    importAccounts: (request) => run('/api/accounts/import', request, importAnswer),
    async exportAccounts(body) {
      const answer = await transport.open({ method: 'POST', path: '/api/accounts/export', body });
      answer.setEncoding('utf8');
      return answer as AsyncIterable<string>;
    },
    startLogin: async (body) =>
      (await send('POST', '/api/logins', body, loginAnswer, startLoginTimeoutMs)).login,
    getLogin: async (id) => (await get(`/api/logins/${encodeURIComponent(id)}`, loginAnswer)).login,
    replenish: (request) => run('/api/accounts/replenish', request, replenishAnswer),
    refreshTokens: (request) => run('/api/accounts/refresh-tokens', request, refreshTokensAnswer),
    listSessions: (query) => get(`/api/sessions${queryText(query, sessionsQuery)}`, sessionsAnswer),
    releaseSession: async (id) =>
      (await send('POST', '/api/accounts/release', { session_id: id }, releaseAnswer)).released,
    status: () => get('/api/accounts/status', statusAnswer),
    audit: (query) => get(`/api/audit${queryText(query, auditQuery)}`, auditAnswer),
    close: async () => transport.close(),
  };
}

function accountPath(id: string): string {
  return `/api/accounts/${encodeURIComponent(id)}`;
}

/** What the schema knows of `query`, as the end of an address. */
function queryText(query: Readonly<Record<string, unknown>>, { shape }: z.ZodObject): string {
  const given = Object.keys(shape).filter((name) => query[name] !== undefined);
  const parameters = new URLSearchParams(given.map((name) => [name, String(query[name])]));
  return parameters.size === 0 ? '' : `?${parameters}`;
}

const firstReleaseRetryMs = 250;
const longestReleaseRetryMs = 5_000;

function mayHaveArrived(error: unknown, signal: AbortSignal | undefined): boolean {
  if (signal?.aborted) return true;
  if (error instanceof NoAnswerError) return error.sent === 'maybe';
  return !(error instanceof PoolError);
}

/** Sessions that could not be released, or that the pool may have made for a call that failed: retried until it answers. */
class PendingReleases {
  readonly #release: (sessionId: string) => Promise<unknown>;
  readonly #pending = new Set<string>();
  #failures = 0;
  #running: Promise<void> | undefined;
  #cancel = () => {};

  constructor(release: (sessionId: string) => Promise<unknown>) {
    this.#release = release;
  }

  /** This session has to be released, now or when the pool can be reached again. */
  add(sessionId: string): void {
    this.#pending.add(sessionId);
    void this.#run();
  }

  /** The id is used again. Resolves when no release of it is under way. */
  async forget(sessionId: string): Promise<void> {
    if (this.#pending.delete(sessionId)) await this.#running;
  }

  /** Tries once more and stops. */
  async close(): Promise<void> {
    await this.#running;
    if (this.#pending.size > 0) await this.#run();
    this.#pending.clear();
    this.#cancel();
  }

  #run(): Promise<void> {
    this.#cancel();
    this.#running ??= this.#tryAll().finally(() => {
      this.#running = undefined;
      if (this.#pending.size === 0) return;
      this.#cancel();
      const delayMs = retryDelayMs(this.#failures, firstReleaseRetryMs, longestReleaseRetryMs);
      this.#cancel = systemClock.after(delayMs, () => void this.#run());
    });
    return this.#running;
  }

  async #tryAll(): Promise<void> {
    for (const sessionId of [...this.#pending]) {
      if (!this.#pending.has(sessionId)) continue;
      try {
        await this.#release(sessionId);
      } catch (error) {
        if (isAway(error)) {
          this.#failures += 1;
          return;
        }
        // A session the pool does not know is what was wanted; another refusal does not change by repeating.
      }
      this.#failures = 0;
      this.#pending.delete(sessionId);
    }
  }
}
