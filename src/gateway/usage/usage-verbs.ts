import type { Database } from '../../db/database.ts';

/** What is asked of the gateway's database about what was used. */
export function usageVerbs(_db: Database) {
  return {};
}
