import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { type Sandbox, startSandbox } from '../sandbox/index.ts';
import type { Account } from '../src/pool-api/account-schema.ts';
import { startPoolAhead } from './support/pool-ahead.ts';
import { type ServiceProcess, startProcess } from './support/process.ts';
import { eventually } from './support/services.ts';

/** Whatever moment a pool is killed at: the account works or says why not, and nobody asked twice within the hour. */

type Pool = Pick<ServiceProcess, 'url'>;

const hour = 3600;
const email = 'me@example.com';
let folder: string;
let sandbox: Sandbox;
let ahead: number;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warp2api-refresh-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  sandbox = await startSandbox();
  onTestFinished(() => sandbox.close());
  ahead = 0;
});

const environment = () => ({
  DATA_DIR: folder,
  WARP_SERVER_URL: sandbox.url,
  WARP_TOKEN_URL: sandbox.url,
  WARP_IDENTITY_URL: sandbox.url,
  WARP_FIREBASE_API_KEY: 'key',
  POOL_SERVICE_PORT: '0',
  SANDBOX: 'off',
});

/** The pool as a process that can be killed, its clock as far ahead as the sandbox's. */
function startPool(dyingAt = ''): Promise<ServiceProcess> {
  const entry = fileURLToPath(new URL('./support/dying-pool.ts', import.meta.url));
  return startProcess([String(ahead * 1000), dyingAt, 'pool'], environment(), folder, entry);
}

/** The pool in this process, for what is seen after that. */
async function openPool(): Promise<Pool & AsyncDisposable> {
  const services = await startPoolAhead({ ...environment(), LOG_LEVEL: 'FATAL' }, ahead * 1000);
  return { url: services.poolUrl ?? '', [Symbol.asyncDispose]: () => services.close() };
}

function passSeconds(seconds: number): void {
  ahead += seconds;
  sandbox.tokens.advance(seconds);
}

async function call<Answer>(pool: Pool, path: string, body?: unknown): Promise<Answer> {
  const answer = await fetch(`${pool.url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return (await answer.json()) as Answer;
}

async function account(pool: Pool): Promise<Account> {
  const { accounts } = await call<{ accounts: Account[] }>(pool, '/api/accounts');
  return accounts[0] as Account;
}

function settled(pool: Pool): Promise<Account> {
  return eventually('the refresh has ended', async () => {
    const seen = await account(pool);
    const isWaiting =
      seen.status_until !== null && Date.parse(seen.status_until) < Date.now() + ahead * 1000 + 20_000;
    return isWaiting ? undefined : seen;
  });
}

async function bearerWorks(pool: Pool): Promise<boolean> {
  const { accounts } = await call<{ accounts: { id_token: string }[] }>(pool, '/api/accounts/allocate', {});
  const answer = await fetch(`${sandbox.url}/graphql/v2?op=GetRequestLimitInfo`, {
    method: 'POST',
    headers: { authorization: `Bearer ${accounts[0]?.id_token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ operationName: 'GetRequestLimitInfo', query: 'query {}', variables: {} }),
  });
  return answer.status === 200;
}

/** Adds the account to a pool that dies over its first refresh. */
async function dieOver(step: string): Promise<void> {
  const { refreshToken } = sandbox.tokens.addAccount({ email });
  const dying = await startPool(step);
  const exited = once(dying.child, 'exit');
  const body = { provider: 'warp', refresh_token: refreshToken, email };
  await expect(call(dying, '/api/accounts', body)).rejects.toThrow();
  expect((await exited)[1]).toBe('SIGKILL');
}

const seen = () => sandbox.tokens.account(email);

describe('a pool killed over a refresh', () => {
  test.each(['begun', 'committed'])('at "%s" works as soon as it is back', async (step) => {
    await dieOver(step);
    const pool = await startPool();
    expect(await settled(pool)).toMatchObject({ status: 'active', token_version: 2, refresh_failure: null });
    expect(await bearerWorks(pool)).toBe(true);
    expect(seen()).toMatchObject({ asked: 1, issued: 1, misuse: 0 });
    await pool.kill('SIGTERM');

    // The rotated refresh token was kept as well.
    passSeconds(hour + 1);
    await using later = await openPool();
    expect(await eventually('the next refresh', async () => (await account(later)).token_version === 3)).toBe(
      true,
    );
    expect(await bearerWorks(later)).toBe(true);
    expect(seen()).toMatchObject({ asked: 2, issued: 2, misuse: 0, maxIssuedPerWindow: 1 });
  });

  test.each(['claimed', 'asking'])('at "%s" waits for the ceiling, and then works', async (step) => {
    await dieOver(step);
    for (const at of [0, hour - 180]) {
      passSeconds(at);
      const pool = await startPool();
      expect(await settled(pool)).toMatchObject({
        status: 'cooldown',
        status_reason: 'token_pending',
        refresh_failure: { failure: 'interrupted' },
      });
      expect(seen()).toMatchObject({ asked: 0 });
      await pool.kill('SIGKILL');
    }
    passSeconds(181);
    await using pool = await openPool();
    expect(await settled(pool)).toMatchObject({ status: 'active', refresh_failure: null });
    expect(await bearerWorks(pool)).toBe(true);
    expect(seen()).toMatchObject({ asked: 1, issued: 1, misuse: 0 });
  });

  test.each([
    ['never', 'active', null],
    ['always', 'reauth_required', 'refresh_interrupted'],
  ] as const)(
    'after the answer, tokens rotating %s, ends an hour later as %s',
    async (rotation, status, reason) => {
      sandbox.tokens.set({ rotation });
      await dieOver('answered');
      expect(seen()).toMatchObject({ asked: 1, issued: 1 });
      passSeconds(hour - 180);
      const early = await startPool();
      expect(await settled(early)).toMatchObject({
        status: 'cooldown',
        refresh_failure: { failure: 'interrupted' },
      });
      await early.kill('SIGKILL');
      expect(seen()).toMatchObject({ asked: 1 });
      // It counts from its limit of a minute: when it was asked is not known.
      passSeconds(180 + 61);
      const pool = await startPool();
      expect(await settled(pool)).toMatchObject({ status, status_reason: reason });
      expect(seen()).toMatchObject({ asked: 2, maxIssuedPerWindow: 1 });
      await pool.kill('SIGKILL');
      // What is given up is given up: nobody asks again.
      passSeconds(hour);
      if (status !== 'reauth_required') return;
      await using last = await openPool();
      expect(await settled(last)).toMatchObject({ status });
      expect(seen()).toMatchObject({ asked: 2 });
    },
  );

  test('while the endpoint is thinking counts that call, whatever came of it', async () => {
    sandbox.tokens.set({ rotation: 'never' });
    sandbox.tokens.fail({ kind: 'hang-after' });
    const { refreshToken } = sandbox.tokens.addAccount({ email });
    const dying = await startPool();
    const adding = call(dying, '/api/accounts', { provider: 'warp', refresh_token: refreshToken, email });
    const broken = expect(adding).rejects.toThrow();
    await eventually('the call', () => seen()?.asked === 1);
    await dying.kill('SIGKILL');
    await broken;
    const pool = await startPool();
    expect(await settled(pool)).toMatchObject({
      status: 'cooldown',
      refresh_failure: { failure: 'interrupted' },
    });
    await pool.kill('SIGKILL');
    expect(seen()).toMatchObject({ asked: 1 });
    passSeconds(hour + 1);
    await using later = await openPool();
    expect(await settled(later)).toMatchObject({ status: 'active' });
    expect(seen()).toMatchObject({ asked: 2, maxIssuedPerWindow: 1 });
  });
});
