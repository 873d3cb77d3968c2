import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode } from '../../lib/errors.ts';
import { decodeText } from '../../lib/files.ts';
import { SourceError } from './source.ts';

/** A file that was taken: no other instance reads it any more. */
export interface TakenFile {
  readonly path: string;
  /** The name it was dropped under. */
  readonly name: string;
}

export type DropFolder = ReturnType<typeof createDropFolder>;

const mostBytes = 8 * 1024 * 1024;
const stillMs = 2000;
const takenPattern = /^(.+)\.taken-\d{8}T\d{9}Z-([0-9a-f]{8})-[0-9a-f]{8}$/;
const ownPattern = /\.(taken-[^.]*|done|rejected|untaken)$/;
const droppedPattern = /\.(jsonl|ndjson|json)$/;
const forOwner = 0o600;
/** Follows no link, which could point to any file of this user, and does not wait for a pipe that replaces the file. */
const onlyThatFile = constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * The files of one drop place: a folder, or one file. Renaming is what makes a file ours. `mark` is eight hexadecimal digits of this pool's own: what
 * another pool has taken at the same place is not ours.
 */
export function createDropFolder(path: string, mark: string, now: () => number) {
  /** Size and time of the files that did not stand still yet, when they were first seen so. */
  const seen = new Map<string, { readonly look: string; readonly since: number }>();

  /** The place as it is now, and the names there that may be meant. */
  const look = async (): Promise<{ isFolder: boolean; folder: string; names: string[] }> => {
    const isFolder = (await statusOf(stat, path))?.isDirectory() ?? false;
    const folder = isFolder ? path : dirname(path);
    try {
      const all = await readdir(folder);
      const own = (name: string) => name === basename(path) || name.startsWith(`${basename(path)}.taken-`);
      return { isFolder, folder, names: isFolder ? all : all.filter(own) };
    } catch (error) {
      if (isMissing(error)) return { isFolder, folder, names: [] };
      throw fault(`the folder ${folder} cannot be read`, error);
    }
  };

  /** A file that is still being written changes its size or its time. */
  const standsStill = (file: string, size: number, mtimeMs: number): boolean => {
    const look = `${size} ${mtimeMs}`;
    const before = seen.get(file);
    const since = before?.look === look ? before.since : now();
    seen.set(file, { look, since });
    // A clock that is ahead of ours gives times to come: those are waited for by looking twice.
    return now() - since >= stillMs || (mtimeMs <= now() - stillMs && mtimeMs > 0);
  };

  return {
    /** Files that stand still, the oldest first. */
    async ready(): Promise<readonly string[]> {
      const { isFolder, folder, names } = await look();
      const found: { path: string; mtimeMs: number }[] = [];
      const known = new Set(names);
      for (const file of seen.keys()) if (!known.has(basename(file))) seen.delete(file);
      for (const name of names) {
        if (ownPattern.test(name) || name.startsWith('.') || (isFolder && !droppedPattern.test(name)))
          continue;
        const file = join(folder, name);
        const status = await statusOf(lstat, file);
        if (status?.isFile() !== true || status.size === 0) continue;
        if (standsStill(file, status.size, status.mtimeMs))
          found.push({ path: file, mtimeMs: status.mtimeMs });
      }
      return found.sort((one, other) => one.mtimeMs - other.mtimeMs).map((file) => file.path);
    },

    /** Null when another instance was faster, or the file is none any more. */
    async take(file: string): Promise<TakenFile | null> {
      seen.delete(file);
      const stamp = new Date(now()).toISOString().replaceAll(/[-:.]/g, '');
      const taken = `${file}.taken-${stamp}-${mark}-${randomBytes(4).toString('hex')}`;
      try {
        await rename(file, taken);
      } catch (error) {
        if (isMissing(error)) return null;
        throw fault(`${file} cannot be renamed`, error, ': the pool needs to write there');
      }
      return { path: taken, name: basename(file) };
    },

    /** Files that were taken and not finished, the oldest first. */
    async unfinished(): Promise<readonly TakenFile[]> {
      const { folder, names } = await look();
      const known = new Set(names);
      const files: TakenFile[] = [];
      for (const name of names.sort()) {
        const [, dropped, by] = takenPattern.exec(name) ?? [];
        if (dropped === undefined || by !== mark) continue;
        const file = { path: join(folder, name), name: dropped };
        // Done, and the process ended before it could remove it.
        if (known.has(`${name}.done`)) await unlinkIfThere(file.path);
        else if ((await statusOf(lstat, file.path))?.isFile() === true) files.push(file);
      }
      return files;
    },

    /** Null when it is not there any more: another instance has finished it. */
    async read(file: TakenFile) {
      try {
        await using handle = await open(file.path, constants.O_RDONLY | onlyThatFile);
        const status = await handle.stat();
        if (!status.isFile()) return null;
        const bytes = await readUpTo(handle, mostBytes + 1);
        if (bytes.length > mostBytes) {
          throw new SourceError(`${file.name} is larger than ${mostBytes} bytes: split it`);
        }
        // Open: other users of the machine may read it.
        return { text: decodeText(bytes), isOpen: (status.mode & 0o077) !== 0 };
      } catch (error) {
        if (error instanceof SourceError) throw error;
        if (isMissing(error)) return null;
        throw fault(`${file.name} cannot be read`, error);
      }
    },

    /**
     * Marks a file as done and removes it, for its secrets are in the pool now. Lines that were not taken are kept beside
     * it, and why without any secret.
     */
    async finish(
      file: TakenFile,
      summary: Readonly<Record<string, unknown>>,
      refused: readonly { readonly line: number; readonly reason: string; readonly text: string }[],
    ): Promise<void> {
      const beside = join(dirname(file.path), file.name);
      if (refused.length > 0) {
        const reasons = refused.map(({ line, reason }) =>
          JSON.stringify({ file: basename(file.path), line, reason }),
        );
        await append(`${beside}.rejected`, reasons);
        await append(
          `${beside}.untaken`,
          refused.map(({ text }) => text),
        );
      }
      await append(`${file.path}.done`, [JSON.stringify(summary)]);
      await unlinkIfThere(file.path);
    },
  };
}

/** The first bytes of a file, which may still grow. */
async function readUpTo(handle: FileHandle, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of handle.createReadStream({ end: most - 1, autoClose: false })) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
  }
  return Buffer.concat(chunks, length);
}

/** Others may write to the folder: what has the name of one of our own files there need not be a file. */
async function append(path: string, lines: readonly string[]): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | onlyThatFile;
  try {
    await using handle = await open(path, flags, forOwner);
    if (!(await handle.stat()).isFile()) throw new SourceError(`${path} is not a plain file: remove it`);
    await handle.appendFile(`${lines.join('\n')}\n`);
    await handle.sync();
  } catch (error) {
    if (error instanceof SourceError) throw error;
    throw fault(`${path} cannot be written`, error, ': remove what else has that name');
  }
}

/** Null where there is nothing; `lstat` follows no link. */
async function statusOf(look: typeof stat | typeof lstat, path: string) {
  return look(path).catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw fault(`${path} cannot be looked at`, error);
  });
}

async function unlinkIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (!isMissing(error)) throw error;
  });
}

function isMissing(error: unknown): boolean {
  return errorCode(error) === 'ENOENT';
}

function fault(what: string, cause: unknown, advice = ''): SourceError {
  return new SourceError(`${what} (${errorCode(cause) ?? 'unknown error'})${advice}`, { cause });
}
