import type { Database } from '../../db/database.ts';
import type { RemoteVerbs } from '../../db/verbs.ts';
import { allSpans, dayMs, hourMs, hourOf, longestSpan, spanStart, widestFace } from './ledger-turn.ts';
import { createMoveHours, createNoteTurns } from './note-turns.ts';
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

export interface UsageBounds {
  /** Of turns and their records. */
  readonly keptMs: number;
  /** Turns and records get half of it each. */
  readonly maxBytes: number;
}

/** Sums of the small faces; those that tell everything apart go with the turns. */
const sumsKeptMs = 800 * dayMs;
const batchesKeptMs = 7 * dayMs;
const turnsAtOnce = 500;
const recordsAtOnce = 100;
const seriesAtOnce = 20;

/** Removes a portion of what is too old or too much; answers whether there is more. */
function createPruneUsage(db: Database): (now: number, bounds: UsageBounds) => Promise<boolean> {
  /** The series whose sums are looked at next. */
  let seriesFrom = 0;
  return async (now, { keptMs, maxBytes }) => {
    const oldest = now - keptMs;
    const turnsFrom = Math.max(oldest, await firstHourWithin('turn_bytes', maxBytes / 2));
    const recordsFrom = Math.max(oldest, await firstHourWithin('record_bytes', maxBytes / 2));
    const turns = await db.writing.run(oldTurns, turnsFrom);
    const records = await db.writing.run(oldRecords, recordsFrom);
    await db.writing.run(oldRequests);
    await db.writing.run(
      'DELETE FROM usage_sizes WHERE hour < $1',
      hourOf(Math.min(turnsFrom, recordsFrom)) - 1,
    );
    await db.writing.run('DELETE FROM usage_batches WHERE at < $1', now - batchesKeptMs);
    const sums = await pruneSums(hourOf(oldest), hourOf(now - Math.max(keptMs, sumsKeptMs)));
    return turns === turnsAtOnce || records === recordsAtOnce || sums > 0;
  };

  /** When the first hour begins since which no more than that was written; 0 where all is within. */
  async function firstHourWithin(column: 'turn_bytes' | 'record_bytes', most: number): Promise<number> {
    const over = await db.reading.get<{ hour: number }>(
      `SELECT hour FROM (
         SELECT hour, SUM(${column}) OVER (ORDER BY hour DESC) AS bytes FROM usage_sizes
       ) AS sizes WHERE bytes > $1 ORDER BY hour DESC LIMIT 1`,
      most,
    );
    return over ? (over.hour + 1) * hourMs : 0;
  }

  async function pruneSums(widestFrom: number, othersFrom: number): Promise<number> {
    const series = await db.reading.all<{ id: number; face: number }>(
      `SELECT id, face FROM usage_series WHERE id > $1 ORDER BY id LIMIT ${seriesAtOnce}`,
      seriesFrom,
    );
    seriesFrom = series.length < seriesAtOnce ? 0 : (series.at(-1)?.id ?? 0);
    const idsWhere = (isWidest: boolean) =>
      series.filter(({ face }) => (face === widestFace) === isWidest).map(({ id }) => id);
    let removed = 0;
    for (const [ids, from] of [
      [idsWhere(true), widestFrom],
      [idsWhere(false), othersFrom],
    ] as const) {
      if (ids.length === 0) continue;
      // Those of one time go together, whatever their span, and a series after its last one.
      const first = spanStart(from, longestSpan);
      removed += await db.writing.run(oldSums, ids, first);
      removed += await db.writing.run(emptySeries, ids, first);
    }
    return removed;
  }
}

const oldTurns = `DELETE FROM usage_turns WHERE id IN (
  SELECT id FROM usage_turns WHERE at < $1 ORDER BY at LIMIT ${turnsAtOnce} FOR UPDATE SKIP LOCKED)`;
const oldRecords = `DELETE FROM usage_records WHERE at < $1 AND id IN (
  SELECT id FROM usage_records ORDER BY id LIMIT ${recordsAtOnce} FOR UPDATE SKIP LOCKED)`;
const oldRequests = `DELETE FROM usage_requests
  WHERE id < COALESCE((SELECT id FROM usage_records ORDER BY id LIMIT 1), ${Number.MAX_SAFE_INTEGER})`;
const oldSums = `DELETE FROM usage_sums
  WHERE series_id = ANY ($1) AND span IN (${allSpans.join(', ')}) AND start < $2`;
/** No gateway notes one without writing \`last_hour\` in the same hour. Turns that are left of it keep it. */
const emptySeries = `DELETE FROM usage_series WHERE id = ANY ($1) AND last_hour < $2`;
