import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pythonPackage, usePython } from './support/python.ts';
import { servicesForTest } from './support/services.ts';

/** clients/python as it is installed, by the Python of this machine. */

const root = resolve(import.meta.dirname, '..');
const python = usePython();
const timeout = 240_000;

describe('the Python client', () => {
  it.concurrent(
    'passes its own tests against real pools',
    async () => {
      const words = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-o', 'faulthandler_timeout=60'];
      const output = await python
        .run(words, { cwd: pythonPackage, timeoutMs: timeout })
        .catch((error: { stdout?: string }) => error.stdout ?? String(error));
      expect(output).toMatch(/^\d+ passed in [\d.]+s[^\n]*\n$/m);
    },
    timeout,
  );

  it.concurrent(
    'is typed without a gap, and so are programs that use it',
    async () => {
      const words = ['-m', 'mypy', '--cache-dir', join(python.cache, '.mypy_cache')];
      const output = await python
        .run(words, { cwd: pythonPackage, timeoutMs: timeout })
        .catch((error: { stdout?: string }) => error.stdout ?? String(error));
      expect(output).toMatch(/^Success: no issues found in \d+ source files\n$/);
    },
    timeout,
  );

  it('is installed whole, under the version of the services', () => {
    const files = readdirSync(python.installed, { recursive: true, encoding: 'utf8' });
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    const info = `warp2api_pool_client-${version}.dist-info`;
    expect(files).toEqual(
      expect.arrayContaining([
        join('account_pool_client', 'py.typed'),
        join(info, 'METADATA'),
        join(info, 'licenses', 'LICENSE'),
      ]),
    );
    expect(files.filter((file) => /test|support/.test(file))).toEqual([]);
    const licence = (folder: string) => readFileSync(join(folder, 'LICENSE'), 'utf8');
    expect(licence(pythonPackage)).toBe(licence(root));
  });

  it('runs its example, which shows no token', async () => {
    const services = await servicesForTest();
    const id = await services.addAccount('wk-1.abc');
    const environment = { POOL_SERVICE_URL: services.poolUrl };
    const output = await python.run([join(root, 'examples/python/borrow.py')], { environment });
    expect(output).toContain(`borrowed ${id} of warp until `);
    expect(output).toMatch(/gave it back\n$/);
    expect(output).not.toContain('wk-1.abc');
    expect(await services.pool('/api/accounts/status')).toMatchObject({ active_sessions: 0 });
  });
});
