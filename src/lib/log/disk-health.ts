import { type StatsFs, statfsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { isLogWritable, type Logger } from './logger.ts';

/** What `/health` says of the disks a service writes to. */
export interface DiskHealth {
  readonly log: { readonly writable: boolean };
  readonly disk: { readonly low: boolean };
}

/** What `/health` says while the log is not writable. */
export const logFault =
  'Lines of the log are lost: make room on its disk, or let this user write to LOG_FILE.';

/** A disk with less than this is nearly full. */
export const lowDiskBytes = 100 * 1024 * 1024;
const lookEveryMs = 5_000;

/** Returns the last known state and looks again in the background, so that a disk that hangs delays no answer. */
export function createDiskHealth(folders: readonly string[], logger: Logger): () => DiskHealth {
  let isLow = false;
  let lookedAt = performance.now();
  judge(folders.map(statfsNow));

  function judge(found: readonly (StatsFs | undefined)[]): void {
    // A folder that does not exist yet tells nothing about its disk.
    const free = Math.min(...found.flatMap((one) => (one ? [one.bavail * one.bsize] : [])));
    const wasLow = isLow;
    isLow = free < lowDiskBytes;
    if (isLow === wasLow) return;
    const state = { folders, free_mb: Math.floor(free / 1024 / 1024) };
    if (isLow) logger.warn(state, 'the disk is nearly full: make room on it');
    else logger.info(state, 'the disk has room again');
  }

  return () => {
    const now = performance.now();
    if (now - lookedAt >= lookEveryMs) {
      lookedAt = now;
      void Promise.all(folders.map((folder) => statfs(folder).catch(() => undefined))).then(judge);
    }
    return { log: { writable: isLogWritable(logger) }, disk: { low: isLow } };
  };
}

function statfsNow(folder: string): StatsFs | undefined {
  try {
    return statfsSync(folder);
  } catch {
    return undefined;
  }
}
