import { migratePostgres } from '../../../db/migrate.ts';
import { openPostgres } from '../../../db/postgres.ts';
import { type PostgresServer, startPostgresServer } from '../../../db/testing/postgres-server.ts';
import { postgresMigrations } from '../postgres/postgres-store.ts';

/** A migrated database of the server that all test files share, to be copied. */
export const templateDatabase = 'pool_template';

/** That server. */
export async function startSharedServer(): Promise<PostgresServer> {
  const server = await startPostgresServer();
  const maintenance = await openPostgres(server.url('postgres'));
  await maintenance.writing.script(`CREATE DATABASE ${templateDatabase}`);
  await maintenance.close();
  const template = await openPostgres(server.url(templateDatabase));
  await migratePostgres(template, postgresMigrations, 0);
  await template.close();
  return server;
}
