import { writeSync } from 'node:fs';
import type { DestinationStream } from 'pino';
import { errorCode, errorMessage } from '../errors.ts';

/** Writes the lines of a log. A line that cannot be written is dropped and counted: a full disk stops no service. */
export interface LineWriter extends DestinationStream {
  /** Returns how many bytes were written. */
  write(line: string): number;
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

/**
 * Gathers JSON lines, since a system call for each costs more than all else about it. The first one after a pause and
 * whatever is more than information is written immediately, the rest at the end of the process at the latest: one that is
 * killed loses its last 50 ms.
 */
export function gatherLines(lines: LineWriter): LineWriter {
  let gathered = '';
  let timer: NodeJS.Timeout | undefined;

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    const text = gathered;
    gathered = '';
    if (text !== '') lines.write(text);
  }
  process.once('exit', flush);

  return {
    write(line) {
      gathered += line;
      const isFirst = timer === undefined;
      if (isFirst || !isInformation.test(line) || gathered.length > mostGathered) flush();
      timer ??= setTimeout(flush, gatherMs).unref();
      return line.length;
    },
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
