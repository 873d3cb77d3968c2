import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createLineWriter, gatherLines, openLogFile } from './log-file.ts';
import { createLogger, isLogWritable } from './logger.ts';

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

function openFile(path: string): number {
  const fd = openSync(path, 'a');
  onTestFinished(() => closeSync(fd));
  return fd;
}

function newFile(): { fd: number; lines: () => string[] } {
  const path = join(mkdtempSync(join(tmpdir(), 'warp2api-lines-')), 'a.log');
  return { fd: openFile(path), lines: () => readFileSync(path, 'utf8').split('\n').slice(0, -1) };
}

describe.skipIf(process.platform !== 'linux')('a log on a full disk', () => {
  it('loses lines, neither throws nor gathers them, and says how many once there is room', () => {
    const file = newFile();
    let fd = openFile('/dev/full');
    const logger = createLogger(
      'INFO',
      createLineWriter(() => fd),
    );
    const before = process.memoryUsage().external + process.memoryUsage().heapUsed;
    for (let count = 0; count < 10_000; count += 1) logger.info({ text: 'x'.repeat(20_000) }, 'lost');
    // What it has not collected yet is no more than the space of young objects.
    expect(process.memoryUsage().external + process.memoryUsage().heapUsed - before).toBeLessThan(
      100_000_000,
    );
    expect(isLogWritable(logger)).toBe(false);
    expect(isLogWritable(logger.child({ service: 'pool' }))).toBe(false);
    fd = file.fd;
    logger.info('there');
    expect(isLogWritable(logger)).toBe(true);
    const [first, second] = file.lines().map((line) => JSON.parse(line));
    expect(first.msg).toMatch(/^10000 log lines could not be written: .*ENOSPC/);
    expect(second.msg).toBe('there');
  });

  it('reports that there is room again when it is asked, without another line to log', () => {
    const file = newFile();
    let fd = openFile('/dev/full');
    const writer = createLineWriter(() => fd);
    writer.write('lost\n');
    expect(writer.isWritable).toBe(false);
    fd = file.fd;
    expect(writer.isWritable).toBe(true);
    expect(file.lines()).toHaveLength(1);
  });
});

it('lines close upon another are written together, in order, and a warning immediately', () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const written: string[] = [];
  const lines = gatherLines({ write: (text) => written.push(text), isWritable: true });
  const line = (level: string, msg: string) => `{"level":"${level}","msg":"${msg}"}\n`;
  lines.write(line('info', 'one'));
  expect(written).toHaveLength(1);
  lines.write(line('info', 'two'));
  lines.write(line('debug', 'three'));
  expect(written).toHaveLength(1);
  vi.advanceTimersByTime(50);
  expect(written[1]).toBe(line('info', 'two') + line('debug', 'three'));
  lines.write(line('info', 'four'));
  lines.write(line('info', 'five'));
  lines.write(line('warn', 'six'));
  expect(written.slice(2)).toEqual([line('info', 'four'), line('info', 'five') + line('warn', 'six')]);
  lines.write(line('info', 'seven'));
  process.emit('exit', 0);
  expect(written.at(-1)).toBe(line('info', 'seven'));
});

it('a line may be made when its batch is written, in its place among the others', () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const written: string[] = [];
  const made: string[] = [];
  const lines = gatherLines({ write: (text) => written.push(text), isWritable: true });
  const writeLater = (msg: string) =>
    lines.writeLater?.(() => {
      made.push(msg);
      return `{"level":"info","msg":"${msg}"}\n`;
    });
  const messages = () => written.map((text) => [...text.matchAll(/"msg":"(\w+)"/g)].map(([, msg]) => msg));
  writeLater('one');
  expect(messages()).toEqual([['one']]);
  writeLater('two');
  lines.write('{"level":"info","msg":"three"}\n');
  writeLater('four');
  expect(made).toEqual(['one']);
  lines.write('{"level":"warn","msg":"five"}\n');
  expect(messages().slice(1)).toEqual([['two', 'three', 'four', 'five']]);
  writeLater('six');
  process.emit('exit', 0);
  expect(messages().slice(2)).toEqual([['six']]);
  // What waits has a bound, made or not.
  for (let n = 0; n < 300; n += 1) writeLater('more');
  expect(written.length).toBeGreaterThan(4);
});

it.skipIf(process.platform !== 'linux')('each line of several that are lost is counted', () => {
  const file = newFile();
  let fd = openFile('/dev/full');
  const writer = createLineWriter(() => fd);
  writer.write('one\ntwo\n');
  writer.write('three\n');
  fd = file.fd;
  writer.write('there\n');
  expect(JSON.parse(file.lines()[0] ?? '').msg).toMatch(/^3 log lines could not be written/);
});
