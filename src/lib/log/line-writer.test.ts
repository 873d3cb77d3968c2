import { closeSync, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createLineWriter, gatherLines } from './line-writer.ts';
import { createLogger, isLogWritable } from './logger.ts';

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
