import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Database } from '../../../db/database.ts';
import { migratePostgres } from '../../../db/migrate.ts';
import { openPostgres } from '../../../db/postgres.ts';
import { openSqlite } from '../../../db/sqlite.ts';
import { SqliteDatabase } from '../../../db/sqlite-database.ts';
import { newDatabase } from '../../../db/testing/shared-postgres.ts';
import { gatewayMigrations, planning } from '../../database/gateway-verbs.ts';
import { type UsageVerbs, usageVerbs } from '../usage-verbs.ts';
import { openUsage } from './ledger-turns.ts';

async function openSqliteDatabase(): Promise<Database> {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-usage-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'usage.db');
  return new SqliteDatabase(openSqlite(path, gatewayMigrations('sqlite'), 0));
}

async function openPostgresDatabase(): Promise<Database> {
  const db = await openPostgres(await newDatabase(), { connections: 4, settings: planning });
  await migratePostgres(db, gatewayMigrations('postgres'), 0, 'gateway_migrations');
  return db;
}

export const bothDatabases = [
  ['SQLite', openSqliteDatabase],
  ['PostgreSQL', openPostgresDatabase],
] as const;

/** An empty ledger until the test is over. */
export async function opened(open: () => Promise<Database>) {
  const db = await open();
  onTestFinished(() => db.close());
  const asked = usageVerbs(db) as UsageVerbs;
  return {
    db,
    verbs: openUsage(db),
    database: { ask: <Answer>(question: (verbs: UsageVerbs) => Promise<Answer>) => question(asked) },
  };
}
