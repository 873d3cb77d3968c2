import type { Migration } from '../../../../db/migrate.ts';

export const cost: Migration = {
  version: 5,
  name: 'what turns cost in US cents',
  sql: `
ALTER TABLE accounts ADD COLUMN cost_cents REAL NOT NULL DEFAULT 0;
ALTER TABLE spending ADD COLUMN cost_cents REAL NOT NULL DEFAULT 0;`,
};
