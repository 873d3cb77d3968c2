import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openLogFile } from './log-file.ts';
import { createLogger } from './logger.ts';

function newLog(): { folder: string; path: string; read: (name: string) => string } {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-log-'));
  return { folder, path: join(folder, 'a.log'), read: (name) => readFileSync(join(folder, name), 'utf8') };
}

it('begins a new file when one is full, and keeps so many', () => {
  const { folder, path, read } = newLog();
  const log = openLogFile({ path, maxBytes: 20, keep: 2 });
  for (let number = 0; number < 10; number += 1) log.write(`line number ${number}\n`);
  log.close();
  expect(readdirSync(folder).sort()).toEqual(['a.log', 'a.log.1', 'a.log.2']);
  expect([read('a.log.2'), read('a.log.1'), read('a.log')]).toEqual([
    'line number 4\nline number 5\n',
    'line number 6\nline number 7\n',
    'line number 8\nline number 9\n',
  ]);
});

it('goes on where it was after a restart, and counts what is there already', () => {
  const { path, read } = newLog();
  const first = openLogFile({ path, maxBytes: 20, keep: 1 });
  first.write('of the first run, long\n');
  first.close();
  const second = openLogFile({ path, maxBytes: 20, keep: 1 });
  second.write('of the second\n');
  second.close();
  expect([read('a.log.1'), read('a.log')]).toEqual(['of the first run, long\n', 'of the second\n']);
});

it('keeps nothing but the present file where none is to be kept', () => {
  const { folder, path, read } = newLog();
  const log = openLogFile({ path, maxBytes: 5, keep: 0 });
  for (const line of ['first\n', 'second\n']) log.write(line);
  log.close();
  expect([readdirSync(folder), read('a.log')]).toEqual([['a.log'], 'second\n']);
});

it('follows another program that moved the file away, and loses no line', () => {
  const { folder, path, read } = newLog();
  const log = openLogFile({ path, maxBytes: null, keep: 5 });
  const logger = createLogger('INFO', log);
  logger.info('one');
  renameSync(path, join(folder, 'moved.log'));
  logger.info('two');
  log.reopen();
  logger.info('three');
  log.close();
  const messages = (name: string) => [...read(name).matchAll(/"msg":"(\w+)"/g)].map(([, message]) => message);
  expect([messages('moved.log'), messages('a.log')]).toEqual([['one', 'two'], ['three']]);
});

it('takes no more of the disk than its files may have, whatever is logged', () => {
  const { folder, path } = newLog();
  const log = openLogFile({ path, maxBytes: 100_000, keep: 2 });
  for (let count = 0; count < 300; count += 1) log.write(`${'x'.repeat((count * 7_919) % 20_000)}\n`);
  log.close();
  const sizes = readdirSync(folder).map((name) => statSync(join(folder, name)).size);
  expect(sizes).toHaveLength(3);
  for (const size of sizes) expect(size).toBeLessThanOrEqual(100_000 + 20_000);
});

it('empties a file that it cannot rename, so that the disk does not fill up', () => {
  const { folder, path } = newLog();
  // No file can be renamed to it.
  mkdirSync(join(folder, 'a.log.1', 'taken'), { recursive: true });
  const log = openLogFile({ path, maxBytes: 1_000, keep: 1 });
  for (let count = 0; count < 100; count += 1) log.write(`${'x'.repeat(99)}\n`);
  log.close();
  expect(statSync(path).size).toBeLessThanOrEqual(1_000);
});

it('names the setting where it cannot be opened', () => {
  const { folder } = newLog();
  expect(() => openLogFile({ path: folder, maxBytes: null, keep: 1 })).toThrow(/EISDIR.*set LOG_FILE/);
});
