import { openSqlite } from '../../db/sqlite.ts';
import { SqliteDatabase } from '../../db/sqlite-database.ts';
import { type GatewayVerbs, gatewayMigrations, gatewayVerbs } from './gateway-verbs.ts';

/** Opens the file at `path`, or `:memory:`, in this thread. Throws DatabaseError. */
export function openSqliteVerbs(path: string, now: number): GatewayVerbs {
  return gatewayVerbs(new SqliteDatabase(openSqlite(path, gatewayMigrations('sqlite'), now)));
}
