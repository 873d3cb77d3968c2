import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type DestinationStream, pino } from 'pino';
import { makeFolder } from './make-folder.ts';

/** A log in a file that is renamed when it is full, and that follows when somebody else renames it. */
export interface LogFile extends DestinationStream {
  /** Goes on in a file of that name, after another program has moved the present one away. */
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
export function openLogFile({ path, maxBytes, keep }: LogFileOptions): LogFile {
  makeFolder(dirname(path));
  const file = openDestination(path);
  let size = sizeOf(path);
  // A full disk must not end the service, and there is nowhere to log it.
  file.on('error', () => {});

  const begin = (): void => {
    try {
      shift(path, keep);
      file.reopen();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      process.stderr.write(`warp2api: the log ${path} could not be rotated: ${reason}\n`);
    }
    size = 0;
  };

  return {
    write(line) {
      if (maxBytes !== null && size >= maxBytes) begin();
      size += Buffer.byteLength(line);
      file.write(line);
    },
    reopen() {
      file.reopen();
      size = sizeOf(path);
    },
    close: () => file.end(),
  };
}

function openDestination(path: string) {
  try {
    return pino.destination({ dest: path, sync: true, append: true, mode: 0o640 });
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    throw new Error(
      `The log ${path} cannot be opened (${reason}): set LOG_FILE to a file this user may write.`,
      {
        cause,
      },
    );
  }
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
