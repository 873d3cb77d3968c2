import { type BoundedMap, createBoundedMap } from '../../lib/bounded-map.ts';
import { type Entry, maxEntryBytes, sizeOf } from './keep.ts';

/** Entries in this process's memory, at most `maxBytes` of them. One whose time is over is not there. */
export function createBoundedEntries(maxBytes: number, now: () => number): BoundedMap<string, Entry> {
  const entries = createBoundedMap<string, Entry>(maxBytes, ({ value }) => sizeOf(value));

  const alive = (entry: Entry | undefined): Entry | undefined =>
    entry && entry.expiresAt > now() ? entry : undefined;

  return {
    ...entries,
    get(key) {
      const entry = alive(entries.get(key));
      if (entry === undefined) entries.take(key);
      return entry;
    },
    set(key, entry) {
      if (entry.value.length > maxEntryBytes) entries.take(key);
      else entries.set(key, entry);
    },
    take: (key) => alive(entries.take(key)),
    get count() {
      return entries.count;
    },
    get size() {
      return entries.size;
    },
  };
}
