import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { childEnvironment } from './support/process.ts';
import { eventually } from './support/services.ts';

it('a running service begins a new log when one is full, and follows when another program moves it away', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-rotation-'));
  const log = join(folder, 'pool.log');
  const read = (name: string) =>
    existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : '';
  writeFileSync(log, 'x'.repeat(1024 * 1024));
  const child = spawn(process.execPath, [resolve(import.meta.dirname, '../src/main.ts'), 'serve', 'pool'], {
    cwd: folder,
    env: { ...childEnvironment, POOL_SERVICE_PORT: '0', LOG_FILE: 'pool.log', LOG_MAX_MB: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const closed = once(child, 'close');
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });

  await eventually('the pool listens', () => read('pool.log').includes('the account pool listens'));
  expect(read('pool.log.1')).toMatch(/^x+$/);
  renameSync(log, join(folder, 'moved.log'));
  child.kill('SIGHUP');
  await eventually('the log is opened anew', () => existsSync(log));
  child.kill('SIGTERM');
  expect(await closed).toEqual([0, null]);
  expect(read('moved.log')).toContain('the account pool listens');
  expect(read('moved.log')).not.toContain('stopping');
  expect(read('pool.log').match(/"msg":"stop\w+"/g)).toEqual(['"msg":"stopping"', '"msg":"stopped"']);
  expect(output).toBe('');
});
