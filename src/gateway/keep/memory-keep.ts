import type { Clock } from '../../lib/clock.ts';
import { createBoundedEntries } from './bounded-entries.ts';
import type { OpenKeep } from './keep.ts';

/** Keeps entries in this process alone. */
export function createMemoryKeep(clock: Clock, maxBytes: number): OpenKeep {
  const entries = createBoundedEntries(maxBytes, clock.now);
  return {
    async get(key) {
      return entries.get(key)?.value;
    },
    async put(key, value, ttlMs) {
      entries.set(key, { value, expiresAt: clock.now() + ttlMs });
    },
    async claim(key) {
      return entries.take(key)?.value;
    },
    figures: () => ({
      store: 'memory',
      isReachable: true,
      entries: entries.count,
      bytes: entries.size,
      unwritten: 0,
      isWritable: true,
    }),
    async close() {
      entries.clear();
    },
  };
}
