import { randomUUID } from 'node:crypto';
import { inject } from 'vitest';
import { openPostgres } from '../../../db/postgres.ts';
import { templateDatabase } from './template-database.ts';

/** A fresh, migrated database of its own; answers its URL. */
export async function freshDatabase(): Promise<string> {
  const maintenanceUrl = inject('postgresUrl');
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const maintenance = await openPostgres(maintenanceUrl);
  await maintenance.writing.script(`CREATE DATABASE ${name} TEMPLATE ${templateDatabase}`);
  await maintenance.close();
  return maintenanceUrl.replace('/postgres?', `/${name}?`);
}

const tables = [
  'meta',
  'accounts',
  'sessions',
  'leases',
  'reports_seen',
  'refreshes',
  'known_credentials',
  'removed_intents',
  'audit',
  'spending',
  'standings',
  'counters',
];

/** As fresh as a new one, and quicker. */
export async function emptyDatabase(url: string): Promise<void> {
  const db = await openPostgres(url);
  await db.writing.script(`TRUNCATE ${tables.join(', ')} RESTART IDENTITY`);
  await db.close();
}
