import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadConfig } from './config.ts';
import { checkRunMode, keyWarnings, needsClientKey, offersSandbox, openProxyWarning } from './run-mode.ts';

const folder = mkdtempSync(join(tmpdir(), 'warp2api-run-mode-'));
afterAll(() => rmSync(folder, { recursive: true }));

const load = (environment: NodeJS.ProcessEnv) => loadConfig(environment, folder);

test('a bind beyond this machine needs keys, for each service its own', () => {
  const open = load({ HOST: '0.0.0.0', POOL_SERVICE_HOST: '0.0.0.0' });
  expect(() => checkRunMode(open, 'both')).toThrow(/set ADMIN_KEY[\s\S]*set API_KEYS/);
  expect(() => checkRunMode(open, 'gateway')).toThrow(/API_KEYS/);
  expect(() => checkRunMode(open, 'pool')).toThrow(/ADMIN_KEY/);
  const guarded = load({
    HOST: '0.0.0.0',
    POOL_SERVICE_HOST: '0.0.0.0',
    ADMIN_KEY: '16-random-signs.',
    API_KEYS: 'c',
  });
  for (const mode of ['both', 'pool', 'gateway'] as const)
    expect(() => checkRunMode(guarded, mode)).not.toThrow();
  // Its clients need keys that the operator makes.
  const managed = load({ HOST: '0.0.0.0', ADMIN_KEY: '16-random-signs.' });
  expect(() => checkRunMode(managed, 'both')).not.toThrow();
  expect([managed, guarded].map(needsClientKey)).toEqual([true, false]);
  const allowed = load({ HOST: '0.0.0.0', POOL_SERVICE_HOST: '::', ALLOW_OPEN_BIND: 'yes' });
  expect(needsClientKey(allowed)).toBe(false);
  expect(() => checkRunMode(allowed, 'both')).not.toThrow();
});

test('an ADMIN_KEY has 16 characters where other machines can try it, and the others are warned of', () => {
  const short = { ADMIN_KEY: 'fifteen-letters', API_KEYS: 'short', POOL_API_KEY: 'change-me-change-me' };
  expect(() => checkRunMode(load(short), 'both')).not.toThrow();
  expect(keyWarnings(load(short), 'both')).toEqual([]);
  const pool = load({ ...short, POOL_SERVICE_HOST: '0.0.0.0' });
  expect(() => checkRunMode(pool, 'pool')).toThrow(
    /^ADMIN_KEY is too short for POOL_SERVICE_HOST=0\.0\.0\.0.*openssl rand/,
  );
  expect(() => checkRunMode(pool, 'gateway')).not.toThrow();
  const gateway = load({ ...short, HOST: '::' });
  expect(() => checkRunMode(gateway, 'gateway')).toThrow(/^ADMIN_KEY is too short for HOST=::/);
  expect(() => checkRunMode(gateway, 'pool')).not.toThrow();
  const warnings = keyWarnings(gateway, 'gateway').join('\n');
  expect(warnings).toMatch(/^POOL_API_KEY holds a key .*\nAPI_KEYS holds a key .*HOST=::.*openssl rand/);
  expect(warnings).not.toMatch(/short'|change-me-change/);
});

test('a gateway that a proxy opens to others is warned of while it takes any key', () => {
  const proxied = { ALLOWED_HOSTS: 'ai.example.com', ADMIN_KEY: '16-random-signs.' };
  expect(openProxyWarning(load(proxied))).toMatch(
    /^ALLOWED_HOSTS=ai\.example\.com .*no client key.*ADMIN_KEY guards only.*Make a key.*or set API_KEYS/,
  );
  expect(openProxyWarning(load({ ...proxied, ADMIN_KEY: '' }))).toMatch(/Set ADMIN_KEY and make a key/);
  for (const change of [{ ALLOWED_HOSTS: '' }, { API_KEYS: 'c' }, { ALLOW_OPEN_BIND: 'yes' }, { HOST: '::' }])
    expect(openProxyWarning(load({ ...proxied, ...change }))).toBeUndefined();
});

test('a pool that stays closed needs no key of its own', () => {
  const config = load({ POOL_SERVICE_HOST: '0.0.0.0', USE_POOL_SERVICE: 'false' });
  expect(() => checkRunMode(config, 'both')).not.toThrow();
});

test('a gateway needs a key for a guarded pool on another machine, and shares one with a pool on its own', () => {
  const guarded = { ADMIN_KEY: 'the-key-of-the-owner' };
  expect(() => checkRunMode(load(guarded), 'gateway')).not.toThrow();
  const far = { ...guarded, POOL_SERVICE_URL: 'http://pool.example:8019' };
  expect(() => checkRunMode(load(far), 'gateway')).toThrow(/not on this machine.*GATEWAY_KEY.*POOL_API_KEY/);
  for (const key of [{ POOL_API_KEY: 'borrow' }, { GATEWAY_KEY: 'the-key-of-gateways' }])
    expect(() => checkRunMode(load({ ...far, ...key }), 'gateway')).not.toThrow();
});

test('a gateway that runs apart is refused a pool address that cannot be right', () => {
  const free = load({ POOL_SERVICE_PORT: '0' });
  expect(() => checkRunMode(free, 'gateway')).toThrow(/POOL_SERVICE_PORT=0.*set POOL_SERVICE_URL/);
  expect(() => checkRunMode(free, 'both')).not.toThrow();
  const itself = load({ POOL_SERVICE_URL: 'http://localhost:8018' });
  expect(() => checkRunMode(itself, 'gateway')).toThrow(
    /is where the gateway itself listens.*POOL_SERVICE_URL/,
  );
});

test('the sandbox is offered on this machine only, unless it is asked for', () => {
  expect(offersSandbox(load({}))).toBe(true);
  expect(offersSandbox(load({ HOST: '0.0.0.0' }))).toBe(false);
  expect(offersSandbox(load({ HOST: '0.0.0.0', SANDBOX: 'on' }))).toBe(true);
  for (const SANDBOX of ['off', 'OFF', 'no', 'false']) expect(offersSandbox(load({ SANDBOX }))).toBe(false);
  expect(load({ SANDBOX: 'yes' }).sandbox).toBe('on');
});
