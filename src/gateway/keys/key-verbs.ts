import type { Database } from '../../db/database.ts';

/** What is asked of the gateway's database about client keys. */
export function keyVerbs(_db: Database) {
  return {};
}
