import { type Keep, sizeOf } from './keep.ts';

/** Entries whose sizes are remembered, of all clients together; a client that has more of them has small ones. */
const mostEntries = 10_000;

export interface FairKeep extends Keep {
  /** Entries whose sizes are remembered now. */
  readonly remembered: number;
}

/**
 * A keep of which no client gets more than half: one that stores more pushes out its own oldest entries, not those of others.
 * Entries from before this process started count for no client, and go when they were not used for longest.
 */
export function createFairKeep(keep: Keep, maxBytes: number): FairKeep {
  /** The sizes of entries by key, those stored first at the beginning, of each client. There are as many as keys are configured. */
  const clients = new Map<string, { readonly sizes: Map<string, number>; bytes: number }>();

  let remembered = 0;

  function forget(clientId: string, key: string): void {
    const client = clients.get(clientId);
    const size = client?.sizes.get(key);
    if (client === undefined || size === undefined) return;
    client.sizes.delete(key);
    client.bytes -= size;
    remembered -= 1;
  }

  /** Of the client with the most entries, so that none can make us forget those of another. */
  function forgetFirst(): void {
    let [most] = clients;
    for (const one of clients) if (most === undefined || one[1].sizes.size > most[1].sizes.size) most = one;
    const [first] = most?.[1].sizes.keys() ?? [];
    if (most !== undefined && first !== undefined) forget(most[0], first);
  }

  async function note(clientId: string, key: string, size: number): Promise<void> {
    forget(clientId, key);
    const client = clients.get(clientId) ?? { sizes: new Map(), bytes: 0 };
    clients.set(clientId, client);
    client.sizes.set(key, size);
    client.bytes += size;
    remembered += 1;
    if (remembered > mostEntries) forgetFirst();
    for (const first of client.sizes.keys()) {
      if (client.bytes <= maxBytes / 2) break;
      forget(clientId, first);
      // If that fails, the entry goes when it was not used for longest.
      if (first !== key) await keep.claim(first).catch(() => {});
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
    get remembered() {
      return remembered;
    },
  };
}
