// What /health says, and what a turn says, for every way in which accounts may stand, in one process and apart.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Sandbox, startSandbox } from '../sandbox/index.ts';
import { startServices } from '../src/compose.ts';
import { loadConfig } from '../src/config.ts';
import { createLogger } from '../src/lib/log/logger.ts';
import type { RunMode } from '../src/run-mode.ts';
import { eventually, inMemory, userTurn } from './support/services.ts';

interface Service {
  readonly upstream: Sandbox;
  health(of?: 'gateway' | 'pool'): Promise<Record<string, unknown>>;
  add(account: Record<string, unknown>): Promise<string>;
  change(id: string, change: Record<string, unknown>): Promise<void>;
  remove(id: string): Promise<void>;
  borrowAlone(): Promise<void>;
  turn(model?: string): Promise<{ status: number; code: unknown; message: string }>;
}

/** Both services, the pool inside or behind HTTP. Accounts of the provider "local" are none that a gateway can use. */
async function start(mode: 'inside' | 'http', settings: Record<string, string> = {}): Promise<Service> {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-health-'));
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  writeFileSync(
    join(folder, 'warp2api.yaml'),
    `providers: { local: { type: api_key, check_url: "${upstream.url}/health" } }`,
  );
  const run = async (part: RunMode, more: Record<string, string> = {}) => {
    const environment = { PORT: '0', POOL_SERVICE_PORT: '0', WARP_SERVER_URL: upstream.url, SANDBOX: 'off' };
    const config = loadConfig(
      { ...inMemory, ...environment, DATA_DIR: folder, SHUTDOWN_SECONDS: '0', ...settings, ...more },
      folder,
    );
    const services = await startServices(config, part, createLogger('FATAL'), (error) => {
      throw error;
    });
    onTestFinished(() => services.close());
    return services;
  };
  const pool = await run(mode === 'inside' ? 'both' : 'pool');
  const poolUrl = pool.poolUrl ?? '';
  const gateway = mode === 'inside' ? pool : await run('gateway', { POOL_SERVICE_URL: poolUrl });
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const call = async (path: string, body?: unknown, method = body === undefined ? 'GET' : 'POST') => {
    const answer = await fetch(`${poolUrl}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return (await answer.json()) as Record<string, unknown>;
  };
  return {
    upstream,
    health: async (of = 'gateway') =>
      (await (await fetch(`${of === 'pool' ? poolUrl : gateway.gatewayUrl}/health`)).json()) as Record<
        string,
        unknown
      >,
    async add(account) {
      const answer = await call('/api/accounts', { provider: 'warp', api_key: 'wk-1', ...account });
      return (answer['account'] as { id: string }).id;
    },
    change: async (id, change) => void (await call(`/api/accounts/${id}`, change, 'PATCH')),
    remove: async (id) => void (await call(`/api/accounts/${id}`, undefined, 'DELETE')),
    borrowAlone: async () => void (await call('/api/accounts/allocate', { provider: 'warp' })),
    async turn(model = 'auto') {
      const answer = await fetch(`${gateway.gatewayUrl}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(userTurn(model, 'Hello')),
      });
      const { error } = (await answer.json()) as { error?: { code: unknown; message: string } };
      return { status: answer.status, code: error?.code, message: error?.message ?? '' };
    },
  };
}

interface Case {
  readonly name: string;
  /** Brings the accounts into that state, and returns what ends it. */
  readonly arrange: (service: Service) => Promise<() => Promise<unknown>>;
  readonly reason: RegExp;
  /** Whether the pool alone is as badly off. */
  readonly poolToo: boolean;
  /** The turn's answer; its message says what the reason says, unless another is named. */
  readonly turn: readonly [status: number, code: string, message?: RegExp] | undefined;
}

const none = [503, 'no_account_available'] as const;
const cases: readonly Case[] = [
  {
    name: 'no account at all',
    arrange: async (service) => () => service.add({}),
    reason: /^There is no account in the pool: add one with "warp2api account add/,
    poolToo: true,
    turn: none,
  },
  {
    name: 'only an account that its owner has disabled',
    async arrange(service) {
      const id = await service.add({});
      await service.change(id, { enabled: false });
      return () => service.change(id, { enabled: true });
    },
    reason: /^No account can answer: 1 is disabled \("warp2api account enable" puts it back\)/,
    poolToo: true,
    turn: none,
  },
  {
    name: 'only keys that Warp refuses',
    async arrange(service) {
      const id = await service.add({ api_key: 'wk-1.revoked' });
      await service.add({ api_key: 'wk-2.refused' });
      return () => service.change(id, { api_key: 'wk-good' });
    },
    reason: /^No account can answer: 2 need a new key or login \(.*account replace/,
    poolToo: true,
    turn: none,
  },
  {
    name: 'only accounts without quota',
    async arrange(service) {
      const id = await service.add({ api_key: 'wk-1.spent' });
      return () => service.change(id, { api_key: 'wk-good' });
    },
    reason: /^No account can answer: 1 has used up its quota \(wait for its reset, or add an account\)/,
    poolToo: true,
    turn: [429, 'insufficient_quota', /has used up its quota; wait for its reset or add an account/],
  },
  {
    name: 'only an account that rests after a refusal',
    async arrange(service) {
      await service.add({ api_key: 'wk-1' });
      service.upstream.setKeyScenario('wk-1', '403');
      expect((await service.turn()).status).toBe(403);
      service.upstream.setKeyScenario('wk-1', 'plain');
      return () => service.add({ api_key: 'wk-2' });
    },
    reason: /^No account can answer: 1 is resting/,
    poolToo: true,
    turn: [503, 'no_account_available', /are resting after a failure/],
  },
  {
    name: 'only an account that is rate limited',
    async arrange(service) {
      await service.add({ api_key: 'wk-1.429-hours' });
      expect((await service.turn()).status).toBe(429);
      return () => service.add({ api_key: 'wk-2' });
    },
    reason: /^No account can answer: 1 is rate limited/,
    poolToo: true,
    turn: [429, 'rate_limit_exceeded', /are rate limited for the moment/],
  },
  {
    name: 'only accounts of a provider that the gateway cannot use',
    async arrange(service) {
      await service.add({ provider: 'local', api_key: 'any' });
      return () => service.add({});
    },
    reason:
      /^The gateway sends turns to warp, oz and 14 other providers only, and the pool has no account of these \(but 1 of local/,
    poolToo: false,
    turn: none,
  },
  {
    name: 'only an account that a program has for itself',
    async arrange(service) {
      await service.add({});
      await service.borrowAlone();
      return () => service.add({ api_key: 'wk-2' });
    },
    reason: /^No account can answer: 1 is lent to a program that has it for itself/,
    poolToo: false,
    // It would wait 10 s for the account to come back.
    turn: undefined,
  },
  {
    name: 'only an account whose models no provider offers',
    async arrange(service) {
      const id = await service.add({ models: ['no-such-model'] });
      return () => service.change(id, { models: null });
    },
    reason: /^No account can answer: 1 is limited to models that it does not have/,
    poolToo: false,
    turn: none,
  },
];

describe.each(['inside', 'http'] as const)('with the pool %s', (mode) => {
  test.each(cases)(
    '$name: /health is degraded and says why, as a turn does, until one is there',
    async (one) => {
      const service = await start(mode);
      const end = await one.arrange(service);
      const degraded = await eventually('the gateway is degraded', async () => {
        const health = await service.health();
        return health['status'] === 'degraded' && one.reason.test(String(health['reason'])) && health;
      });
      if (one.turn) {
        const [status, code, message = one.reason] = one.turn;
        const said = await service.turn();
        expect(said).toMatchObject({ status, code, message: expect.stringMatching(message) });
      }
      expect(degraded).toMatchObject({ sandbox: false, pool: { mode, reachable: true, accepts_key: true } });
      const pool = await service.health('pool');
      expect(pool['status']).toBe(one.poolToo ? 'degraded' : 'ok');
      if (one.poolToo) expect(pool['reason']).toMatch(one.reason);
      else expect(pool).not.toHaveProperty('reason');

      await end();
      await eventually('the gateway is well again', async () => (await service.health())['status'] === 'ok');
      expect(await service.health()).not.toHaveProperty('reason');
      expect((await service.turn()).status).toBe(200);
      expect(await service.health('pool')).toMatchObject({ status: 'ok' });
    },
  );

  test('one account that can answer is enough, whatever the others are', async () => {
    const service = await start(mode);
    await service.add({ api_key: 'wk-1.revoked' });
    await service.add({ api_key: 'wk-2.spent' });
    await service.add({ provider: 'local', api_key: 'any' });
    await service.add({ api_key: 'wk-good' });
    await eventually('it is well', async () => (await service.health())['status'] === 'ok');
    expect(await service.turn('oz/auto')).toMatchObject({
      status: 503,
      message: expect.stringMatching(/^The pool has no account of oz: add one with .*--provider oz/),
    });
  });

  test('a model that no open account may use is not found, and no fault of the pool', async () => {
    const service = await start(mode);
    await service.add({ models: ['auto'] });
    await eventually('it is well', async () => (await service.health())['status'] === 'ok');
    expect((await service.turn('auto')).status).toBe(200);
    expect(await service.turn('sandbox')).toMatchObject({ status: 404, code: 'model_not_found' });
    expect(await service.health()).toMatchObject({ status: 'ok' });
  });

  test('the sandbox is well, and says what it is', async () => {
    const service = await start(mode, { SANDBOX: 'auto' });
    for (const of of ['gateway', 'pool'] as const) {
      expect(await service.health(of)).toMatchObject({ status: 'ok', sandbox: true });
    }
  });
});
