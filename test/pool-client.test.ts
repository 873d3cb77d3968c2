import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { AccountPoolClient, isPoolError, type LeasedAccount } from '../src/pool-api/client.ts';
import { poolErrorCodes } from '../src/pool-api/errors.ts';
import { type ServiceProcess, startProcess } from './support/process.ts';
import { eventually } from './support/services.ts';

/** The client library against a pool in a process of its own. */

async function setUp(accountCount: number, environment: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-pool-client-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const port = await findFreePort();
  const start = () =>
    startProcess(
      ['serve', 'pool'],
      { DATA_DIR: folder, WARP_SERVER_URL: upstream.url, POOL_SERVICE_PORT: String(port), ...environment },
      folder,
    );
  const pool = await start();
  const authorization = `Bearer ${environment['ADMIN_KEY']}`;
  for (let number = 0; number < accountCount; number += 1) {
    const body = JSON.stringify({ provider: 'warp', api_key: `wk-${number}.abc`, capacity: 8 });
    const answer = await fetch(`${pool.url}/api/accounts`, {
      method: 'POST',
      body,
      headers: { authorization },
    });
    expect(answer.status).toBe(201);
  }
  return { pool, start };
}

/** Fails as soon as two hold an account alone, or a fence does not grow. */
function createReferee() {
  const users = new Map<string, number>();
  const fences = new Map<string, number>();
  const faults: string[] = [];
  return {
    faults,
    async use({ id, fence, slots }: LeasedAccount, work: () => Promise<void>): Promise<void> {
      const now = (users.get(id) ?? 0) + 1;
      users.set(id, now);
      if (now > slots) faults.push(`${now} turns on ${id}, which has ${slots} slots`);
      if (fence < (fences.get(id) ?? 0)) faults.push(`${id}: fence ${fence} came after ${fences.get(id)}`);
      fences.set(id, fence);
      await work();
      users.set(id, (users.get(id) ?? 1) - 1);
    },
  };
}

test('twenty callers work through two kills of the pool: they wait or hear pool_unavailable, and nothing stays lent', async () => {
  const { pool: first, start } = await setUp(8);
  const events: string[] = [];
  const client = new AccountPoolClient({ baseUrl: first.url });
  const stopListening = new AbortController();
  const listening = client.listen((news) => void events.push(news.type), { signal: stopListening.signal });
  const referee = createReferee();
  let isOver = false;
  let turns = 0;
  const surprises: unknown[] = [];

  /** One step of a caller's, which fails in one way only. */
  async function step(task: () => Promise<void>): Promise<void> {
    try {
      await task();
      turns += 1;
    } catch (error) {
      if (!isPoolError(error, 'pool_unavailable')) surprises.push(error);
      await sleep(50);
    }
  }

  // Half of them borrow an account each time, on their own; half share the turns of one block.
  const alone = async () => {
    while (!isOver) {
      await step(async () => {
        const session = await client.allocate({ wait_ms: 15_000, ttl_seconds: 60 });
        const { account } = await session.token();
        await referee.use(account, () => sleep(20));
        session.queueReport(account, 'success', { usage: { turns: 1 } });
        // What could not be given back now goes back when the pool is there again.
        await session.release();
      });
    }
  };
  const block = client.block({ count: 2, waitMs: 15_000, ttl_seconds: 60 });
  const together = async () => {
    while (!isOver) {
      await step(async () => {
        using lease = await block.take();
        await referee.use(lease.account, () => sleep(20));
        lease.report('success', { usage: { turns: 1 } });
      });
    }
  };
  const callers = [...Array.from({ length: 10 }, alone), ...Array.from({ length: 10 }, together)];

  let pool: ServiceProcess = first;
  for (let kill = 0; kill < 2; kill += 1) {
    const before = turns;
    await eventually('turns run', () => turns > before + 100);
    await pool.kill('SIGKILL');
    await sleep(kill * 1_500);
    pool = await start();
  }
  const before = turns;
  await eventually('turns run again', () => turns > before + 100);
  await eventually('listeners hear that they missed something', () => events.includes('reset'));
  isOver = true;
  // No step waits much longer than the pool was away.
  await Promise.all(callers);
  stopListening.abort();
  await listening;
  await client.close();

  expect(surprises).toEqual([]);
  expect(referee.faults).toEqual([]);
  expect(client.reports).toMatchObject({ pending: 0, refused: 0 });
  const status = await new AccountPoolClient({ baseUrl: pool.url }).status();
  expect(status).toMatchObject({ active_sessions: 0, pool_stats: { in_use: 0, total: 8 } });
  expect(turns).toBeGreaterThan(300);
});

test('a session that the pool took back is borrowed again at its next use', async () => {
  const { pool } = await setUp(1);
  await using client = new AccountPoolClient({ baseUrl: pool.url });
  const session = await client.allocate({ session_id: 'job-1' });
  const reasons: string[] = [];
  session.onLost(({ reason }) => reasons.push(reason));
  const [before] = session.accounts;
  // As an owner does who frees an account by hand.
  await new AccountPoolClient({ baseUrl: pool.url }).release('job-1');
  await session.renew();
  expect(reasons).toEqual(['session_expired']);
  const { account } = await session.token();
  expect(account.fence).toBeGreaterThan(before?.fence ?? Number.NaN);
});

test('every code a pool answers can be met, and reaches the caller as PoolError', async () => {
  const met = new Set<string>();
  const note = async (call: Promise<unknown>, code: string) => {
    const error = await call.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code });
    met.add(code);
  };
  const keys = { ADMIN_KEY: 'the-owner', POOL_API_KEY: 'a-borrower' };
  const { pool } = await setUp(1, keys);
  const clientOf = (apiKey?: string) => {
    const client = new AccountPoolClient({ baseUrl: pool.url, apiKey, retries: 0 });
    onTestFinished(() => client.close());
    return client;
  };
  const owner = clientOf('the-owner');
  const borrower = clientOf('a-borrower');
  await note(clientOf('wrong').allocate(), 'invalid_key');
  await note(borrower.status(), 'forbidden');
  await note(borrower.allocate({ count: 0 }), 'invalid_request');
  await note(borrower.allocate({ colour: 'red' } as object), 'unknown_field');
  const session = await owner.allocate({ session_id: 'mine' });
  await note(borrower.allocate({ session_id: 'mine' }), 'session_mismatch');
  await note(borrower.allocate(), 'no_account_available');
  await note(borrower.report('mine', []), 'session_not_found');
  await note(session.token({ accountId: 'none' }), 'account_not_found');
  await note(new AccountPoolClient({ baseUrl: `${pool.url}/elsewhere` }).status(), 'not_found');

  /** What the client library never sends. */
  const raw = async (method: string, path: string, body: string | undefined, headers = {}) => {
    const authorization = 'Bearer the-owner';
    const answer = await fetch(`${pool.url}${path}`, {
      method,
      headers: { authorization, ...headers },
      ...(body === undefined ? {} : { body }),
    });
    const { error } = (await answer.json()) as { error: { code: keyof typeof poolErrorCodes } };
    expect(answer.status).toBe(poolErrorCodes[error.code]);
    return Promise.reject(error);
  };
  await note(raw('POST', '/api/accounts', '{"provider":"warp","api_key":"wk-0.abc"}'), 'account_exists');
  const refused = '{"provider":"warp","api_key":"wk-9.revoked","on_refusal":"reject"}';
  await note(raw('POST', '/api/accounts', refused), 'credential_refused');
  await note(raw('POST', '/api/accounts', '{'), 'invalid_json');
  await note(raw('POST', '/api/accounts', `"${'x'.repeat(2_000_000)}"`), 'too_large');
  await note(raw('POST', '/api/accounts', '{}', { 'content-encoding': 'lzma' }), 'unsupported_media_type');
  await note(raw('PUT', '/api/accounts/allocate', undefined), 'method_not_allowed');
  await note(raw('GET', '/api/logins/none', undefined), 'login_not_found');
  const signIn = () => raw('POST', '/api/session', '{"key":"a-guess"}', { origin: pool.url });
  for (let guess = 0; guess < 5; guess += 1) await note(signIn(), 'invalid_key');
  await note(signIn(), 'too_many_attempts');

  const waiting = note(borrower.allocate({ wait_ms: 20_000 }), 'shutting_down');
  await eventually('the pool knows of a caller that waits', async () => {
    const figures = await fetch(`${pool.url}/metrics`, { headers: { authorization: 'Bearer the-owner' } });
    return /^warp2api_pool_waiting 1$/m.test(await figures.text());
  });
  await pool.kill('SIGTERM');
  await waiting;
  await note(borrower.allocate(), 'pool_unavailable');

  // A fault of the pool's own and the faults of a vendor cannot be brought about from outside.
  // And this pool has keys, so that it answers to any name. large-bodies.test.ts overloads one.
  const elsewhere = [
    'internal',
    'provider_unavailable',
    'too_many_logins',
    'host_not_allowed',
    'origin_not_allowed',
    'overloaded',
  ];
  expect([...met, ...elsewhere].sort()).toEqual(Object.keys(poolErrorCodes).sort());
});
