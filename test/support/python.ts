import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll } from 'vitest';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');
const caches = join(root, 'node_modules/.cache/warp2api');
export const pythonPackage = join(root, 'clients/python');

export interface RunOptions {
  readonly environment?: Record<string, string>;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

export interface TestPython {
  /** Runs Python with the installed package, what its tests need, and `requests`; answers what it printed. */
  run(words: readonly string[], options?: RunOptions): Promise<string>;
  /** The variables that a program of this test needs to find the same by a plain `python3`. */
  readonly environment: Record<string, string>;
  /** Where the package is installed. */
  readonly installed: string;
  /** Kept from one run to the next. */
  readonly cache: string;
}

/**
 * The Python of this machine, with the client package installed in a folder of the test's own. What the package needs comes
 * from the package registry, once for each version of its pyproject.toml: several test files may want it at a time.
 */
export function usePython(): TestPython {
  let installed = '';
  let libraries = '';
  beforeAll(async () => {
    const { stdout: version } = await run('python3', ['--version']);
    const project = readFileSync(join(pythonPackage, 'pyproject.toml'), 'utf8');
    const name = createHash('sha256').update(version).update(project).digest('hex').slice(0, 16);
    libraries = join(caches, `python-${name}`);
    mkdirSync(caches, { recursive: true });
    await run('python3', ['-c', installLibraries, libraries, `${pythonPackage}[test]`]);
    installed = mkdtempSync(join(tmpdir(), 'warp2api-python-'));
    const from = ['--no-deps', '--no-index', '--no-build-isolation', '--target', installed, pythonPackage];
    const env = { ...process.env, PYTHONPATH: libraries, PYTHONDONTWRITEBYTECODE: '1' };
    await run('python3', ['-m', 'pip', 'install', '--quiet', ...from], { env });
  }, 180_000);
  afterAll(() => {
    if (installed !== '') rmSync(installed, { recursive: true, force: true });
  });
  return {
    async run(words, { environment = {}, cwd, timeoutMs = 20_000 } = {}) {
      const env = {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        ...this.environment,
        ...environment,
      };
      // Without what else this machine has installed.
      const { stdout } = await run('python3', ['-S', ...words], { env, cwd, timeout: timeoutMs });
      return stdout;
    },
    get environment() {
      return { PYTHONPATH: `${installed}:${libraries}`, PYTHONDONTWRITEBYTECODE: '1' };
    },
    get installed() {
      return installed;
    },
    get cache() {
      return libraries;
    },
  };
}

/** Into a folder as a whole or not at all; a second one that comes meanwhile waits for the first. */
const installLibraries = `
import fcntl, os, shutil, subprocess, sys
folder, package = sys.argv[1:]
with open(folder + ".lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not os.path.exists(folder):
        half = folder + ".half"
        shutil.rmtree(half, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", half]
        subprocess.run([*pip, package, "hatchling", "requests"], check=True)
        shutil.rmtree(os.path.join(half, "account_pool_client"))
        os.rename(half, folder)
`;
