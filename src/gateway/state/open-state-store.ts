import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { BufferedStore, type StorageEvents } from './buffered-store.ts';
import type { Storage } from './state-store.ts';

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
