import { z } from 'zod';
import { eligibleAnswer } from './eligible.ts';
import { type Call, createTransport } from './http-transport.ts';
import type { Pool, PoolAdmin } from './pool.ts';
import { createPoolCalls } from './pool-calls.ts';
import { withRetries } from './retry.ts';
import {
  accountAnswer,
  accountDetailsAnswer,
  auditAnswer,
  auditQuery,
  healthAnswer,
  importAnswer,
  listAnswer,
  listQuery,
  loginAnswer,
  refreshTokensAnswer,
  releaseAnswer,
  replenishAnswer,
  sessionsAnswer,
  sessionsQuery,
  statusAnswer,
} from './schema.ts';

export interface HttpPoolOptions {
  /** Where the pool is, such as `http://127.0.0.1:8019`. */
  readonly baseUrl: string | URL;
  /** POOL_API_KEY for borrowing, ADMIN_KEY for everything; absent where the pool asks for none. */
  readonly apiKey?: string | undefined;
  /** GATEWAY_KEY, by which the pool knows a gateway; shown beside `apiKey`. */
  readonly gatewayKey?: string | undefined;
  /** A Unix domain socket of the pool, in place of the host and port of `baseUrl`. */
  readonly socketPath?: string | undefined;
  /** For calls that do not wait at the pool; default 10 s. */
  readonly timeoutMs?: number;
  /** Silence after which the event stream counts as dead; default 60 s. */
  readonly eventSilenceMs?: number;
}

const defaultTimeoutMs = 10_000;
/** Every account of an import is tried at its provider, and so are those of a source and those that are refreshed. */
const longTimeoutMs = 900_000;
/** A gateway's health has nearly the same fields, and `pool` beside them. */
const poolHealth = z
  .looseObject(healthAnswer.shape)
  .refine((answer) => !('pool' in answer), 'is the health of a gateway');
const healthTimeoutMs = 2_000;
/** A credential is tried at its provider: 10 s for a refresh, 5 for the question that proves it. */
const tryTimeoutMs = 25_000;
const startLoginTimeoutMs = 15_000;
/** One quick retry bridges a connection the pool closed just now; longer outages are the caller's to handle. */
const quickRetry = { retries: 1, baseMs: 100, maxMs: 200 };

/**
 * The pool behind HTTP, for a caller in another process.
 *
 * @example
 * const pool = createHttpPool({ baseUrl: 'http://127.0.0.1:8019' });
 * const { accounts } = await pool.allocate({ provider: 'warp' });
 */
export function createHttpPool(options: HttpPoolOptions): Pool & { close(): Promise<void> } {
  const transport = createTransport(options);
  const { timeoutMs = defaultTimeoutMs, eventSilenceMs } = options;
  const calls = createPoolCalls(transport, { timeoutMs, eventSilenceMs, retry: quickRetry });
  const closing = new AbortController();

  return {
    allocate: calls.allocate,
    eligible: (body) =>
      transport.exchange({ method: 'POST', path: '/api/accounts/eligible', body, timeoutMs }, eligibleAnswer),
    release: calls.release,
    report: calls.report,
    subscribe: (onEvent, onState, signal) =>
      calls.subscribe(onEvent, onState, AbortSignal.any([signal, closing.signal])),
    async health() {
      try {
        const call = { method: 'GET', path: '/health', timeoutMs: healthTimeoutMs } as const;
        const answer = await transport.exchange(call, poolHealth);
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
      } catch {
        return {
          isReachable: false,
          isSandbox: false,
          providers: undefined,
          caller: undefined,
          gatewayOnly: 0,
          isReadOnly: undefined,
        };
      }
    },
    async close() {
      closing.abort();
      await calls.settle();
      transport.close();
    },
  };
}

/** The owner's side of a pool behind HTTP; `apiKey` is the ADMIN_KEY where one is set. */
export function createHttpPoolAdmin(options: HttpPoolOptions): PoolAdmin & { close(): Promise<void> } {
  const transport = createTransport(options);
  const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
  const tryMs = options.timeoutMs ?? tryTimeoutMs;

  function exchange<T>(call: Call, schema: z.ZodType<T>): Promise<T> {
    const repeatable = call.method === 'GET';
    return withRetries(quickRetry, repeatable, undefined, () =>
      transport.exchange({ timeoutMs, ...call }, schema),
    );
  }
  const get = <T>(path: string, schema: z.ZodType<T>) => exchange({ method: 'GET', path }, schema);
  /** Never repeated: the pool may be at it for minutes. */
  const run = <T>(path: string, body: object, schema: z.ZodType<T>) =>
    transport.exchange({ method: 'POST', path, body, timeoutMs: longTimeoutMs }, schema);

  return {
    async addAccount(body) {
      const call = { method: 'POST', path: '/api/accounts', body, timeoutMs: tryMs } as const;
      return (await exchange(call, accountAnswer)).account;
    },
    listAccounts: (query) => get(`/api/accounts${queryText(query, listQuery)}`, listAnswer),
    getAccount: async (id) => (await get(accountPath(id), accountDetailsAnswer)).account,
    async changeAccount(id, body) {
      const call = { method: 'PATCH', path: accountPath(id), body, timeoutMs: tryMs } as const;
      return (await exchange(call, accountAnswer)).account;
    },
    removeAccount(id) {
      const call = { method: 'DELETE', path: accountPath(id), timeoutMs } as const;
      return withRetries(quickRetry, false, undefined, () => transport.exchangeBlind(call));
    },
    importAccounts: (request) => run('/api/accounts/import', request, importAnswer),
    async exportAccounts(request) {
      const call = { method: 'POST', path: '/api/accounts/export', body: request } as const;
      const answer = await transport.open(call);
      answer.setEncoding('utf8');
      return answer as AsyncIterable<string>;
    },
    async startLogin(login) {
      // The provider is asked before it is answered.
      const timeoutMs = startLoginTimeoutMs;
      const call = { method: 'POST', path: '/api/logins', body: login, timeoutMs } as const;
      return (await exchange(call, loginAnswer)).login;
    },
    getLogin: async (id) => (await get(`/api/logins/${encodeURIComponent(id)}`, loginAnswer)).login,
    replenish: (request) => run('/api/accounts/replenish', request, replenishAnswer),
    refreshTokens: (request) => run('/api/accounts/refresh-tokens', request, refreshTokensAnswer),
    listSessions: (query) => get(`/api/sessions${queryText(query, sessionsQuery)}`, sessionsAnswer),
    async releaseSession(id) {
      const call = { method: 'POST', path: '/api/accounts/release', body: { session_id: id } } as const;
      return (await exchange(call, releaseAnswer)).released;
    },
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
