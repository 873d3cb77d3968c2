import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import type { DestinationStream } from 'pino';
import { errorCode, errorMessage } from '../errors.ts';
import { closeFile, makeFolder } from '../files.ts';

/** Writes the lines of a log. A line that cannot be written is dropped and counted: a full disk stops no service. */
export interface LineWriter extends DestinationStream {
  /** Returns how many bytes were written. */
  write(line: string): number;
  /** The same for a line of information that is made when it is written: made one after another, lines cost half as much. */
  writeLater?(make: () => string): void;
  /** False from a line that could not be written to the next one that could. */
  readonly isWritable: boolean;
}

/** Tries for a pipe that is full; after these its reader counts as stuck. */
const mostTries = 10;
const pauseMs = 2;

/** `fd` returns the descriptor that is open now. */
export function createLineWriter(fd: () => number): LineWriter {
  let dropped = 0;
  let failure = '';
  /** Part of a line was written: the rest is dropped, and the next line begins on a new one. */
  let isTorn = false;

  function writeAll(text: string): number {
    const bytes = Buffer.from(text);
    let written = 0;
    for (let tries = 0; written < bytes.length; ) {
      try {
        written += writeSync(fd(), bytes, written);
      } catch (error) {
        const isFull = errorCode(error) === 'EAGAIN';
        if (!isFull || tries === mostTries || dropped > 0) {
          isTorn ||= written > 0;
          throw error;
        }
        tries += 1;
        Atomics.wait(pause, 0, 0, pauseMs);
      }
    }
    return written;
  }

  /** One line, or several. */
  function send(line: string): number {
    try {
      const lost =
        dropped > 0 ? lineOf({ msg: `${dropped} log lines could not be written: ${failure}` }) : '';
      const written = writeAll((isTorn ? '\n' : '') + lost + line);
      dropped = 0;
      isTorn = false;
      return written;
    } catch (error) {
      dropped += line.split('\n').length - 1;
      failure = errorMessage(error);
      return 0;
    }
  }

  return {
    write: send,
    get isWritable() {
      // Reports the lost lines as soon as possible: there may be no other line to write.
      if (dropped > 0) send('');
      return dropped === 0;
    },
  };
}

/** Lines that come that soon after a write are written together. */
const gatherMs = 50;
const mostGathered = 64 * 1024;
/** What a line that is not made yet is taken to have, in characters. */
const usualLine = 512;

/**
 * Gathers JSON lines, since a system call for each costs more than all else about it. The first one after a pause and
 * whatever is more than information is written immediately, the rest at the end of the process at the latest: one that is
 * killed loses its last 50 ms.
 */
export function gatherLines(lines: LineWriter): LineWriter {
  let gathered: (string | (() => string))[] = [];
  let length = 0;
  let timer: NodeJS.Timeout | undefined;

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    const taken = gathered;
    gathered = [];
    length = 0;
    let text = '';
    for (const line of taken) text += typeof line === 'string' ? line : line();
    if (text !== '') lines.write(text);
  }
  process.once('exit', flush);

  function gather(line: string | (() => string), characters: number, isUrgent: boolean): void {
    gathered.push(line);
    length += characters;
    if (isUrgent || timer === undefined || length > mostGathered) flush();
    timer ??= setTimeout(flush, gatherMs).unref();
  }

  return {
    write(line) {
      gather(line, line.length, !isInformation.test(line));
      return line.length;
    },
    writeLater: (make) => gather(make, usualLine, false),
    get isWritable() {
      return lines.isWritable;
    },
  };
}

const isInformation = /^\{"level":"(?:info|debug|trace)"/;

const pause = new Int32Array(new SharedArrayBuffer(4));

function lineOf(fields: object): string {
  return `${JSON.stringify({ level: 'warn', time: new Date().toISOString(), ...fields })}\n`;
}

export interface LogFileOptions {
  readonly path: string;
  /** The size at which a new file is begun; null leaves that to others. */
  readonly maxBytes: number | null;
  /** How many full files are kept, as `path.1` (the youngest) and on. */
  readonly keep: number;
}

/**
 * Opens a log in a file that is renamed when it is full, making its folder. `reopen` continues in a file of that name, after another
 * program has moved the present one away. Throws when it cannot be written.
 */
export function openLogFile({ path, keep, ...options }: LogFileOptions) {
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
    write(line: string): number {
      if (maxBytes !== null && size >= maxBytes) begin();
      const written = writer.write(line);
      size += written;
      return written;
    },
    get isWritable(): boolean {
      return writer.isWritable;
    },
    reopen(): void {
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
