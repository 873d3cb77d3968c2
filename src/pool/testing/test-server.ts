import { request as httpRequest } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { BodyBudget } from '../../lib/http/body-budget.ts';
import { createLogger } from '../../lib/log/logger.ts';
import type { AllocateAnswer } from '../../pool-api/schema.ts';
import type { PoolSettings } from '../base/basics.ts';
import { createPoolServer, type PoolServerOptions } from '../http/server.ts';
import { startTestPool, type TestPool } from './test-pool.ts';

/** The pool's server on a free port, for tests that talk HTTP. */

interface Answer<Body> {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: Body;
}

export interface Running extends TestPool {
  readonly app: FastifyInstance;
  readonly port: number;
  call<Body = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer<Body>>;
  /** Adds an account with this key and answers its id. */
  add(key: string, change?: Record<string, unknown>): Promise<string>;
}

const running: Running[] = [];

export async function startServer(
  settings: Partial<PoolSettings> = {},
  options: Partial<PoolServerOptions> = {},
  given: Parameters<typeof startTestPool>[1] = {},
): Promise<Running> {
  const parts = await startTestPool(settings, given);
  const logger = createLogger('fatal');
  const bodies = new BodyBudget(64 * 1024 * 1024);
  const app = createPoolServer({
    pool: parts.pool,
    bodies,
    logger,
    facts: () => Promise.reject(new Error('no test asks for it')),
    allowedHosts: [],
    ...options,
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const address = app.server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const call = <Body>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    new Promise<Answer<Body>>((resolve, reject) => {
      const sent = httpRequest({ host: '127.0.0.1', port, method, path, headers }, (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: JSON.parse(text) as Body,
          }),
        );
      });
      sent.on('error', reject);
      sent.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
    });
  const service: Running = {
    ...parts,
    app,
    port,
    call,
    async add(key, change = {}) {
      const { body } = await call<{ account: { id: string } }>('POST', '/api/accounts', {
        provider: 'warp',
        api_key: key,
        ...change,
      });
      return body.account.id;
    },
  };
  running.push(service);
  return service;
}

/** Closes what the test started. */
export async function closeServers(): Promise<void> {
  for (const service of running.splice(0)) {
    await service.app.close();
    await service.pool.close();
  }
}

export const allocate = '/api/accounts/allocate';
export const report = '/api/accounts/report';

export function reportOf(lease: AllocateAnswer, outcome: string, change: Record<string, unknown> = {}) {
  const account = lease.accounts[0];
  return {
    session_id: lease.session_id,
    reports: [
      {
        report_id: `r-${Math.random()}`,
        account_id: account?.id,
        fence: account?.fence,
        token_version: account?.token_version,
        outcome,
        at: '2026-01-01T00:00:00Z',
        ...change,
      },
    ],
  };
}
