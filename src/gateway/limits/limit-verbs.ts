import type { Database } from '../../db/database.ts';

/** What is asked of the gateway's database about what keys have used of their limits. */
export function limitVerbs(_db: Database) {
  return {};
}
