import type { DatabaseSync } from 'node:sqlite';
import { DatabaseError } from './database.ts';

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
    for (const migration of pendingMigrations(migrations, present.version)) {
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
export function pendingMigrations(migrations: readonly Migration[], version: number): readonly Migration[] {
  const newest = migrations.at(-1)?.version ?? 0;
  if (version > newest) {
    throw new DatabaseError(
      'database_too_new',
      `The database has schema version ${version}, this release knows up to ${newest}. ` +
        'Start the newer release, or restore a backup made before the upgrade.',
    );
  }
  const oldest = migrations[0]?.version ?? 0;
  if (version > 0 && version < oldest) {
    throw new DatabaseError(
      'database_unusable',
      `The database has schema version ${version}, this release knows those from ${oldest} on: open it with an earlier release first.`,
    );
  }
  return migrations.filter((migration) => migration.version > version);
}
