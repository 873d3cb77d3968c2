import { openDatabaseClock } from '../../../db/database-clock.ts';
import { openPostgres, type Postgres } from '../../../db/postgres.ts';
import { migratePostgres } from '../../../db/postgres-migrate.ts';
import { systemClock } from '../../../lib/clock.ts';
import type { Changes, OpenStoreOptions, Store } from '../store.ts';
import { storeVerbs } from '../verbs/store-verbs.ts';
import type { StoreOptions } from '../verbs/transaction.ts';
import { postgresMigrations } from './migrations.ts';
import { hasNews, type NewsExchange, openNews } from './news.ts';
import { postgresShortcuts } from './shortcuts.ts';

type PostgresStoreOptions = StoreOptions & Partial<OpenStoreOptions>;

/**
 * Every statement here has its index. A plan is made when tables may still be empty and kept while they grow, so the
 * planner must not think a look at all rows the cheaper way.
 */
export const planning = { enable_seqscan: 'off', jit: 'off' };

/** Opens the store of a `postgres://` URL and migrates it. Its clock is the database's. Throws DatabaseError. */
export async function openPostgresStore(url: string, options: PostgresStoreOptions): Promise<Store> {
  const { clock: machine = systemClock } = options;
  const { db, news, close } = await openMigrated(url, machine.now(), options);
  try {
    const clock = await openDatabaseClock(db.reading, machine);
    const notifyOthers = (changes: Changes): void => {
      if (hasNews(changes)) void news.tell({ type: 'changes', changes });
    };
    const shortcuts = postgresShortcuts(db, options.auditsLeases);
    return {
      ...storeVerbs(db, options, { notifyOthers, shortcuts }),
      clock,
      isShared: true,
      holders: db.holders,
      get isReachable() {
        return db.isReachable;
      },
      listen: news.listen,
      tell: news.tell,
      async close() {
        clock.close();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A migrated database, held together with others or by this process alone, that hears news. Throws DatabaseError. */
export async function openMigrated(
  url: string,
  now: number,
  {
    exclusive = false,
    onTrouble = () => {},
    onBack = () => {},
  }: Omit<PostgresStoreOptions, keyof StoreOptions>,
): Promise<{ readonly db: Postgres; readonly news: NewsExchange; close(): Promise<void> }> {
  const db = await openPostgres(url, { onTrouble, onBack, settings: planning });
  try {
    await migratePostgres(db, postgresMigrations, now);
    const news = await openNews(db, onTrouble, exclusive ? 'exclusive' : 'shared');
    return {
      db,
      news,
      async close() {
        await news.close();
        await db.close();
      },
    };
  } catch (error) {
    await db.close();
    throw error;
  }
}
