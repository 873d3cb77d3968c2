import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

/** A script that drives programs of others, which are installed for the occasion and never into the project. */
export interface ClosedRun {
  /** The script itself: it is started again, as a process without a way out of the machine. */
  readonly script: string;
  /** What to install, each on its own, so that one that cannot be had leaves the others. */
  readonly packages: readonly string[];
  /** Where they come from: npm, into `node_modules` of the folder, or PyPI, into a `python` of its own. */
  readonly registry?: 'npm' | 'PyPI';
  /** The work: gets the folder with what could be installed. Answers the exit code. */
  drive(folder: string, missing: readonly string[]): Promise<number>;
}

const installLimitMs = 240_000;
const innerMark = '--installed';

/**
 * Installs the packages into a temporary folder and drives them where nothing can leave the machine, if it allows a
 * network namespace (Linux, as root). `KEEP_FOLDER` names a folder to install into once and to keep.
 */
export async function runClosed({ script, packages, registry = 'npm', drive }: ClosedRun): Promise<number> {
  const [, , mark, given, missing = ''] = process.argv;
  if (mark === innerMark && given !== undefined) return drive(given, missing.split(',').filter(Boolean));
  const kept = process.env['KEEP_FOLDER'];
  const folder = kept ? resolve(kept) : mkdtempSync(join(tmpdir(), 'warp2api-closed-'));
  try {
    const left = await (registry === 'npm' ? installNpm : installPython)(folder, packages);
    return startAgain([script, innerMark, folder, left.join(','), ...process.argv.slice(2)]);
  } finally {
    if (!kept) rmSync(folder, { recursive: true, force: true });
  }
}

/** What the caller of the script asked for. */
export function wordsGiven(): string[] {
  const words = process.argv.slice(2);
  return words[0] === innerMark ? words.slice(3) : words;
}

/** The packages that could not be installed; each with its reason on the screen. */
async function installNpm(folder: string, packages: readonly string[]): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  const manifest = join(folder, 'package.json');
  if (!existsSync(manifest)) writeFileSync(manifest, '{"private": true}');
  return installEach(folder, packages, ['npm', 'install', '--no-audit', '--no-fund', '--loglevel=error']);
}

async function installPython(folder: string, packages: readonly string[]): Promise<string[]> {
  const python = join(folder, 'python');
  if (!existsSync(python)) await promisify(execFile)('python3', ['-m', 'venv', python]);
  return installEach(folder, packages, [join(python, 'bin', 'pip'), 'install', '--quiet']);
}

async function installEach(
  folder: string,
  packages: readonly string[],
  [command, ...words]: readonly [string, ...string[]],
): Promise<string[]> {
  const missing: string[] = [];
  for (const name of packages) {
    try {
      await promisify(execFile)(command, [...words, name], { cwd: folder, timeout: installLimitMs });
    } catch (error) {
      missing.push(name);
      const reason = error instanceof Error ? error.message : String(error);
      console.log(`not installed: ${name}: ${reason.split('\n').slice(0, 3).join(' ')}`);
    }
  }
  return missing;
}

/** Also in a space of processes of their own, so that what a client leaves running ends with the script. */
const closedIn = ['--net', '--pid', '--fork', '--kill-child', '--mount-proc'];

function startAgain(words: readonly string[]): number {
  const self = [process.execPath, ...words];
  const isClosed = spawnSync('unshare', [...closedIn, 'ip', 'link', 'set', 'lo', 'up']).status === 0;
  if (!isClosed) console.log('No network namespace can be made here: what runs now could reach other hosts.');
  const quoted = self.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const [command = '', ...rest] = isClosed
    ? ['unshare', ...closedIn, 'sh', '-c', `ip link set lo up && ${quoted}`]
    : self;
  return spawnSync(command, rest, { stdio: 'inherit' }).status ?? 1;
}
