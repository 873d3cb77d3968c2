import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseError, type Queries } from '../../db/database.ts';
import type { PostgresQueries } from '../../db/postgres.ts';
import { holdSqlite, openSqlite, type Sqlite } from '../../db/sqlite.ts';
import { isPostgresUrl, sqlitePath } from './open-store.ts';
import { migrations } from './sqlite/sqlite-store.ts';

/** How many rows were moved, by table. */
export type MovedRows = Readonly<Record<string, number>>;

/** In the order they were made in: parents before children. */
const tablesQuery = `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid`;
const countedAgain = ['schema_migrations', 'counters', 'standings'];
const rowsAtOnce = 500;

/**
 * Copies a whole pool from a SQLite file to an empty PostgreSQL database, in one transaction: accounts as they are
 * sealed, sessions and leases with their fences, the refresh journal, audit, facts. No other process may use either
 * meanwhile; the file stays as it is. Throws DatabaseError with what to do.
 */
export async function moveStore(fromUrl: string, toUrl: string, now: number): Promise<MovedRows> {
  if (isPostgresUrl(fromUrl)) {
    throw new DatabaseError(
      'database_unusable',
      'Accounts are moved out of SQLite: name the file with --from sqlite:<path>.',
    );
  }
  if (!isPostgresUrl(toUrl)) {
    throw new DatabaseError(
      'database_unusable',
      'Accounts are moved to PostgreSQL: give --to postgres://user:password@host:5432/database.',
    );
  }
  const held = holdSqlite(sqlitePath(fromUrl), now);
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-move-'));
  try {
    // A copy is brought up to this release's schema; the file itself is only read.
    const copy = join(folder, 'accounts.db');
    held.copyTo(copy);
    const source = openSqlite(copy, migrations, now);
    try {
      return await copyInto(toUrl, source, now);
    } finally {
      source.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
    held.close();
  }
}

async function copyInto(toUrl: string, source: Sqlite, now: number): Promise<MovedRows> {
  const tables = tablesToMove(source, now);
  const { openMigrated } = await import('./postgres/postgres-store.ts');
  const target = await openMigrated(toUrl, now, { exclusive: true });
  try {
    return await target.db.transaction(async (queries) => {
      await emptyTarget(queries, target.db.place, tables);
      const moved: Record<string, number> = {};
      for (const table of tables) moved[table] = await copyTable(source, queries, table);
      await checkCounters(queries);
      return moved;
    });
  } finally {
    await target.close();
  }
}

/** Those of a new pool. What else is in the file is not a pool's, or not of this release, and would be left behind in silence. */
function tablesToMove(source: Sqlite, now: number): string[] {
  const tablesOf = (one: Sqlite) => one.all<{ name: string }>(tablesQuery).map(({ name }) => name);
  const fresh = openSqlite(':memory:', migrations, now);
  const known = tablesOf(fresh);
  fresh.close();
  const unknown = tablesOf(source).filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`It is not known how to move ${unknown.join(', ')}.`);
  return known.filter((name) => !countedAgain.includes(name));
}

/** A pool that was started there without accounts has left some facts behind; they make way. */
async function emptyTarget(
  queries: PostgresQueries,
  place: string,
  tables: readonly string[],
): Promise<void> {
  const present = await queries.get<{ accounts: number }>('SELECT COUNT(*) AS accounts FROM accounts');
  if ((present?.accounts ?? 0) > 0) {
    throw new DatabaseError(
      'database_in_use',
      `The database ${place} has ${present?.accounts} accounts already; a pool is moved into an empty one only. ` +
        'Create another database and name that.',
    );
  }
  await queries.script(`TRUNCATE ${tables.join(', ')}, standings, counters RESTART IDENTITY`);
}

async function copyTable(source: Sqlite, queries: Queries, table: string): Promise<number> {
  const columns = source
    .all<{ name: string }>(`SELECT name FROM pragma_table_info('${table}')`)
    .map(({ name }) => name);
  const names = columns.map((name) => `"${name}"`).join(', ');
  const insert = async (rows: readonly unknown[]): Promise<void> => {
    await queries.run(
      `INSERT INTO ${table} (${names}) SELECT ${names} FROM json_populate_recordset(NULL::${table}, $1::json)`,
      JSON.stringify(rows),
    );
  };
  let page: unknown[] = [];
  let read = 0;
  for (const row of source.iterate<unknown>(`SELECT ${names} FROM ${table} ORDER BY 1, 2`)) {
    page.push(row);
    read += 1;
    if (page.length === rowsAtOnce) {
      await insert(page);
      page = [];
    }
  }
  if (page.length > 0) await insert(page);
  if (columns.includes('seq')) {
    await queries.get(
      `SELECT setval(pg_get_serial_sequence('${table}', 'seq'), GREATEST(1, MAX(seq)), MAX(seq) IS NOT NULL) FROM ${table}`,
    );
  }
  const written = await queries.get<{ rows: number }>(`SELECT COUNT(*) AS rows FROM ${table}`);
  if (written?.rows !== read) {
    throw new Error(`Of ${read} rows of ${table}, ${written?.rows} arrived; nothing was moved.`);
  }
  return read;
}

/** The triggers have counted while the rows came: what they have must be what is there. */
async function checkCounters(queries: Queries): Promise<void> {
  const counted = await queries.get<{ accounts: boolean; sessions: boolean; leases: boolean }>(
    `SELECT
       (SELECT COALESCE(SUM(accounts), 0) FROM standings) = (SELECT COUNT(*) FROM accounts) AS accounts,
       (SELECT COALESCE(SUM(sessions), 0) FROM counters) = (SELECT COUNT(*) FROM sessions) AS sessions,
       (SELECT COALESCE(SUM(holders), 0) FROM accounts) = (SELECT COUNT(*) FROM leases) AS leases`,
  );
  const wrong = Object.entries(counted ?? { all: false }).filter(([, isRight]) => !isRight);
  if (wrong.length > 0) {
    throw new Error(
      `The counters of ${wrong.map(([name]) => name).join(', ')} are wrong; nothing was moved.`,
    );
  }
}
