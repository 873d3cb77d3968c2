import { once } from 'node:events';
import { createReadStream, readdirSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import {
  findLocalSocket,
  hasLocalSockets,
  makeLocalSocket,
  shortWay,
} from '../lib/addresses/local-socket.ts';
import { errorMessage } from '../lib/errors.ts';
import { syncFile } from '../lib/files.ts';
import { DatabaseError } from './database.ts';
import { holdSqlite, type Sqlite } from './sqlite.ts';
import { SqliteDatabase } from './sqlite-database.ts';

// The process that uses a database holds it for itself, so only it can copy it. It gives copies to commands of the file's
// owner at a socket beside the file, who ask with a line: a line with the length or with an error, then the bytes.

const lineLimitBytes = 4096;

/** `accounts.db` has sockets `accounts.db-….sock`, and unfinished copies `accounts.db.copy-…`. */
const socketPrefix = (path: string): string => `${basename(path)}-`;
const draftPrefix = (path: string): string => `${basename(path)}.copy-`;

/**
 * The verbs over a database of this thread, which gives copies of it until they are closed. Where no socket can be made there
 * are none.
 */
export function withCopies<V extends { close(): Promise<void> }>(
  path: string,
  sqlite: Sqlite,
  verbsOver: (db: SqliteDatabase) => V,
): V {
  const verbs = verbsOver(new SqliteDatabase(sqlite));
  if (!hasLocalSockets) return verbs;
  removeDrafts(path);
  const server = createServer((socket) => void giveCopy(sqlite, path, socket));
  server.unref();
  const listen = (address: string) => once(server.listen(address), 'listening');
  const made = makeLocalSocket(dirname(path), socketPrefix(path), listen).catch(() => undefined);
  return {
    ...verbs,
    async close() {
      server.close();
      (await made)?.remove();
      await verbs.close();
    },
  };
}

/** What a killed process has left: this one holds the database now. */
function removeDrafts(path: string): void {
  for (const name of readdirSync(dirname(path))) {
    if (name.startsWith(draftPrefix(path))) rmSync(join(dirname(path), name), { force: true });
  }
}

let drafts = 0;

async function giveCopy(sqlite: Sqlite, path: string, socket: Socket): Promise<void> {
  socket.on('error', () => socket.destroy());
  // Who only looks whether a process listens here asks for nothing.
  const [asked] = await once(socket, 'data').catch(() => []);
  if (asked === undefined) return;
  drafts += 1;
  const draft = join(dirname(path), `${draftPrefix(path)}${drafts}`);
  try {
    await sqlite.copyTo(draft);
    const content = createReadStream(draft);
    await once(content, 'open');
    socket.write(`${statSync(draft).size}\n`);
    // Its bytes are there until they are read, whatever happens to this process.
    rmSync(draft);
    await pipeline(content, socket);
  } catch (error) {
    if (!socket.destroyed) socket.end(`! ${errorMessage(error).replaceAll('\n', ' ')}\n`);
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Writes a consistent copy of a database to a new file, flushed to the disk: from the process that holds it, or from the
 * file itself. Throws DatabaseError.
 */
export async function copyDatabase(path: string, copy: string, now: number): Promise<void> {
  const socket = await findLocalSocket(dirname(path), socketPrefix(path));
  if (socket === undefined) {
    const held = holdSqlite(path, now);
    try {
      held.copyTo(copy);
    } finally {
      held.close();
    }
  } else {
    await receiveCopy(socket, path, copy);
  }
  syncFile(copy);
}

async function receiveCopy(path: string, database: string, copy: string): Promise<void> {
  using way = shortWay(path);
  const socket = connect(way.address);
  socket.write('copy\n');
  const file = await open(copy, 'wx', 0o600);
  let head = '';
  let size: number | undefined;
  let received = 0;
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      let rest = chunk;
      if (size === undefined) {
        const end = chunk.indexOf('\n');
        head += chunk.toString('latin1', 0, end < 0 ? chunk.length : end);
        if (end < 0 && head.length < lineLimitBytes) continue;
        if (!/^\d+$/.test(head)) break;
        size = Number(head);
        rest = chunk.subarray(end + 1);
      }
      await file.writeFile(rest);
      received += rest.length;
    }
  } catch (error) {
    head = `! ${errorMessage(error)}`;
    size = undefined;
  } finally {
    await file.close();
    socket.destroy();
  }
  if (received === size) return;
  const reason = head.startsWith('! ') ? head.slice(2) : `${received} of ${size ?? 'its'} bytes came`;
  throw new DatabaseError(
    'database_unusable',
    `The database ${database} could not be copied: ${reason.replace(/\.$/, '')}.`,
  );
}
