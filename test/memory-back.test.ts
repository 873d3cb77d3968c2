import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { startProcess } from './support/process.ts';

const allocator = [`MALLOC_MMAP_THRESHOLD_=${1024 * 1024}`, 'MALLOC_ARENA_MAX=2'];
const youngObjects = '--max-semi-space-size=8';

it.runIf(process.platform === 'linux')(
  'a service has its allocator and V8 keep little free memory, as the process that was started',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-memory-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const environment = { DATA_DIR: folder, PORT: '0', POOL_SERVICE_PORT: '0' };
    const bin = resolve(import.meta.dirname, '../bin/warp2api.js');
    const service = await startProcess(['serve'], environment, folder, bin);
    const said = readFileSync(`/proc/${service.child.pid}/environ`, 'utf8').split('\0');
    expect(said).toEqual(expect.arrayContaining(allocator));
    expect(readFileSync(`/proc/${service.child.pid}/cmdline`, 'utf8').split('\0')).toContain(youngObjects);
    expect(await service.kill('SIGTERM')).toBe(0);
    for (const script of ['package.json', 'scripts/services.sh']) {
      const text = readFileSync(resolve(import.meta.dirname, '..', script), 'utf8');
      for (const setting of [...allocator, youngObjects]) expect(text, script).toContain(setting);
    }
  },
);
