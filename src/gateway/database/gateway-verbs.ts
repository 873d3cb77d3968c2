import type { Database } from '../../db/database.ts';
import type { Migration } from '../../db/migrate.ts';
import { keyTables } from '../keys/key-tables.ts';
import { keyVerbs } from '../keys/key-verbs.ts';
import { limitTables } from '../limits/limit-tables.ts';
import { limitVerbs } from '../limits/limit-verbs.ts';
import { usageTables } from '../usage/usage-tables.ts';
import { usageVerbs } from '../usage/usage-verbs.ts';

const steps = [keyTables, limitTables, usageTables];

/** A released step is never edited. */
export function gatewayMigrations(kind: 'sqlite' | 'postgres'): readonly Migration[] {
  return steps.map(({ version, name, [kind]: sql }) => ({ version, name, sql }));
}

export type GatewayVerbs = ReturnType<typeof gatewayVerbs>;

/** All that is asked of the gateway's database, whichever it is. */
export function gatewayVerbs(db: Database) {
  return { ...keyVerbs(db), ...limitVerbs(db), ...usageVerbs(db), close: () => db.close() };
}
