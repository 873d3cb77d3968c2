import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { startProcess } from './support/process.ts';

it.runIf(process.platform === 'linux')(
  'a service has its allocator give large pieces of memory back, as the process that was started',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-memory-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const environment = { DATA_DIR: folder, PORT: '0', POOL_SERVICE_PORT: '0' };
    const bin = resolve(import.meta.dirname, '../bin/warp2api.js');
    const service = await startProcess(['serve'], environment, folder, bin);
    const said = readFileSync(`/proc/${service.child.pid}/environ`, 'utf8').split('\0');
    expect(said).toContain(`MALLOC_MMAP_THRESHOLD_=${1024 * 1024}`);
    expect(await service.kill('SIGTERM')).toBe(0);
    for (const script of ['package.json', 'scripts/services.sh']) {
      const text = readFileSync(resolve(import.meta.dirname, '..', script), 'utf8');
      expect(text, script).toContain(`MALLOC_MMAP_THRESHOLD_=${1024 * 1024}`);
    }
  },
);
