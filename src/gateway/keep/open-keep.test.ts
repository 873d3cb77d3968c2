import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { createLogger } from '../../lib/logger.ts';
import { openKeep } from './open-keep.ts';

const hour = 60 * 60_000;
const value = Buffer.from('the words of a conversation');
let folder: string;
let log: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warp2api-keep-'));
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
  const keep = await openKeep({ url, maxBytes: 1_000_000, clock: systemClock, logger });
  onTestFinished(() => keep.close());
  return keep;
}

it('keeps in a file that only its owner may open and that tells nobody anything', async () => {
  const keep = await open();
  await keep.put('secret of a client', value, hour);
  await keep.close();
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
  const keep = await open();
  await keep.put('key', value, hour);
  expect(await keep.claim('key')).toEqual(value);
  expect(log).toContain('cannot be used');
});

it('goes on in memory where no database server answers, and shows no password', async () => {
  const keep = await open('postgres://warp:hunter2@127.0.0.1:1/warp2api');
  await keep.put('key', value, hour);
  expect(await keep.claim('key')).toEqual(value);
  expect(log).toContain('KEEP_URL names its host and port');
  expect(log).not.toContain('hunter2');
});

it('needs no file where memory is asked for', async () => {
  const keep = await open('memory');
  await keep.put('key', value, hour);
  expect(await keep.claim('key')).toEqual(value);
  expect(keep.figures()).toMatchObject({ store: 'memory', isReachable: true });
  expect(readdirSync(folder)).toEqual([]);
});
