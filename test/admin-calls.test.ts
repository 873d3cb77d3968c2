import { mkdtempSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startServices } from '../src/compose.ts';
import { loadConfig } from '../src/config.ts';
import { createLogger } from '../src/lib/log/logger.ts';
import { eventually, inMemory, servicesForTest, userTurn } from './support/services.ts';

const adminKey = 'admin-key-1234567890';
const keys = { ADMIN_KEY: adminKey, GATEWAY_KEY: 'gateway-key-1234567890' };
const owner = { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' };
const warp = (label: string) =>
  JSON.stringify({ provider: 'warp', api_key: `wk-${label}-1234567890`, label });

/** A gateway of its own process, as it were, with its pool behind HTTP. */
async function gatewayAlone(poolUrl: string, environment: Record<string, string> = {}): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-gateway-'));
  const config = loadConfig(
    {
      PORT: '0',
      DATA_DIR: folder,
      POOL_SERVICE_URL: poolUrl,
      ...inMemory,
      SHUTDOWN_SECONDS: '0',
      ...environment,
    },
    folder,
  );
  const services = await startServices(config, 'gateway', createLogger('FATAL'), (error) => {
    throw error;
  });
  onTestFinished(() => services.close());
  return services.gatewayUrl ?? '';
}

describe.each(['in its own process', 'over HTTP'])('the pool at the gateway, %s', (place) => {
  async function start(): Promise<{ url: string; poolUrl: string }> {
    const { gatewayUrl, poolUrl } = await servicesForTest(keys);
    return {
      url: place === 'over HTTP' ? await gatewayAlone(poolUrl, keys) : gatewayUrl,
      poolUrl,
    };
  }

  test('answers its owner, as at its own port', async () => {
    const { url, poolUrl } = await start();
    const added = await fetch(`${url}/api/accounts`, {
      method: 'POST',
      headers: owner,
      body: warp('<b>one</b>'),
    });
    const { account } = (await added.json()) as { account: { id: string } };
    expect([added.status, added.headers.get('content-type')]).toEqual([
      201,
      'application/json; charset=utf-8',
    ]);
    for (const path of [
      '/api/accounts?limit=5',
      `/api/accounts/${account.id}`,
      '/api/audit',
      '/api/sessions',
    ]) {
      const [here, there] = await Promise.all(
        [url, poolUrl].map((one) => fetch(one + path, { headers: owner })),
      );
      expect([path, here?.status]).toEqual([path, 200]);
      expect(await here?.json()).toEqual(await there?.json());
    }
    const faulty = await fetch(`${url}/api/accounts`, {
      method: 'POST',
      headers: owner,
      body: '{"provider": 5}',
    });
    expect([faulty.status, await faulty.json()]).toMatchObject([
      400,
      { success: false, error: { code: 'invalid_request' } },
    ]);
    const removed = await fetch(`${url}/api/accounts/${account.id}`, { method: 'DELETE', headers: owner });
    expect(removed.status).toBe(200);
  });

  test('is closed without the key, and lends nothing', async () => {
    const { url } = await start();
    for (const headers of [{}, { authorization: 'Bearer not-the-admin-key' }]) {
      expect((await fetch(`${url}/api/accounts`, { headers })).status).toBe(401);
      expect((await fetch(`${url}/api/events`, { headers })).status).toBe(401);
    }
    for (const path of ['allocate', 'report']) {
      const answer = await fetch(`${url}/api/accounts/${path}`, {
        method: 'POST',
        headers: owner,
        body: '{}',
      });
      expect([path, answer.status]).toEqual([path, 404]);
    }
  });

  test('a body that is larger than the pool takes is refused by it', async () => {
    const { url } = await start();
    const body = warp('x'.repeat(3 * 1024 * 1024));
    const answer = await fetch(`${url}/api/accounts`, { method: 'POST', headers: owner, body });
    expect([answer.status, await answer.json()]).toMatchObject([413, { error: { code: 'too_large' } }]);
  });

  test('a session opens it, and a write needs its token', async () => {
    const { url, poolUrl } = await start();
    const signedIn = await fetch(`${url}/api/session`, {
      method: 'POST',
      body: JSON.stringify({ key: adminKey }),
    });
    const { csrf = '' } = (await signedIn.json()) as { csrf?: string };
    const cookie = signedIn.headers.getSetCookie()[0]?.split(';')[0] ?? '';
    for (const base of [url, poolUrl]) {
      expect((await fetch(`${base}/api/accounts`, { headers: { cookie } })).status).toBe(200);
      const write = (headers: Record<string, string>) =>
        fetch(`${base}/api/accounts`, { method: 'POST', headers: { cookie, ...headers }, body: warp(base) });
      expect((await write({})).status).toBe(403);
      expect((await write({ 'x-warp2api-csrf': 'guessed' })).status).toBe(403);
      expect((await write({ 'x-warp2api-csrf': csrf, origin: 'http://localhost:3000' })).status).toBe(403);
      expect((await write({ 'x-warp2api-csrf': csrf, 'sec-fetch-site': 'same-site' })).status).toBe(403);
      const own = { 'x-warp2api-csrf': csrf, origin: base, 'sec-fetch-site': 'same-origin' };
      expect((await write(own)).status).toBeLessThan(300);
    }
  });

  test('a stream ends with its session', async () => {
    const { url, poolUrl } = await start();
    for (const base of [url, poolUrl]) {
      const body = JSON.stringify({ key: adminKey });
      const signedIn = await fetch(`${base}/api/session`, { method: 'POST', body });
      const { csrf = '' } = (await signedIn.json()) as { csrf?: string };
      const headers = {
        cookie: signedIn.headers.getSetCookie()[0]?.split(';')[0] ?? '',
        'x-warp2api-csrf': csrf,
      };
      const ofSession = await fetch(`${base}/api/events`, { headers });
      const ofKey = await fetch(`${base}/api/events`, { headers: owner });
      await fetch(`${base}/api/session`, { method: 'DELETE', headers });
      await ofSession.text();
      expect((await fetch(`${base}/api/events`, { headers })).status).toBe(401);
      const reader = ofKey.body?.getReader();
      await reader?.read();
      const ended = reader?.closed.then(() => 'ended');
      expect(await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 1_500, 'open'))])).toBe(
        'open',
      );
      await reader?.cancel();
    }
  });

  test('one stream tells what happens in the pool and at the gateway', async () => {
    const { url } = await start();
    const stop = new AbortController();
    onTestFinished(() => stop.abort());
    const events = await fetch(`${url}/api/events`, { headers: owner, signal: stop.signal });
    let text = '';
    const reading = (async () => {
      for await (const chunk of events.body ?? []) text += Buffer.from(chunk).toString();
    })().catch(() => {});
    await fetch(`${url}/api/accounts`, { method: 'POST', headers: owner, body: warp('one') });
    await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: owner,
      body: JSON.stringify(userTurn('auto', 'hello')),
    });
    const seen = (type: string) => eventually(type, () => text.includes(`"type":"${type}"`));
    for (const type of ['account-changed', 'turn-began', 'turn-ended', 'figures']) await seen(type);
    const { turns_per_minute } = await eventually('a turn is counted', () =>
      [...text.matchAll(/data: (\{"type":"figures".*\})/g)]
        .map(([, data = '']) => JSON.parse(data) as { turns_per_minute: number })
        .find((figures) => figures.turns_per_minute > 0),
    );
    expect(turns_per_minute).toBe(1);
    stop.abort();
    await reading;
    const [lastId = ''] = [...text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id ?? '').slice(0, 1);
    const resumed = await fetch(`${url}/api/events`, { headers: { ...owner, 'last-event-id': lastId } });
    const first = await resumed.body?.getReader().read();
    expect(Buffer.from(first?.value ?? []).toString()).toContain('"type":"account-changed"');
  });
});

test('a pool that does not answer, or knows another key, is said so', async () => {
  const { gatewayUrl, poolUrl } = await servicesForTest({ ADMIN_KEY: 'another-admin-key-123' });
  expect(gatewayUrl).not.toBe('');
  const other = await gatewayAlone(poolUrl, { ADMIN_KEY: adminKey });
  const refused = await fetch(`${other}/api/accounts`, { headers: owner });
  expect([refused.status, await refused.json()]).toMatchObject([
    403,
    { error: { message: /same ADMIN_KEY/ } },
  ]);

  const closed = createServer().listen(0);
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const alone = await gatewayAlone(`http://127.0.0.1:${port}`, { ADMIN_KEY: adminKey });
  const away = await fetch(`${alone}/api/accounts`, { headers: owner });
  expect([away.status, await away.json()]).toMatchObject([503, { error: { code: 'pool_unavailable' } }]);
});

test('a key of clients does not open the pool through the gateway', async () => {
  const { gatewayUrl } = await servicesForTest({ API_KEYS: 'sk-client-1234567890' });
  const headers = { authorization: 'Bearer sk-client-1234567890' };
  expect((await fetch(`${gatewayUrl}/api/turns`, { headers })).status).toBe(200);
  const answer = await fetch(`${gatewayUrl}/api/accounts`, { headers });
  expect([answer.status, await answer.json()]).toMatchObject([403, { error: { message: /ADMIN_KEY/ } }]);
});
