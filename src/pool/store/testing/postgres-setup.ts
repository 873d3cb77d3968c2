import type { TestProject } from 'vitest/node';
import { openPostgres } from '../../../db/postgres.ts';
import { migratePostgres } from '../../../db/postgres-migrate.ts';
import { startPostgresServer } from '../../../db/testing/postgres-server.ts';
import { postgresMigrations } from '../postgres/migrations.ts';
import { templateDatabase } from './template-database.ts';

/** Before the contract tests: a PostgreSQL server of their own, with a migrated database to copy. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startPostgresServer();
  const maintenance = await openPostgres(server.url('postgres'));
  await maintenance.writing.script(`CREATE DATABASE ${templateDatabase}`);
  await maintenance.close();
  const template = await openPostgres(server.url(templateDatabase));
  await migratePostgres(template, postgresMigrations, 0);
  await template.close();
  project.provide('postgresUrl', server.url('postgres'));
  return () => server.dispose();
}
