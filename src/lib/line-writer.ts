import { writeSync } from 'node:fs';
import type { DestinationStream } from 'pino';

/** Writes the lines of a log. A line that cannot be written is dropped and counted: a full disk stops no service. */
export interface LineWriter extends DestinationStream {
  /** Answers how many bytes were written. */
  write(line: string): number;
  /** False from a line that could not be written to the next one that could. */
  readonly isWritable: boolean;
}

/** What is longer holds what somebody else has sent. */
export const maxLineBytes = 64 * 1024;
const shownOfLongLine = 1_000;
/** A pipe that is full is tried again so often; then its reader is taken to be stuck. */
const mostTries = 10;
const pauseMs = 2;

/** `fd` answers what is open now. */
export function createLineWriter(fd: () => number): LineWriter {
  let dropped = 0;
  let failure = '';
  /** A line that broke off is not gone on with. */
  let isTorn = false;

  function writeAll(text: string): number {
    const bytes = Buffer.from(text);
    let written = 0;
    for (let tries = 0; written < bytes.length; ) {
      try {
        written += writeSync(fd(), bytes, written);
      } catch (error) {
        const isFull = error instanceof Error && 'code' in error && error.code === 'EAGAIN';
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

  function send(line: string): number {
    try {
      const lost =
        dropped > 0 ? lineOf({ msg: `${dropped} log lines could not be written: ${failure}` }) : '';
      const written = writeAll((isTorn ? '\n' : '') + lost + shortened(line));
      dropped = 0;
      isTorn = false;
      return written;
    } catch (error) {
      if (line !== '') dropped += 1;
      failure = error instanceof Error ? error.message : String(error);
      return 0;
    }
  }

  return {
    write: send,
    get isWritable() {
      // What was lost is told as soon as it can be, for there may be nothing else to say.
      if (dropped > 0) send('');
      return dropped === 0;
    },
  };
}

const pause = new Int32Array(new SharedArrayBuffer(4));

function shortened(line: string): string {
  // A character takes three bytes at most.
  const size = line.length > maxLineBytes / 3 ? Buffer.byteLength(line) : 0;
  if (size <= maxLineBytes) return line;
  return lineOf({ begins: line.slice(0, shownOfLongLine), msg: `a log line of ${size} bytes was left out` });
}

function lineOf(fields: object): string {
  return `${JSON.stringify({ level: 'warn', time: new Date().toISOString(), ...fields })}\n`;
}
