import { Worker } from 'node:worker_threads';
import type { DatabaseError } from '../../db/errors.ts';
import { thisCommand } from '../../db/holder.ts';
import { connectVerbs } from '../../db/verbs.ts';
import type { Clock } from '../../lib/clock.ts';
import type { OpenKeep } from './keep.ts';
import type { SqliteEntries } from './sqlite-entries.ts';
import { createWriteBehindKeep } from './write-behind-keep.ts';

export interface SqliteKeepOptions {
  readonly clock: Clock;
  readonly maxBytes: number;
  /** What of it is held in memory as well. */
  readonly frontBytes: number;
  /** A batch could not be written; it is tried again. */
  readonly onFailure: (error: unknown) => void;
  /** The thread that owns the file is gone, and this keep with it. */
  readonly onLost: (error: DatabaseError) => void;
}

/** Keeps entries in a file of this process alone, whose work runs on a thread of its own. Throws DatabaseError. */
export async function openSqliteKeep(path: string, options: SqliteKeepOptions): Promise<OpenKeep> {
  const { clock, maxBytes } = options;
  // Sources run as .ts, the built package as .js, and tsc rewrites no URLs.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const worker = new Worker(new URL(`./sqlite-worker.${extension}`, import.meta.url), {
    workerData: { path, now: clock.now(), maxBytes, command: thisCommand() },
    // It only passes bytes on, and those lie outside of the heap.
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  });
  return createWriteBehindKeep(await connectVerbs<SqliteEntries>(worker, options.onLost), options);
}
