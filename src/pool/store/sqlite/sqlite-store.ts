import { openSqlite } from '../../../db/sqlite.ts';
import { SqliteDatabase } from '../../../db/sqlite-database.ts';
import type { StoreVerbs } from '../store.ts';
import { storeVerbs } from '../verbs/store-verbs.ts';
import type { StoreOptions } from '../verbs/transaction.ts';
import { migrations } from './migrations.ts';

/** Opens the store at `path` (`:memory:` for one that is never written). Throws DatabaseError. */
export function openSqliteStore(path: string, now: number, options: StoreOptions): StoreVerbs {
  return storeVerbs(new SqliteDatabase(openSqlite(path, migrations, now, { reserves: true })), options);
}
