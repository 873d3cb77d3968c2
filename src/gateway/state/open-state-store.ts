import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { BufferedStore } from './buffered-store.ts';
import { type PutOptions, type StateStore, type Storage, type StorageEvents, sizeOf } from './state-store.ts';

export interface StateStoreOptions {
  /** `memory`, `sqlite:` and an absolute path, or `postgres://…`. */
  readonly url: string;
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Opens what KEEP_URL names. */
export function openStateStore(options: StateStoreOptions): Promise<BufferedStore> {
  const { url, clock, maxBytes, logger } = options;
  if (url === 'memory') return BufferedStore.open({ clock, maxBytes });
  return BufferedStore.open({ clock, maxBytes, storage: { open, logger } });

  // Loaded only where they are used.
  async function open(events: StorageEvents): Promise<Storage> {
    if (url.startsWith('sqlite:')) {
      const { openSqliteStorage } = await import('./sqlite-storage.ts');
      return openSqliteStorage(url.slice('sqlite:'.length), clock, maxBytes, events);
    }
    const { openPostgresStorage } = await import('./postgres-storage.ts');
    return openPostgresStorage(url, clock, maxBytes, events.onFailure);
  }
}

/** Entries whose sizes are remembered, of all clients together; a client that has more of them has small ones. */
const mostEntries = 10_000;

interface Share {
  /** By key, those stored first at the beginning. */
  readonly sizes: Map<string, number>;
  bytes: number;
}

/**
 * A store of which no client gets more than half: one that stores more pushes out its own oldest entries, not those of others.
 * Entries from before this process started count for no client, and go when they were not used for longest.
 */
export class FairShare implements StateStore {
  readonly #store: StateStore;
  readonly #maxBytes: number;
  /** Whether there is more than one client, so that shares are counted. */
  readonly #areSeveral: () => boolean;
  /** By client. */
  readonly #shares = new Map<string, Share>();
  #remembered = 0;

  constructor(store: StateStore, maxBytes: number, areSeveral: () => boolean = () => true) {
    this.#store = store;
    this.#maxBytes = maxBytes;
    this.#areSeveral = areSeveral;
  }

  /** Entries whose sizes are remembered now. */
  get remembered(): number {
    return this.#remembered;
  }

  get(key: string) {
    return this.#store.get(key);
  }

  async insert(...[key, value, ttlMs, options]: Parameters<StateStore['insert']>) {
    const known = await this.#store.insert(key, value, ttlMs, options);
    const clientId = known ? undefined : this.#sharerOf(options);
    if (clientId !== undefined) await this.#share(clientId, key, value);
    return known;
  }

  claim(key: string) {
    for (const share of this.#shares.values()) this.#forget(share, key);
    return this.#store.claim(key);
  }

  put(...[key, value, ttlMs, options]: Parameters<StateStore['put']>): Promise<void> {
    const clientId = this.#sharerOf(options);
    const put = () => this.#store.put(key, value, ttlMs, options);
    return clientId === undefined ? put() : this.#share(clientId, key, value).then(put);
  }

  /** The client whose entry is counted. */
  #sharerOf({ clientId }: PutOptions = {}): string | undefined {
    return this.#areSeveral() ? clientId : undefined;
  }

  /** Counts the entry as its client's, and makes room for it among the client's own. */
  async #share(clientId: string, key: string, value: Uint8Array): Promise<void> {
    const share = this.#shares.get(clientId) ?? { sizes: new Map(), bytes: 0 };
    this.#shares.set(clientId, share);
    this.#note(share, key, sizeOf(value));
    for (const [oldest] of share.sizes) {
      if (share.bytes <= this.#maxBytes / 2) break;
      this.#forget(share, oldest);
      // If that fails, the entry goes when it was not used for longest.
      if (oldest !== key) await this.#store.claim(oldest).catch(() => {});
    }
  }

  #note(share: Share, key: string, size: number): void {
    this.#forget(share, key);
    share.sizes.set(key, size);
    share.bytes += size;
    this.#remembered += 1;
    if (this.#remembered <= mostEntries) return;
    // Of the client with the most entries, so that none can make us forget those of another.
    let most = share;
    for (const each of this.#shares.values()) if (each.sizes.size > most.sizes.size) most = each;
    const [oldest] = most.sizes.keys();
    if (oldest !== undefined) this.#forget(most, oldest);
  }

  #forget(share: Share, key: string): void {
    const size = share.sizes.get(key);
    if (size === undefined) return;
    share.sizes.delete(key);
    share.bytes -= size;
    this.#remembered -= 1;
  }
}
