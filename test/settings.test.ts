import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../src/config.ts';
import { type ShownSetting, type ShownSettings, shownSettings } from '../src/core/shown-settings.ts';
import { eventually, servicesForTest } from './support/services.ts';

async function settingsOf(url: string, key?: string): Promise<ShownSettings> {
  const answer = await fetch(`${url}/api/settings`, {
    headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
  });
  expect(answer.status).toBe(200);
  return shownSettings.parse(await answer.json());
}

function named(settings: readonly ShownSetting[], name: string): ShownSetting {
  return settings.find((one) => one.name === name) ?? expect.unreachable(`no ${name}`);
}

const adminKey = 'an-admin-key-of-24-chars';

/** Each would open something. */
const secrets = {
  ADMIN_KEY: adminKey,
  POOL_API_KEY: 'borrowing-key-0123456789',
  GATEWAY_KEY: 'gateway-key-0123456789abcdef',
  API_KEYS: 'client-key-one-012345,host.example:8080',
  MASTER_KEY: 'ab'.repeat(32),
  HTTPS_PROXY: 'http://proxy-user:proxy-pass@127.0.0.1:3128',
  HTTP_PROXY: 'other-user:other-pass@127.0.0.1:3129',
  WARP_FIREBASE_API_KEY: 'firebase-key-0123456789',
};

describe('the settings', () => {
  it('are shown by both services with where each comes from, and without a secret', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-settings-'));
    writeFileSync(
      join(folder, 'warp2api.yaml'),
      `providers:
  company:
    type: oauth2
    token_url: http://127.0.0.1:9/token?key=secret-in-the-query
    client_id: me
    client_secret: a-client-secret-0123
sources:
  - { type: webhook, url: "http://127.0.0.1:9/hooks/T0123456789/secret-in-the-path" }
  - { type: command, command: [echo, --token=secret-of-the-command] }
`,
    );
    const services = await servicesForTest({
      ...secrets,
      CONFIG_FILE: join(folder, 'warp2api.yaml'),
      MIN_POOL_SIZE: '3',
    });
    for (const [service, url] of [
      ['gateway', services.gatewayUrl],
      ['pool', services.poolUrl],
    ] as const) {
      expect((await fetch(`${url}/api/settings`)).status).toBe(401);
      expect(
        (await fetch(`${url}/api/settings`, { headers: { 'x-api-key': 'client-key-one-012345' } })).status,
      ).toBe(401);
      const shown = await settingsOf(url, adminKey);
      expect(shown).toMatchObject({
        service,
        runs: 'both',
        node: process.version,
        config_file: {
          status: 'ok',
          providers: [{ name: 'company', type: 'oauth2', server: 'http://127.0.0.1:9' }],
          sources: [
            { name: 'webhook', type: 'webhook' },
            { name: 'command', type: 'command' },
          ],
        },
      });
      expect(shown.disks[0]?.free_bytes).toBeGreaterThan(0);
      expect(shown.stores.every(({ reachable, writable }) => reachable && writable)).toBe(true);
      const { settings } = shown;
      expect(named(settings, 'MIN_POOL_SIZE')).toMatchObject({
        value: '3',
        source: 'environment',
        default: '5',
      });
      expect(named(settings, 'MAX_POOL_SIZE')).toMatchObject({
        value: '50',
        source: 'default',
        is_set: false,
      });
      expect(named(settings, 'LOG_FILE')).toMatchObject({ value: null, source: 'unset', group: 'logs' });
      expect(named(settings, 'WARP_SERVER_URL').group).toBe('warp');
      expect(named(settings, 'HTTPS_PROXY')).toMatchObject({
        value: 'http://***@127.0.0.1:3128',
        is_secret: true,
      });
      expect(named(settings, 'HTTP_PROXY').value).toBe('http://***@127.0.0.1:3129');
      for (const name of ['ADMIN_KEY', 'API_KEYS', 'MASTER_KEY', 'GATEWAY_KEY', 'WARP_FIREBASE_API_KEY'])
        expect(named(settings, name)).toMatchObject({ value: null, is_set: true, is_secret: true });
      const text = JSON.stringify(shown);
      for (const part of [
        ...Object.values(secrets),
        'client-key',
        'host.example',
        'proxy-pass',
        'other-pass',
        'secret-',
      ])
        expect(text).not.toContain(part);
    }
  });

  it('of a database keep its place and lose its password, and those of .env are told apart', () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-settings-'));
    writeFileSync(join(folder, '.env'), 'MIN_POOL_SIZE=2\nLOG_LEVEL=DEBUG\n');
    const environment = {
      MIN_POOL_SIZE: '2',
      LOG_LEVEL: 'ERROR',
      DATABASE_URL: 'postgres://owner:pass%40word@db.example:5433/pool?sslpassword=hidden-word',
    };
    const { shownSettings: settings } = loadConfig(environment, folder);
    expect(named(settings, 'MIN_POOL_SIZE').source).toBe('.env');
    expect(named(settings, 'LOG_LEVEL').source).toBe('environment');
    expect(named(settings, 'DATABASE_URL').value).toBe('postgres://***@db.example:5433/pool');
    expect(named(settings, 'KEEP_URL')).toMatchObject({ value: null, source: 'unset' });
    // Every setting says what it means and what it is about.
    for (const { help, group } of settings) expect([help !== '', group !== '']).toEqual([true, true]);
  });
});

describe('the configuration file', () => {
  it('is read again when its owner asks, and a faulty one is refused with its place', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-settings-'));
    const file = join(folder, 'warp2api.yaml');
    writeFileSync(file, 'aliases: {}\n');
    const { gatewayUrl } = await servicesForTest({ CONFIG_FILE: file });
    const reload = async () => {
      const answer = await fetch(`${gatewayUrl}/api/config/reload`, { method: 'POST' });
      const body = (await answer.json()) as { status?: string; loaded_at?: string; error?: string };
      return { httpStatus: answer.status, ...body };
    };
    writeFileSync(file, 'aliases: { quick: sandbox-slow }\n');
    const { httpStatus, status, loaded_at: first } = await reload();
    expect([httpStatus, status]).toEqual([200, 'ok']);
    const listed = (await (await fetch(`${gatewayUrl}/v1/models/quick`)).json()) as { alias_of?: string };
    expect(listed.alias_of).toBe('sandbox-slow');
    writeFileSync(file, 'aliases: { quick: sandbox-slow }\nroutes: [{ model: x }]\n');
    expect(await reload()).toMatchObject({
      status: 'error',
      error: expect.stringMatching(/warp2api\.yaml, line 2, column \d+: routes\.0\.candidates: is missing/),
      loaded_at: first,
    });
    const { config_file: standing } = await settingsOf(gatewayUrl);
    expect(standing).toMatchObject({ status: 'error', path: file, loaded_at: first });
    writeFileSync(file, 'aliases: {}\n');
    await eventually('it is read by itself too', async () => {
      return (await settingsOf(gatewayUrl)).config_file.status === 'ok';
    });
  });

  it('cannot be read again where there was none', async () => {
    const { gatewayUrl } = await servicesForTest();
    const answer = await fetch(`${gatewayUrl}/api/config/reload`, { method: 'POST' });
    expect(answer.status).toBe(404);
    expect((await settingsOf(gatewayUrl)).config_file).toMatchObject({ status: 'absent', loaded_at: null });
  });
});
