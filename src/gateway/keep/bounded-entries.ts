import { type Entry, maxEntryBytes, sizeOf } from './keep.ts';

/** Entries in this process's memory, at most `maxBytes` of them: the least recently used goes first. */
export interface BoundedEntries extends Iterable<readonly [string, Entry]> {
  get(key: string): Entry | undefined;
  put(key: string, entry: Entry): void;
  take(key: string): Entry | undefined;
  readonly count: number;
  readonly bytes: number;
  clear(): void;
}

export function createBoundedEntries(maxBytes: number, now: () => number): BoundedEntries {
  const entries = new Map<string, Entry>();
  let bytes = 0;

  function take(key: string): Entry | undefined {
    const entry = entries.get(key);
    if (!entry) return undefined;
    entries.delete(key);
    bytes -= sizeOf(entry.value);
    return entry.expiresAt > now() ? entry : undefined;
  }

  function put(key: string, entry: Entry): void {
    take(key);
    const size = sizeOf(entry.value);
    // One that has no room even alone would only push all others out.
    if (size > maxBytes || entry.value.length > maxEntryBytes) return;
    entries.set(key, entry);
    bytes += size;
    for (const oldest of entries.keys()) {
      if (bytes <= maxBytes) return;
      take(oldest);
    }
  }

  return {
    get(key) {
      const entry = take(key);
      if (entry) put(key, entry);
      return entry;
    },
    put,
    take,
    get count() {
      return entries.size;
    },
    get bytes() {
      return bytes;
    },
    clear() {
      entries.clear();
      bytes = 0;
    },
    [Symbol.iterator]: () => entries.entries(),
  };
}
