import { openThread } from '../../db/verbs.ts';
import type { Clock } from '../../lib/clock.ts';
import { maxEntryBytesIn } from './sqlite-entries.ts';
import type { ThreadVerbs } from './sqlite-thread.ts';
import { freeMemory, type Storage, type StorageEvents, sealingOf, type Totals } from './state-store.ts';

/** Entries in a file of this process alone, whose work runs on its own thread. Throws DatabaseError. */
export async function openSqliteStorage(
  path: string,
  clock: Clock,
  maxBytes: number,
  { onFailure, onLost }: StorageEvents,
): Promise<Storage> {
  const data = { path, now: clock.now(), maxBytes };
  const thread = await openThread<ThreadVerbs>('./sqlite-thread', import.meta.url, data, onLost);

  async function opened(secret: string, verb: 'read' | 'take'): Promise<Uint8Array | undefined> {
    const { place, unseal } = sealingOf(secret);
    const sealed = await thread[verb](clock.now(), place);
    try {
      return sealed && unseal(sealed);
    } catch (error) {
      // Changed in the file: as good as not there.
      onFailure(error);
      return undefined;
    }
  }

  let totals: Totals = { entries: 0, bytes: 0 };
  return {
    name: 'sqlite',
    isShared: false,
    isReachable: true,
    get totals() {
      return totals;
    },
    maxEntryBytes: maxEntryBytesIn(maxBytes),
    read: (secret) => opened(secret, 'read'),
    take: (secret) => opened(secret, 'take'),
    async write(changes) {
      const lengths = changes.map(([, entry]) => entry?.value.length ?? 0);
      // Not from the pool, which would go along as a whole.
      const values = Buffer.allocUnsafeSlow(lengths.reduce((sum, length) => sum + length, 0));
      let end = 0;
      for (const [index, [, entry]] of changes.entries()) {
        if (entry) values.set(entry.value, end);
        end += lengths[index] ?? 0;
      }
      const written = thread.write(clock.now(), {
        secrets: changes.map(([secret]) => secret),
        expiresAt: changes.map(([, entry]) => entry?.expiresAt ?? 0),
        lengths,
        values,
      });
      // The thread has a copy.
      freeMemory(values);
      totals = await written;
    },
    close: () => thread.close(),
  };
}
