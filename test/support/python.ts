import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll } from 'vitest';

const run = promisify(execFile);
const examples = resolve(import.meta.dirname, '../../examples/python');

/** Runs Python with the example client and `requests` at hand, and answers what it printed. */
export type RunPython = (words: readonly string[], environment?: Record<string, string>) => Promise<string>;

/**
 * The Python of this machine. Where it lacks `requests`, that is installed from the package registry into a folder of
 * the test's own before its first test.
 */
export function usePython(): RunPython {
  let libraries: string | undefined;
  beforeAll(async () => {
    const hasRequests = await run('python3', ['-c', 'import requests']).then(
      () => true,
      () => false,
    );
    if (hasRequests) return;
    libraries = mkdtempSync(join(tmpdir(), 'warp2api-python-'));
    const install = ['-m', 'pip', 'install', '--quiet', '--target', libraries, '-r', 'requirements.txt'];
    await run('python3', install, { cwd: examples });
  }, 120_000);
  afterAll(() => {
    if (libraries !== undefined) rmSync(libraries, { recursive: true, force: true });
  });
  return async (words, environment = {}) => {
    const env = {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      PYTHONPATH: libraries === undefined ? examples : `${libraries}:${examples}`,
      PYTHONDONTWRITEBYTECODE: '1',
      ...environment,
    };
    const { stdout } = await run('python3', [...words], { env, timeout: 20_000 });
    return stdout;
  };
}
