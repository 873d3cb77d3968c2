import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { errorCode, errorMessage } from '../errors.ts';
import { makeFolder } from '../files/make-folder.ts';
import { closeFile } from '../files/private-folder.ts';
import { createLineWriter, type LineWriter } from './line-writer.ts';

/** A log in a file that is renamed when it is full, and is reopened after another program has renamed it. */
export interface LogFile extends LineWriter {
  /** Continues in a file of that name, after another program has moved the present one away. */
  reopen(): void;
  close(): void;
}

export interface LogFileOptions {
  readonly path: string;
  /** The size at which a new file is begun; null leaves that to others. */
  readonly maxBytes: number | null;
  /** How many full files are kept, as `path.1` (the youngest) and on. */
  readonly keep: number;
}

/** Opens the log, making its folder. Throws when it cannot be written. */
export function openLogFile({ path, keep, ...options }: LogFileOptions): LogFile {
  makeFolder(dirname(path));
  let fd = openForLines(path);
  // A device or a pipe is not renamed.
  const maxBytes = fstatSync(fd).isFile() ? options.maxBytes : null;
  let size = sizeOf(path);
  const writer = createLineWriter(() => fd);
  let isStuck = false;

  function reopen(): void {
    // The present one stays open if the new one cannot be opened.
    const next = openSync(path, 'a', fileMode);
    closeSync(fd);
    fd = next;
    size = sizeOf(path);
  }

  function begin(): void {
    try {
      shift(path, keep);
      reopen();
      isStuck = false;
    } catch (error) {
      const reason = errorMessage(error);
      if (!isStuck)
        complain(`warp2api: the log ${path} could not be rotated and is emptied instead: ${reason}\n`);
      isStuck = true;
      // Otherwise the log would grow beyond its limit.
      ftruncateSync(fd);
      size = 0;
    }
  }

  return {
    write(line) {
      if (maxBytes !== null && size >= maxBytes) begin();
      const written = writer.write(line);
      size += written;
      return written;
    },
    get isWritable() {
      return writer.isWritable;
    },
    reopen() {
      try {
        reopen();
      } catch (error) {
        const reason = errorMessage(error);
        complain(`warp2api: the log ${path} could not be opened again: ${reason}\n`);
      }
    },
    close: () => closeSync(fd),
  };
}

const fileMode = 0o640;

function openForLines(path: string): number {
  try {
    // An older version may have left it readable for everyone. Its group is its owner's choice.
    closeFile(path, 0o007);
    return openSync(path, 'a', fileMode);
  } catch (cause) {
    const reason = errorCode(cause) ?? String(cause);
    throw new Error(
      `The log ${path} cannot be opened (${reason}): set LOG_FILE to a file this user may write.`,
      {
        cause,
      },
    );
  }
}

/** To stderr, since the log itself failed. */
function complain(message: string): void {
  createLineWriter(() => 2).write(message);
}

function shift(path: string, keep: number): void {
  if (keep === 0) {
    rmSync(path, { force: true });
    return;
  }
  for (let number = keep - 1; number >= 0; number -= 1) {
    const from = number === 0 ? path : `${path}.${number}`;
    if (existsSync(from)) renameSync(from, `${path}.${number + 1}`);
  }
}

function sizeOf(path: string): number {
  return existsSync(path) ? statSync(path).size : 0;
}

/** Whether what a process writes to this descriptor goes to the file, too, as start_services.sh has it. */
export function isSameFile(path: string, descriptor: number): boolean {
  try {
    const [left, right] = [statSync(path), fstatSync(descriptor)];
    return left.dev === right.dev && left.ino === right.ino;
  } catch {
    return false;
  }
}
