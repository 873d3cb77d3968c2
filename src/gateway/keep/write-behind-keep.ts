import type { RemoteVerbs } from '../../db/verbs.ts';
import type { Clock } from '../../lib/clock.ts';
import { createBoundedEntries } from './bounded-entries.ts';
import { maxEntryBytesIn } from './file-bounds.ts';
import { type Entry, type OpenKeep, sizeOf } from './keep.ts';
import type { Change, SqliteEntries, Totals } from './sqlite-entries.ts';

export interface WriteBehindOptions {
  readonly clock: Clock;
  /** What the store holds at most. */
  readonly maxBytes: number;
  readonly frontBytes: number;
  /** A batch could not be written; it is tried again. */
  readonly onFailure: (error: unknown) => void;
}

/** How long changes are gathered before they are written in one transaction. */
const batchMs = 100;
const retryMs = 5_000;
/** Beyond this many bytes that wait to be written, the oldest are only forgotten. */
const maxUnwrittenBytes = 64 * 1024 * 1024;
const maxUnwritten = 50_000;

/**
 * A store of this process alone, behind a memory of what was used last. What the memory holds, or knows to be gone, is
 * the truth; the store hears of changes in batches, and is asked only for what the memory does not know.
 *
 * A process that is killed loses the last batch. An entry it had put is then not there, and its conversation is told
 * anew. One it had claimed may be found again: the turn it was claimed for broke off with the process less than a batch
 * after it had begun, so its client asks again, and going on from where the conversation stood before a broken turn is
 * what the upstreams expect.
 */
export function createWriteBehindKeep(
  store: RemoteVerbs<SqliteEntries>,
  options: WriteBehindOptions,
): OpenKeep {
  const { clock, onFailure } = options;
  const front = createBoundedEntries(options.frontBytes, clock.now);
  /** Larger entries are read from the store: a few of them would push all others out of the memory, and stay there. */
  const largestInFront = options.frontBytes / 16;
  const putInFront = (key: string, entry: Entry): void => {
    if (sizeOf(entry.value) <= largestInFront) front.set(key, entry);
  };
  /** Null: it is to go. */
  let unwritten = new Map<string, Entry | null>();
  let unwrittenBytes = 0;
  /** The batch that the store is at. */
  let underWay = new Map<string, Entry | null>();
  let used = new Set<string>();
  /** Questions to the store; those about a key that has changed since must not fill the memory. */
  const reads = new Map<string, { isStale: boolean; readonly found: Promise<Entry | null> }>();
  let totals: Totals = { entries: 0, bytes: 0 };
  let cancelFlush: (() => void) | undefined;
  let writing: Promise<void> | undefined;

  /** Null: known to be gone; undefined: only the store can tell. */
  function known(key: string): Entry | null | undefined {
    const entry = front.get(key) ?? (unwritten.has(key) ? unwritten.get(key) : underWay.get(key));
    return entry && entry.expiresAt <= clock.now() ? null : entry;
  }

  /** Asks the store, once for all who ask at the same time. */
  function read(key: string): Promise<Entry | null> {
    const present = reads.get(key);
    if (present && !present.isStale) return present.found;
    const reading = {
      isStale: false,
      found: store.read(clock.now(), key).then(
        (found) => {
          if (reads.get(key) === reading) reads.delete(key);
          if (found && !reading.isStale) {
            putInFront(key, found);
            noteUse(key);
          }
          return found;
        },
        (error: unknown) => {
          if (reads.get(key) === reading) reads.delete(key);
          throw error;
        },
      ),
    };
    reads.set(key, reading);
    return reading.found;
  }

  function outdateReads(key: string): void {
    const reading = reads.get(key);
    if (reading) reading.isStale = true;
  }

  function noteUse(key: string): void {
    used.add(key);
    schedule(batchMs);
  }

  function change(key: string, entry: Entry | null): void {
    outdateReads(key);
    dropUnwritten(key);
    unwritten.set(key, entry);
    unwrittenBytes += bytesOf(entry);
    boundUnwritten();
    schedule(batchMs);
  }

  function dropUnwritten(key: string): void {
    unwrittenBytes -= bytesOf(unwritten.get(key));
    unwritten.delete(key);
  }

  function boundUnwritten(): void {
    if (unwrittenBytes > maxUnwrittenBytes) {
      for (const [key, entry] of unwritten) {
        if (unwrittenBytes <= maxUnwrittenBytes) break;
        // An older entry under this key must not come back.
        unwrittenBytes -= bytesOf(entry);
        unwritten.set(key, null);
      }
    }
    for (const key of unwritten.keys()) {
      if (unwritten.size <= maxUnwritten) break;
      dropUnwritten(key);
    }
  }

  function schedule(delayMs: number): void {
    if (cancelFlush || writing) return;
    cancelFlush = clock.after(delayMs, () => {
      cancelFlush = undefined;
      void flush();
    });
  }

  function flush(): Promise<void> {
    writing ??= write().finally(() => {
      writing = undefined;
      if (unwritten.size > 0 || used.size > 0) schedule(hasFailed ? retryMs : batchMs);
    });
    return writing;
  }

  let hasFailed = false;
  async function write(): Promise<void> {
    underWay = unwritten;
    const usedKeys = [...used];
    unwritten = new Map();
    unwrittenBytes = 0;
    used = new Set();
    try {
      totals = await store.apply(clock.now(), [...underWay] satisfies Change[], usedKeys);
      hasFailed = false;
    } catch (error) {
      hasFailed = true;
      onFailure(error);
      const newer = unwritten;
      unwritten = new Map([...underWay, ...newer]);
      unwrittenBytes = 0;
      for (const entry of unwritten.values()) unwrittenBytes += bytesOf(entry);
      boundUnwritten();
    } finally {
      underWay = new Map();
    }
  }

  return {
    async get(key) {
      const entry = known(key);
      if (entry) noteUse(key);
      return entry === undefined ? (await read(key))?.value : entry?.value;
    },

    async put(key, value, ttlMs) {
      front.take(key);
      if (sizeOf(value) > maxEntryBytesIn(options.maxBytes)) return change(key, null);
      const entry = { value: alone(value), expiresAt: clock.now() + ttlMs };
      putInFront(key, entry);
      change(key, entry);
    },

    async claim(key) {
      const entry = known(key);
      front.take(key);
      if (entry === null) return undefined;
      if (entry) {
        change(key, null);
        return entry.value;
      }
      outdateReads(key);
      return (await store.take(clock.now(), key))?.value;
    },

    figures: () => ({
      store: 'sqlite',
      isReachable: true,
      ...totals,
      unwritten: unwritten.size + underWay.size,
      isWritable: !hasFailed,
    }),

    async close() {
      cancelFlush?.();
      await writing;
      cancelFlush?.();
      if (unwritten.size > 0) await write();
      await store.close();
    },
  };
}

function bytesOf(entry: Entry | null | undefined): number {
  return entry ? sizeOf(entry.value) : 0;
}

/** A value that does not lie in a larger piece of memory, which would go to the other thread as a whole. */
function alone(value: Uint8Array): Uint8Array {
  return value.byteLength === value.buffer.byteLength ? value : Uint8Array.from(value);
}
