import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { startProcess } from './support/process.ts';
import { eventually, userTurn } from './support/services.ts';

const ownersKey = 'the-key-of-the-owner';

/** A pool with one account that is for gateways only, in a process of its own, and what a gateway beside it needs. */
async function poolForGateways(settings: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-gateways-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const environment: Record<string, string> = {
    PORT: '0',
    POOL_SERVICE_PORT: String(await findFreePort()),
    WARP_SERVER_URL: upstream.url,
    SHUTDOWN_SECONDS: '0',
    ...settings,
  };
  const pool = await startProcess(['serve', 'pool'], environment, folder);
  const key = environment['ADMIN_KEY'];
  const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const add = await fetch(`${pool.url}/api/accounts`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ provider: 'warp', api_key: 'wk-mine', lend: 'gateway' }),
  });
  expect(add.status).toBe(201);
  const startGateway = async (change: Record<string, string> = {}) => {
    const gateway = await startProcess(['serve', 'gateway'], { ...environment, ...change }, folder);
    const health = async () =>
      (await (await fetch(`${gateway.url}/health`)).json()) as Record<string, unknown>;
    const ask = async () =>
      (
        await fetch(`${gateway.url}/v1/chat/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', authorization: 'Bearer clients-key' },
          body: JSON.stringify(userTurn('auto', 'Hi')),
        })
      ).status;
    return { ...gateway, health, ask };
  };
  return { folder, pool, environment, startGateway };
}

test('ADMIN_KEY and API_KEYS are all that two services on one machine need', async () => {
  const { folder, startGateway } = await poolForGateways({ ADMIN_KEY: ownersKey, API_KEYS: 'clients-key' });
  const gateway = await startGateway();
  expect(await gateway.ask()).toBe(200);
  expect(await gateway.health()).toMatchObject({
    status: 'ok',
    pool: { reachable: true, accepts_key: true },
  });
  const file = join(folder, 'data', 'gateway.key');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(gateway.output()).not.toContain(readFileSync(file, 'utf8').trim());
});

test('without any configured key the generated one is what tells the gateway from other programs', async () => {
  const { pool, startGateway } = await poolForGateways();
  const borrowed = await fetch(`${pool.url}/api/accounts/allocate`, {
    method: 'POST',
    body: JSON.stringify({ session_id: 'gateway:not-one' }),
  });
  expect(borrowed.status).toBe(503);
  expect(await (await startGateway()).ask()).toBe(200);
});

test('a gateway with its own data folder is an ordinary borrower, and says so', async () => {
  const keys = { ADMIN_KEY: ownersKey, POOL_API_KEY: 'the-key-of-borrowers' };
  const { startGateway } = await poolForGateways(keys);
  const gateway = await startGateway({ DATA_DIR: 'elsewhere' });
  await eventually('the gateway warns', () =>
    /"level":"?warn.*GATEWAY_KEY|GATEWAY_KEY/.test(gateway.output()),
  );
  expect(await gateway.ask()).toBe(503);
  expect(await gateway.health()).toMatchObject({
    status: 'degraded',
    reason: expect.stringContaining('set the same GATEWAY_KEY for the pool and the gateway'),
    pool: { accepts_key: true },
  });
});

test('a gateway whose key the pool does not take is degraded, and works when it has the right one', async () => {
  const { startGateway } = await poolForGateways({
    ADMIN_KEY: ownersKey,
    GATEWAY_KEY: 'the-key-of-gateways',
  });
  const wrong = await startGateway({ GATEWAY_KEY: 'the-former-key-of-gateways' });
  expect(await wrong.health()).toMatchObject({
    status: 'degraded',
    pool: { mode: 'http', reachable: true, accepts_key: false },
  });
  expect(await wrong.ask()).toBe(503);
  expect(wrong.output()).toMatch(/does not take the key of this gateway.*GATEWAY_KEY/);
  await wrong.kill('SIGTERM');
  expect(await (await startGateway()).ask()).toBe(200);
});

test('a gateway of a pool on another machine makes no key and shows none that it did not get', async () => {
  const { folder, startGateway } = await poolForGateways({
    ADMIN_KEY: ownersKey,
    POOL_API_KEY: 'the-key-of-borrowers',
  });
  const away = { POOL_SERVICE_URL: 'http://pool.invalid:8019', DATA_DIR: 'far', KEEP_URL: 'memory' };
  const gateway = await startGateway(away);
  expect(await gateway.health()).toMatchObject({ status: 'degraded', pool: { reachable: false } });
  expect(existsSync(join(folder, 'far', 'gateway.key'))).toBe(false);
});
