import type { Clock } from '../../lib/clock.ts';
import type { Keep } from './keep.ts';

interface Entry {
  readonly value: Uint8Array;
  readonly expiresAt: number;
}

/** What an entry costs beside its bytes. */
const entryOverhead = 200;

/** Keeps entries in this process, at most `maxBytes` of them: the least recently used goes first. */
export function createMemoryKeep(clock: Clock, maxBytes: number): Keep {
  const entries = new Map<string, Entry>();
  let size = 0;

  function remove(key: string): Entry | undefined {
    const entry = entries.get(key);
    if (!entry) return undefined;
    entries.delete(key);
    size -= entry.value.length + entryOverhead;
    return entry.expiresAt > clock.now() ? entry : undefined;
  }

  function insert(key: string, entry: Entry): void {
    const entrySize = entry.value.length + entryOverhead;
    // One that has no room even alone would only push all others out.
    if (entrySize > maxBytes) return;
    entries.set(key, entry);
    size += entrySize;
    for (const oldest of entries.keys()) {
      if (size <= maxBytes) return;
      remove(oldest);
    }
  }

  return {
    async get(key) {
      const entry = remove(key);
      if (entry) insert(key, entry);
      return entry?.value;
    },
    async put(key, value, ttlMs) {
      remove(key);
      insert(key, { value, expiresAt: clock.now() + ttlMs });
    },
    async claim(key) {
      return remove(key)?.value;
    },
    async close() {
      entries.clear();
      size = 0;
    },
  };
}
