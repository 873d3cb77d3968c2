import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { startSandbox } from '../../sandbox/index.ts';
import { runCommand, startProcess } from './process.ts';

/**
 * An empty place to work in, with a sandbox as its upstream: commands and services run there with the same environment, until
 * the test ends.
 */
export async function createWorkplace(more: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-workplace-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const environment: Record<string, string> = {
    PORT: '0',
    POOL_SERVICE_PORT: '0',
    WARP_SERVER_URL: upstream.url,
    SHUTDOWN_SECONDS: '0',
    ...more,
  };
  return {
    folder,
    upstream,
    serve: (words: readonly string[] = [], change: Record<string, string> = {}) =>
      startProcess(['serve', ...words], { ...environment, ...change }, folder),
    run: (line: string, change: Record<string, string> = {}) =>
      runCommand(line.split(' '), { ...environment, ...change }, folder),
  };
}
