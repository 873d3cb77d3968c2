import { workerData } from 'node:worker_threads';
import { serveVerbs } from '../../db/verbs.ts';
import { openSqliteEntries } from './sqlite-entries.ts';
import { type Change, freeMemory, sealingOf, type Totals } from './state-store.ts';

/** Changes as they go to the thread: all values in one piece of memory. */
export interface Batch {
  readonly secrets: readonly string[];
  /** By secret; 0: the entry is to be removed. */
  readonly expiresAt: readonly number[];
  readonly lengths: readonly number[];
  readonly values: Uint8Array;
}

/** The thread that owns the state store's SQLite file, and seals what is written. */
const { path, now, maxBytes, command } = workerData as {
  readonly path: string;
  readonly now: number;
  readonly maxBytes: number;
  readonly command: string;
};

export type ThreadVerbs = ReturnType<typeof open>;

function open() {
  const { read, take, apply, close } = openSqliteEntries(path, now, maxBytes, command);
  return {
    read,
    take,
    write(at: number, { secrets, expiresAt, lengths, values }: Batch): Totals {
      let end = 0;
      const changes = secrets.map((secret, index): Change => {
        const { place, seal } = sealingOf(secret);
        const start = end;
        end += lengths[index] ?? 0;
        const expiry = expiresAt[index] ?? 0;
        return [
          place,
          expiry === 0 ? undefined : { value: seal(values.subarray(start, end)), expiresAt: expiry },
        ];
      });
      freeMemory(values);
      const totals = apply(at, changes);
      for (const [, entry] of changes) if (entry) freeMemory(entry.value);
      return totals;
    },
    close,
  };
}

serveVerbs(open);
