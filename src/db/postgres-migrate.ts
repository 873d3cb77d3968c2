import { DatabaseError } from './database.ts';
import { type Migration, pendingMigrations } from './migrate.ts';
import type { Postgres } from './postgres.ts';
import { cannotOpen } from './postgres-errors.ts';

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
      for (const { version, name, sql } of pendingMigrations(migrations, present?.version ?? 0)) {
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
