import type { Migration } from '../../../../db/migrate.ts';
import { accounts } from './0001-accounts.ts';
import { tokens } from './0002-tokens.ts';
import { standings } from './0003-standings.ts';
import { teams } from './0004-teams.ts';
import { cost } from './0005-cost.ts';

/** In order. A released migration is never edited; a change of the schema is a new one at the end. */
export const migrations: readonly Migration[] = [accounts, tokens, standings, teams, cost];
