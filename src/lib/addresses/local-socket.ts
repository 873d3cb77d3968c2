import { chmodSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

/**
 * Unix domain sockets in a folder, by which processes on one machine find each other without an address or a key: who may
 * connect is who may open the folder's files. Windows has none.
 */
export const hasLocalSockets = process.platform !== 'win32';

/** What the address of such a socket may have, in bytes: 103 on macOS, 107 on Linux. */
const longestAddress = 103;
const ending = '.sock';
const connectLimitMs = 2_000;

export interface LocalSocket {
  readonly path: string;
  /** No process finds it any more; open connections stay. */
  remove(): void;
}

/**
 * Makes a socket in the folder whose name begins with `prefix`. `listen` is given the address to listen at and resolves once
 * it does. The socket appears when it can be used, and for its owner alone, whatever the umask and the mode of the folder.
 */
export async function makeLocalSocket(
  folder: string,
  prefix: string,
  listen: (address: string) => Promise<unknown>,
): Promise<LocalSocket> {
  // Takes away what a killed process has left, also where no command ever looks.
  await findLocalSocket(folder, prefix);
  const draft = mkdtempSync(join(folder, `.${prefix}`));
  try {
    const made = join(draft, 'socket');
    {
      using way = shortWay(made);
      await listen(way.address);
    }
    chmodSync(made, 0o600);
    const path = join(folder, `${basename(draft).slice(1)}${ending}`);
    renameSync(made, path);
    return { path, remove: () => rmSync(path, { force: true }) };
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** A socket of that prefix in the folder that a process listens at. Those whose processes have died are removed. */
export async function findLocalSocket(folder: string, prefix: string): Promise<string | undefined> {
  for (const name of hasLocalSockets ? namesIn(folder) : []) {
    if (!name.startsWith(prefix) || !name.endsWith(ending)) continue;
    const path = join(folder, name);
    const answer = await tryToConnect(path);
    if (answer === 'connected') return path;
    if (answer === 'ECONNREFUSED') removeIfPossible(path);
  }
  return undefined;
}

/** The folder may be another user's, or on a disk that can only be read. */
function removeIfPossible(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // It disturbs nothing.
  }
}

interface Way extends Disposable {
  readonly address: string;
}

/** A way to a path that is short enough for the address of a socket: through a link where it has to be. */
export function shortWay(path: string): Way {
  if (Buffer.byteLength(path) <= longestAddress) return { address: path, [Symbol.dispose]() {} };
  const folder = mkdtempSync(join(tmpdir(), 'w-'));
  const link = join(folder, 'f');
  symlinkSync(dirname(path), link);
  return {
    address: join(link, basename(path)),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** `connected`, or the error's code. */
async function tryToConnect(path: string): Promise<string> {
  using way = shortWay(path);
  const socket = connect(way.address);
  return await new Promise<string>((resolve) => {
    socket.setTimeout(connectLimitMs, () => resolve('ETIMEDOUT'));
    socket.once('connect', () => resolve('connected'));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'no answer'));
  }).finally(() => socket.destroy());
}
