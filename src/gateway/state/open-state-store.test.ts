import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Writable } from 'node:stream';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { createLogger } from '../../lib/log/logger.ts';
import { openStateStore } from './open-state-store.ts';

const hour = 60 * 60_000;
const value = Buffer.from('the words of a conversation');
let folder: string;
let log: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warp2api-state-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  log = '';
});

async function open(url = `sqlite:${join(folder, 'gateway.db')}`) {
  const destination = new Writable({
    write(chunk, _encoding, done) {
      log += chunk;
      done();
    },
  });
  const logger = createLogger('INFO', destination);
  const store = await openStateStore({ url, maxBytes: 1_000_000, clock: systemClock, logger });
  onTestFinished(() => store.close());
  return store;
}

it('keeps in a file that only its owner may open and that tells nobody anything', async () => {
  const store = await open();
  await store.put('secret of a client', value, hour);
  await store.close();
  const names = readdirSync(folder);
  expect(names).toContain('gateway.db');
  for (const name of names) {
    const path = join(folder, name);
    expect(statSync(path).mode & 0o077).toBe(0);
    const bytes = readFileSync(path);
    expect(bytes.includes('words') || bytes.includes('secret of')).toBe(false);
  }
  const again = await open();
  expect(await again.claim('secret of a client')).toEqual(value);
  expect(log).toBe('');
});

it('takes an entry for absent that was changed in the file, and says so', async () => {
  const store = await open();
  await store.put('key', value, hour);
  await store.close();
  const file = new DatabaseSync(join(folder, 'gateway.db'));
  file.exec('UPDATE entries SET value = zeroblob(length(value))');
  file.close();
  const again = await open();
  expect(await again.claim('key')).toBeUndefined();
  expect(again.failures).toBe(1);
  expect(log).toContain('the state storage failed');
});

it('goes on in memory while another process holds the file, and says once what to set', async () => {
  const first = await open();
  const second = await open();
  await second.put('key', value, hour);
  expect(await second.claim('key')).toEqual(value);
  expect([first.figures().isReachable, second.figures().isReachable]).toEqual([true, false]);
  expect(log.trim().split('\n').length).toBe(1);
  expect(log).toMatch(/held by process \d+.*KEEP_URL=sqlite:gateway-2\.db/);
});

it.each([
  ['no database', (path: string) => writeFileSync(path, 'not a database '.repeat(500))],
  ['a folder', (path: string) => mkdirSync(path)],
])('goes on in memory where the file is %s', async (_what, spoil) => {
  spoil(join(folder, 'gateway.db'));
  const store = await open();
  await store.put('key', value, hour);
  expect(await store.claim('key')).toEqual(value);
  expect(log).toContain('cannot be used');
});

it('goes on in memory where no database server answers, and shows no password', async () => {
  const store = await open('postgres://warp:hunter2@127.0.0.1:1/warp2api');
  await store.put('key', value, hour);
  expect(await store.claim('key')).toEqual(value);
  expect(log).toContain('KEEP_URL names its host and port');
  expect(log).not.toContain('hunter2');
});

it('needs no file where memory is asked for', async () => {
  const store = await open('memory');
  await store.put('key', value, hour);
  expect(await store.claim('key')).toEqual(value);
  expect(store.figures()).toMatchObject({ store: 'memory', isReachable: true });
  expect(readdirSync(folder)).toEqual([]);
});
