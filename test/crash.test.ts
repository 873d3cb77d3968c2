import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { openStore } from '../src/pool/index.ts';
import { type ServiceProcess, startProcess } from './support/process.ts';
import { eventually, userTurn } from './support/services.ts';

const accountCount = 4;
const leaseSeconds = 120;
let folder: string;
let environment: Record<string, string>;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warp2api-crash-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  environment = {
    DATA_DIR: folder,
    WARP_SERVER_URL: upstream.url,
    POOL_SERVICE_PORT: String(await findFreePort()),
    PORT: String(await findFreePort()),
    SHUTDOWN_SECONDS: '1',
  };
});

async function addAccounts(pool: ServiceProcess): Promise<void> {
  for (let number = 0; number < accountCount; number += 1) {
    const answer = await fetch(`${pool.url}/api/accounts`, {
      method: 'POST',
      body: JSON.stringify({ provider: 'warp', api_key: `wk-${number}.abc` }),
    });
    expect(answer.status).toBe(201);
  }
}

/** Fifty streams, of ten seconds or without an end; resolves when each has shown its first text. */
async function startStreams(gateway: ServiceProcess, scenario: 'drip' | 'stall' = 'stall') {
  const streams = await Promise.all(
    Array.from({ length: 50 }, async () => {
      const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify(userTurn(`sandbox-${scenario}`, 'Hello', { stream: true })),
      });
      const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      const next = async () => {
        const piece = await reader?.read();
        text += piece?.value ?? '';
        return piece?.done ?? true;
      };
      while (!/"content":"\w/.test(text))
        if (await next()) throw new Error(`The stream ended early: ${text}`);
      /** The whole stream, or null when the connection broke. */
      const rest = async () => {
        try {
          while (!(await next()));
          return text;
        } catch {
          return null;
        }
      };
      return { rest };
    }),
  );
  return streams;
}

async function stats(pool: ServiceProcess): Promise<Record<string, number>> {
  const answer = await fetch(`${pool.url}/api/accounts/status`);
  return ((await answer.json()) as { pool_stats: Record<string, number> }).pool_stats;
}

/** Looks into the database that a dead process left: whole, no account lost, nothing lent for longer than a lease. */
async function inspectDatabase(): Promise<void> {
  const path = join(folder, 'accounts.db');
  const database = new DatabaseSync(path);
  expect(database.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
  database.close();
  const later = Date.now() + (leaseSeconds + 1) * 1000;
  const clock = { now: () => later, monotonic: () => later, elapsed: () => later, after: () => () => {} };
  const store = await openStore(path, {
    clock,
    onLost: (error) => {
      throw error;
    },
  });
  const { total, inUse } = await store.stats(later);
  await store.close();
  expect({ total, inUse }).toEqual({ total: accountCount, inUse: 0 });
}

test('a gateway killed in the middle of 50 streams leaves nothing lent beyond its lease', async () => {
  const pool = await startProcess(['serve', 'pool'], environment, folder);
  await addAccounts(pool);
  const gateway = await startProcess(['serve', 'gateway'], environment, folder);
  const streams = await startStreams(gateway);
  expect((await stats(pool))['in_use']).toBeGreaterThan(0);
  await gateway.kill('SIGKILL');
  for (const { rest } of streams) expect((await rest()) ?? '').not.toContain('[DONE]');

  const again = await startProcess(['serve', 'gateway'], environment, folder);
  const answer = await fetch(`${again.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify(userTurn('sandbox', 'Hello')),
  });
  expect(answer.status).toBe(200);
  expect(await again.kill('SIGTERM')).toBe(0);
  await pool.kill('SIGKILL');
  await inspectDatabase();
});

test('a pool killed in the middle of 50 streams harms none of them, and knows its leases when it is back', async () => {
  const pool = await startProcess(['serve', 'pool'], environment, folder);
  await addAccounts(pool);
  const gateway = await startProcess(['serve', 'gateway'], environment, folder);
  const streams = await startStreams(gateway, 'drip');
  const turn = async () => {
    const body = JSON.stringify(userTurn('sandbox', 'Hello'));
    return (await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', body })).status;
  };
  // The place it takes stays borrowed, so that there is one to spare while all others are taken.
  expect(await turn()).toBe(200);
  const before = await stats(pool);
  await pool.kill('SIGKILL');

  // A warm gateway goes on with what it has.
  expect(await turn()).toBe(200);
  await eventually('health says that the pool is away', async () => {
    const health = (await (await fetch(`${gateway.url}/health`)).json()) as { status: string };
    return health.status === 'degraded';
  });

  const back = await startProcess(['serve', 'pool'], environment, folder);
  expect(await stats(back)).toMatchObject({ total: accountCount, in_use: before['in_use'] });
  for (const { rest } of streams) expect(await rest()).toContain('[DONE]');
  await eventually('the turns are counted', async () => {
    const list = (await (await fetch(`${back.url}/api/accounts`)).json()) as {
      accounts: { usage: { turns: number } }[];
    };
    return list.accounts.reduce((sum, account) => sum + account.usage.turns, 0) === 52;
  });
  expect(await gateway.kill('SIGTERM')).toBe(0);
  expect((await stats(back))['in_use']).toBe(0);
  await back.kill('SIGKILL');
  await inspectDatabase();
});

test('both services in one process, killed in the middle of 50 streams, start again with every account', async () => {
  const services = await startProcess(['serve'], environment, folder);
  const pool = { ...services, url: `http://127.0.0.1:${environment['POOL_SERVICE_PORT']}` };
  await addAccounts(pool);
  const streams = await startStreams(services);
  await services.kill('SIGKILL');
  for (const { rest } of streams) expect((await rest()) ?? '').not.toContain('[DONE]');
  const again = await startProcess(['serve'], environment, folder);
  const answer = await fetch(`${again.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify(userTurn('sandbox', 'Hello')),
  });
  expect(answer.status).toBe(200);
  await again.kill('SIGKILL');
  await inspectDatabase();
});

test('SIGTERM lets running streams end and gives every account back', async () => {
  const pool = await startProcess(['serve', 'pool'], environment, folder);
  await addAccounts(pool);
  const gateway = await startProcess(
    ['serve', 'gateway'],
    { ...environment, SHUTDOWN_SECONDS: '60' },
    folder,
  );
  const streams = await startStreams(gateway, 'drip');
  const ended = gateway.kill('SIGTERM');
  for (const { rest } of streams) expect(await rest()).toContain('[DONE]');
  expect(await ended).toBe(0);
  expect((await stats(pool))['in_use']).toBe(0);
  expect(await pool.kill('SIGTERM')).toBe(0);
});

test('SIGTERM ends streams that outlast the deadline with an error, never as if they were whole', async () => {
  // Long enough that a test which a busy machine holds up still asks before it is over.
  const services = await startProcess(['serve'], { ...environment, SHUTDOWN_SECONDS: '8' }, folder);
  await addAccounts({ ...services, url: `http://127.0.0.1:${environment['POOL_SERVICE_PORT']}` });
  const streams = await startStreams(services);
  const ended = services.kill('SIGTERM');
  await eventually('callers get an answer', async () => {
    const health = await (await fetch(`${services.url}/health`)).text();
    return health.includes('"degraded"') && health.includes('The gateway is stopping');
  });
  expect(await ended).toBe(0);
  for (const { rest } of streams) {
    const text = await rest();
    expect(text).toContain('"code":"shutting_down"');
    expect(text).not.toContain('[DONE]');
  }
});
