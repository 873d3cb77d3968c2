import type { Migration } from '../../../../db/migrate.ts';
import { pool } from './0001-pool.ts';
import { teams } from './0002-teams.ts';
import { cost } from './0003-cost.ts';

/** In order. A released migration is never edited; a change of the schema is a new one at the end. */
export const postgresMigrations: readonly Migration[] = [pool, teams, cost];
