import { DatabaseError } from '../../db/database.ts';
import { openThread } from '../../db/verbs.ts';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { openSqliteStore } from './sqlite/sqlite-store.ts';
import type { OpenStoreOptions, Store, StoreVerbs } from './store.ts';
import type { StoreOptions } from './verbs/transaction.ts';

/**
 * Opens the store a DATABASE_URL names: `postgres://` for a server that several processes may share, or `sqlite:` and a
 * path (or a bare path) for a file of one process, whose work runs on a thread of its own.
 * Throws DatabaseError: `database_in_use` names the process that holds the file.
 */
export async function openStore(databaseUrl: string, options: OpenStoreOptions): Promise<Store> {
  if (isPostgresUrl(databaseUrl)) {
    // Loaded only where it is used: it is half the size of the pool.
    const { openPostgresStore } = await import('./postgres/postgres-store.ts');
    return openPostgresStore(databaseUrl, { ...options, auditsLeases: true });
  }
  const path = sqlitePath(databaseUrl);
  if (path === ':memory:') {
    return openMemoryStore(options.clock.now(), { clock: options.clock, auditsLeases: true });
  }
  const { clock, onLost } = options;
  const data = { path, now: clock.now() };
  return alone(await openThread<StoreVerbs>('./sqlite/store-thread', import.meta.url, data, onLost), clock);
}

/** A store in this thread's memory: small, quick, gone with the process. */
export function openMemoryStore(
  now: number,
  { clock = systemClock, ...options }: StoreOptions & { readonly clock?: Clock },
): Store {
  return alone(openSqliteStore(':memory:', now, options), clock);
}

/** A database of one process: there are no other instances. */
function alone(verbs: StoreVerbs, clock: Clock): Store {
  return {
    ...verbs,
    clock,
    isShared: false,
    isReachable: true,
    holders: async () => [],
    listen: () => {},
    tell: async () => {},
  };
}

export function isPostgresUrl(databaseUrl: string): boolean {
  return /^postgres(ql)?:\/\//.test(databaseUrl);
}

/** The file a DATABASE_URL names. Throws DatabaseError when it names none. */
export function sqlitePath(databaseUrl: string): string {
  if (databaseUrl.startsWith('sqlite:'))
    return databaseUrl.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '');
  if (/^[a-z]+:\/\//.test(databaseUrl)) {
    const scheme = databaseUrl.slice(0, databaseUrl.indexOf(':'));
    throw new DatabaseError(
      'database_unusable',
      `DATABASE_URL names "${scheme}"; accounts are kept in SQLite (sqlite:<path>) or PostgreSQL (postgres://user:password@host/database).`,
    );
  }
  return databaseUrl;
}
