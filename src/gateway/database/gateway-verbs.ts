import type { Database } from '../../db/database.ts';
import type { Migration } from '../../db/migrate.ts';
import { keyTables, keyVerbs } from '../keys/key-verbs.ts';
import { limitTables, limitVerbs } from '../limits/limit-verbs.ts';
import { usageSpans, usageTables } from '../usage/usage-tables.ts';
import { usageVerbs } from '../usage/usage-verbs.ts';

const steps = [keyTables, limitTables, usageTables, usageSpans];

/** A released step is never edited. */
export function gatewayMigrations(kind: 'sqlite' | 'postgres'): readonly Migration[] {
  return steps.map(({ version, name, [kind]: sql }) => ({ version, name, sql }));
}

/**
 * How PostgreSQL plans these statements: row by row through indexes, in the order in which the tables are written, as SQLite
 * does, and sums in a table of hashes, since a report would sort all rows that it sums up. An index that has the order a statement
 * asks for is then read to its end, however few rows it wants of it. Plans are made while tables are empty and kept while they grow
 * to millions of rows.
 */
export const planning = {
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  enable_memoize: 'off',
  enable_sort: 'off',
  join_collapse_limit: '1',
  jit: 'off',
  // A report may have tens of thousands of rows.
  work_mem: '32MB',
};

export type GatewayVerbs = ReturnType<typeof gatewayVerbs>;

/** All that is asked of the gateway's database, whichever it is. */
export function gatewayVerbs(db: Database) {
  return { ...keyVerbs(db), ...limitVerbs(db), ...usageVerbs(db), close: () => db.close() };
}
