import type { Database } from '../../db/database.ts';
import { dayMs, hourMs, hourOf, widestFace } from './ledger-turn.ts';

export interface UsageBounds {
  /** Of turns and their records. */
  readonly keptMs: number;
  /** Turns and records get half of it each. */
  readonly maxBytes: number;
}

/** Sums of the small faces; those that tell everything apart go with the turns. */
const sumsKeptMs = 800 * dayMs;
const batchesKeptMs = 7 * dayMs;
const turnsAtOnce = 2_000;
const recordsAtOnce = 100;
const seriesAtOnce = 100;

/** Removes a portion of what is too old or too much; answers whether there is more. */
export function createPruneUsage(db: Database): (now: number, bounds: UsageBounds) => Promise<boolean> {
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
    await pruneSums(hourOf(oldest), hourOf(now - Math.max(keptMs, sumsKeptMs)));
    return turns === turnsAtOnce || records === recordsAtOnce;
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

  async function pruneSums(widestFrom: number, othersFrom: number): Promise<void> {
    const series = await db.reading.all<{ id: number }>(
      `SELECT id FROM usage_series WHERE id > $1 ORDER BY id LIMIT ${seriesAtOnce}`,
      seriesFrom,
    );
    seriesFrom = series.length < seriesAtOnce ? 0 : (series.at(-1)?.id ?? 0);
    if (series.length === 0) return;
    const ids = series.map(({ id }) => id);
    await db.writing.run(oldHours, ids, widestFrom, othersFrom);
    await db.writing.run(oldDays, ids, widestFrom / 24 - 1, othersFrom / 24 - 1);
    await db.writing.run(emptySeries, ids, widestFrom, othersFrom);
  }
}

const oldTurns = `DELETE FROM usage_turns WHERE id IN (
  SELECT id FROM usage_turns WHERE at < $1 ORDER BY at LIMIT ${turnsAtOnce} FOR UPDATE SKIP LOCKED)`;
const oldRecords = `DELETE FROM usage_records WHERE at < $1 AND id IN (
  SELECT id FROM usage_records ORDER BY id LIMIT ${recordsAtOnce} FOR UPDATE SKIP LOCKED)`;
const oldRequests = `DELETE FROM usage_requests
  WHERE id < COALESCE((SELECT id FROM usage_records ORDER BY id LIMIT 1), ${Number.MAX_SAFE_INTEGER})`;
const isOld = (hour: string): string =>
  `${hour} < CASE WHEN face = ${widestFace} THEN $2::integer ELSE $3::integer END`;
const oldSums = (table: string, time: string): string => `DELETE FROM ${table} WHERE series_id = ANY ($1)
  AND ${time} < (SELECT CASE WHEN face = ${widestFace} THEN $2::float8 ELSE $3::float8 END FROM usage_series WHERE id = series_id)`;
const oldHours = oldSums('usage_hours', 'hour');
const oldDays = oldSums('usage_days', 'day');
/** No gateway notes one without writing \`last_hour\` in the same hour. Turns that are left of it keep it. */
const emptySeries = `DELETE FROM usage_series WHERE id = ANY ($1) AND ${isOld('last_hour')}`;
