import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll } from 'vitest';

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
 * The Python of this machine, with the client package installed. What the package needs comes from the package registry, once
 * for each version of its pyproject.toml; the package is built and installed once for each state of its files. Several test
 * files may want them at a time.
 */
export function usePython(): TestPython {
  let python = '';
  let installed = '';
  let libraries = '';
  beforeAll(async () => {
    // A shim by that name starts other programs first, at every run.
    const { stdout } = await run('python3', ['-c', 'import sys; print(sys.executable); print(sys.version)']);
    python = stdout.split('\n', 1)[0] ?? '';
    libraries = join(caches, `python-${digestOf(stdout, 'pyproject.toml')}`);
    installed = join(caches, `client-${digestOf(stdout, '*.{toml,md}', 'LICENSE', 'src/**/*.{py,typed}')}`);
    mkdirSync(caches, { recursive: true });
    await run(python, ['-c', installBoth, libraries, installed, pythonPackage]);
  }, 180_000);
  return {
    async run(words, { environment = {}, cwd, timeoutMs = 60_000 } = {}) {
      const env = {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        ...this.environment,
        ...environment,
      };
      // Without what else this machine has installed.
      const { stdout } = await run(python, ['-S', ...words], { env, cwd, timeout: timeoutMs });
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

function digestOf(version: string, ...patterns: readonly string[]): string {
  const hash = createHash('sha256').update(version);
  for (const name of globSync(patterns, { cwd: pythonPackage }).sort()) {
    hash.update(name).update(readFileSync(join(pythonPackage, name)));
  }
  return hash.digest('hex').slice(0, 16);
}

/** Each into its folder as a whole or not at all; a second one that comes meanwhile waits for the first. */
const installBoth = `
import fcntl, os, shutil, subprocess, sys
libraries, client, package = sys.argv[1:]
def install(folder, *words, leave_out=""):
    with open(folder + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(folder): return
        half = folder + ".half"
        shutil.rmtree(half, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", half]
        subprocess.run([*pip, *words], check=True)
        if leave_out: shutil.rmtree(os.path.join(half, leave_out))
        os.rename(half, folder)
install(libraries, package + "[test]", "hatchling", "requests", leave_out="account_pool_client")
os.environ.update(PYTHONPATH=libraries, PYTHONDONTWRITEBYTECODE="1")
install(client, "--no-deps", "--no-index", "--no-build-isolation", package)
`;
