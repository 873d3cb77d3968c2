import { type Keep, sizeOf } from './keep.ts';

/** Entries of one client whose sizes are remembered; a client with more has small ones only. */
const mostEntries = 20_000;

/**
 * A keep of which no client gets more than half: one that stores more pushes out its own oldest entries, not those of others.
 * Entries from before this process started count for no client, and go when they were not used for longest.
 */
export function createFairKeep(keep: Keep, maxBytes: number): Keep {
  /** The sizes of entries by key, those stored first at the beginning, of each client. There are as many as keys are configured. */
  const clients = new Map<string, { readonly sizes: Map<string, number>; bytes: number }>();

  function forget(clientId: string, key: string): void {
    const client = clients.get(clientId);
    const size = client?.sizes.get(key);
    if (client === undefined || size === undefined) return;
    client.sizes.delete(key);
    client.bytes -= size;
  }

  async function note(clientId: string, key: string, size: number): Promise<void> {
    forget(clientId, key);
    const client = clients.get(clientId) ?? { sizes: new Map(), bytes: 0 };
    clients.set(clientId, client);
    client.sizes.set(key, size);
    client.bytes += size;
    for (const first of client.sizes.keys()) {
      if (client.bytes <= maxBytes / 2 && client.sizes.size <= mostEntries) break;
      const isOver = client.bytes > maxBytes / 2;
      forget(clientId, first);
      // If that fails, the entry goes when it was not used for longest.
      if (isOver && first !== key) await keep.claim(first).catch(() => {});
    }
  }

  return {
    get: (key) => keep.get(key),
    claim(key) {
      for (const clientId of clients.keys()) forget(clientId, key);
      return keep.claim(key);
    },
    async put(key, value, ttlMs, clientId) {
      if (clientId !== undefined) await note(clientId, key, sizeOf(value));
      await keep.put(key, value, ttlMs);
    },
    close: () => keep.close(),
  };
}
