import { closeSync, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createLineWriter } from './line-writer.ts';
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
    for (let count = 0; count < 2_000; count += 1) logger.info({ text: 'x'.repeat(20_000) }, 'lost');
    expect(process.memoryUsage().external + process.memoryUsage().heapUsed - before).toBeLessThan(30_000_000);
    expect(isLogWritable(logger)).toBe(false);
    expect(isLogWritable(logger.child({ service: 'pool' }))).toBe(false);
    fd = file.fd;
    logger.info('there');
    expect(isLogWritable(logger)).toBe(true);
    const [first, second] = file.lines().map((line) => JSON.parse(line));
    expect(first.msg).toMatch(/^2000 log lines could not be written: .*ENOSPC/);
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
