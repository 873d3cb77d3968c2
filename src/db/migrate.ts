import type { DatabaseSync } from 'node:sqlite';
import { DatabaseError } from './database.ts';
import type { Postgres } from './postgres.ts';
import { cannotOpen } from './postgres-errors.ts';

/** One step of the schema. `version` counts up without gaps; a released step is never edited. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

/** A step whose tables are written for both databases. */
export interface TablesStep {
  readonly version: number;
  readonly name: string;
  readonly sqlite: string;
  readonly postgres: string;
}

/** Brings the schema up to the last migration, all in one transaction. Throws DatabaseError `database_too_new`. */
export function migrate(database: DatabaseSync, migrations: readonly Migration[], now: number): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    database.exec(
      `CREATE TABLE IF NOT EXISTS schema_migrations (
        version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL
      ) STRICT`,
    );
    const present = database
      .prepare('SELECT COALESCE(MAX(version), 0) AS version FROM schema_migrations')
      .get() as { version: number };
    const note = database.prepare(
      'INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)',
    );
    for (const migration of pendingMigrations(
      migrations,
      present.version,
      database.location() ?? ':memory:',
    )) {
      database.exec(migration.sql);
      note.run(migration.version, migration.name, now);
    }
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

/** The steps a database of that version lacks; 0 for a new one. Throws DatabaseError `database_too_new`, or `database_unusable` for one of before the first step. */
function pendingMigrations(
  migrations: readonly Migration[],
  version: number,
  place: string,
): readonly Migration[] {
  const newest = migrations.at(-1)?.version ?? 0;
  if (version > newest) {
    throw new DatabaseError(
      'database_too_new',
      `The database ${place} has schema version ${version}, this release knows up to ${newest}. ` +
        'Start the newer release, or restore a backup made before the upgrade.',
    );
  }
  const oldest = migrations[0]?.version ?? 0;
  if (version > 0 && version < oldest) {
    throw new DatabaseError(
      'database_unusable',
      `The database ${place} has schema version ${version}, this release knows those from ${oldest} on: open it with an earlier release first.`,
    );
  }
  return migrations.filter((migration) => migration.version > version);
}

/** Any number that no other program takes for its advisory lock. */
const lockNumber = 8_019_801_820;

/**
 * Brings the schema up to the last migration, all in one transaction. Instances that start together wait for each
 * other. Throws DatabaseError `database_too_new`, or one that says what the user may not do. `table` notes the steps taken;
 * each owner of tables in one database has its own.
 */
export async function migratePostgres(
  db: Postgres,
  migrations: readonly Migration[],
  now: number,
  table = 'schema_migrations',
): Promise<void> {
  try {
    await db.transaction(async (queries) => {
      // Another instance may be at a large table; this one waits for it as long as that takes.
      await queries.script(`SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(${lockNumber})`);
      await queries.run(
        `CREATE TABLE IF NOT EXISTS ${table} (
          version integer PRIMARY KEY, name text NOT NULL, applied_at bigint NOT NULL
        )`,
      );
      const present = await queries.get<{ version: number }>(
        `SELECT COALESCE(MAX(version), 0) AS version FROM ${table}`,
      );
      for (const { version, name, sql } of pendingMigrations(
        migrations,
        present?.version ?? 0,
        `${db.place} (${table})`,
      )) {
        await queries.script(sql);
        await queries.run(
          `INSERT INTO ${table} (version, name, applied_at) VALUES ($1, $2, $3)`,
          version,
          name,
          now,
        );
      }
    });
  } catch (error) {
    throw error instanceof DatabaseError ? error : cannotOpen(db.place, error);
  }
}
