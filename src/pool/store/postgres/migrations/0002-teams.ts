import type { Migration } from '../../../../db/migrate.ts';

export const teams: Migration = {
  version: 2,
  name: 'the team an account bills',
  sql: 'ALTER TABLE accounts ADD COLUMN team_uid text;',
};
