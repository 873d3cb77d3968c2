import type { Database } from '../../db/database.ts';
import type { RemoteVerbs } from '../../db/verbs.ts';
import { createMoveHours, createNoteTurns } from './note-turns.ts';
import { createPruneUsage } from './prune-usage.ts';
import { listTurns, oldestUsage, recordOf, sumUsage } from './read-usage.ts';

/** What is asked of the gateway's database about what was used. */
export function usageVerbs(db: Database) {
  const reading =
    <Values extends unknown[], Answer>(
      verb: (queries: Database['reading'], ...values: Values) => Promise<Answer>,
    ) =>
    (...values: Values) =>
      verb(db.reading, ...values);
  return {
    noteTurns: createNoteTurns(db),
    moveHours: createMoveHours(db),
    pruneUsage: createPruneUsage(db),
    sumUsage: reading(sumUsage),
    oldestUsage: reading(oldestUsage),
    listTurns: reading(listTurns),
    recordOf: reading(recordOf),
  };
}

/** The same as asked from another thread. */
export type UsageVerbs = RemoteVerbs<ReturnType<typeof usageVerbs>>;
