import type { Queries, Value } from '../../db/database.ts';
import {
  type Dimension,
  dayMs,
  dimensions,
  faces,
  figures,
  hourMs,
  hourOf,
  type LedgerTurn,
  widestFace,
} from './ledger-turn.ts';
import { requestDigest } from './note-turns.ts';

/** Only turns of which all of this is true. */
export type UsageFilter = { readonly [Name in Dimension]?: string | undefined };

/** Milliseconds since 1970; `to` is not in it. `n` is what its sums are shown under. */
export interface UsageRange {
  readonly n: number;
  readonly from: number;
  readonly to: number;
}

/** Where sums are taken from: those of whole hours or days, or the turns themselves. */
export type UsageSource = 'hours' | 'days' | 'turns';

export interface UsageQuestion {
  readonly source: UsageSource;
  readonly filter: UsageFilter;
  readonly groups: readonly Dimension[];
  /** Each hour by itself, under its number, whatever its range. */
  readonly byHour: boolean;
  /** Whether times to the first content are wanted: half of the work. */
  readonly hasTimes: boolean;
  readonly ranges: readonly UsageRange[];
}

/** `n` of its range, or the hour; each group's value under its name; each figure under its own. */
export type UsageSum = { readonly n: number; readonly key_name?: string | null } & Readonly<
  Record<string, string | number | null>
>;

const sources = {
  hours: { table: 'usage_hours', time: 't.hour', unitMs: hourMs, byHour: 't.hour' },
  days: { table: 'usage_days', time: 't.day', unitMs: dayMs, byHour: 't.day * 24' },
  turns: { table: 'usage_turns', time: 't.at', unitMs: 1, byHour: `t.at / ${hourMs}` },
} as const;

/** A report has no more rows. */
export const mostRows = 20_000;

export function sumUsage(db: Queries, question: UsageQuestion): Promise<UsageSum[]> {
  const { source, filter, groups, byHour, hasTimes, ranges } = question;
  const { table, time, unitMs, byHour: hour } = sources[source];
  const given = ranges.map(({ n, from, to }) => ({ n, a: from / unitMs, b: to / unitMs }));
  const values: Value[] = [JSON.stringify(given)];
  const n = byHour ? hour : 'r.n';
  const summed = figures.filter(({ isTime }) => hasTimes || !isTime);
  const sums = summed.map(({ name, sql }) => sumOf(source === 'turns' ? sql : `t.${name}`, name));
  const face = source === 'turns' ? widestFace : faceFor([...groups, ...namesIn(filter)]);
  const first = hourOf(Math.min(...ranges.map(({ from }) => from)));
  const isOfSeries = `s.face = ${face} AND s.last_hour >= ${first} AND t.series_id = s.id`;
  const isInTime = `${time} >= r.a AND ${time} < r.b`;
  // SQLite takes the tables in this order: sums lie by series, turns by time.
  const tables = ['usage_series AS s', `${table} AS t`];
  return db.all<UsageSum>(
    `SELECT ${[`${n} AS n`, ...shown(groups), ...sums].join(', ')}
     FROM json_to_recordset($1) AS r (n integer, a bigint, b bigint)
       CROSS JOIN ${(source === 'turns' ? tables.toReversed() : tables).join(' CROSS JOIN ')}
     WHERE ${[isOfSeries, isInTime, ...conditionsOf(filter, values)].join(' AND ')}
     GROUP BY ${[n, ...groups.map(columnOf)].join(', ')} LIMIT ${mostRows + 1}`,
    ...values,
  );
}

/** When the oldest turn ended that is still there, and when the oldest day began of which there are sums. */
export interface OldestUsage {
  readonly turn: number;
  readonly sums: number;
}

/** Undefined where there is nothing. */
export async function oldestUsage(db: Queries): Promise<OldestUsage | undefined> {
  const turn = await db.get<{ at: number }>('SELECT at FROM usage_turns ORDER BY at LIMIT 1');
  const sums = await db.get<{ day: number | null }>(
    `SELECT MIN((SELECT MIN(t.day) FROM usage_days AS t WHERE t.series_id = s.id)) AS day
     FROM usage_series AS s WHERE s.face = 0`,
  );
  if (sums?.day == null) return undefined;
  return { turn: turn?.at ?? Number.POSITIVE_INFINITY, sums: sums.day * dayMs };
}

/** One turn as it is listed. */
export interface ListedTurn
  extends Omit<
    LedgerTurn,
    'record' | 'isStream' | 'isEstimated' | 'answeredModel' | 'provider' | 'accountId'
  > {
  readonly id: number;
  readonly answeredModel: string;
  readonly provider: string;
  readonly accountId: string;
  readonly isStream: number;
  readonly isEstimated: number;
}

/** The place of a turn among all, by time. */
export interface TurnPlace {
  readonly at: number;
  readonly id: number;
}

export interface TurnPage {
  readonly turns: readonly ListedTurn[];
  /** Where to go on; null after the last. */
  readonly next: TurnPlace | null;
}

/** So many turns one call looks at, so that others do not wait for it long. */
const mostLookedAt = 20_000;

/** Turns of a time, the newest first, from behind `before`. */
export async function listTurns(
  db: Queries,
  question: {
    readonly filter: UsageFilter;
    readonly from: number;
    readonly before: TurnPlace;
    readonly limit: number;
  },
): Promise<TurnPage> {
  const { filter, from, before, limit } = question;
  const conditions = conditionsOf(filter, []);
  const lookedAt = conditions.length === 0 ? limit : mostLookedAt;
  const last = await db.get<TurnPlace>(
    `SELECT at, id FROM usage_turns WHERE at >= $1 AND (at, id) < ($2, $3) ORDER BY at DESC, id DESC LIMIT 1 OFFSET ${lookedAt - 1}`,
    from,
    before.at,
    before.id,
  );
  const values: Value[] = [last?.at ?? from, last?.id ?? 0, before.at, before.id, limit];
  const turns = await db.all<ListedTurn>(
    `SELECT t.id, t.at, t.request_id AS "requestId", s.key_id AS "keyId", s.key_name AS "keyName", s.model,
       s.answered_model AS "answeredModel", s.provider, s.account_id AS "accountId", s.dialect, s.outcome,
       t.is_stream AS "isStream", t.status, t.attempts, t.input_tokens AS "inputTokens", t.output_tokens AS "outputTokens",
       t.cached_tokens AS "cachedTokens", t.cache_write_tokens AS "cacheWriteTokens", t.reasoning_tokens AS "reasoningTokens",
       t.cost_nanos AS "costNanos", t.credit_micros AS "creditMicros", t.is_estimated AS "isEstimated",
       t.first_content_ms AS "firstContentMs", t.duration_ms AS "durationMs"
     FROM usage_turns AS t JOIN usage_series AS s ON s.id = t.series_id
     WHERE (t.at, t.id) >= ($1, $2) AND (t.at, t.id) < ($3, $4)
       ${conditionsOf(filter, values)
         .map((one) => `AND ${one}`)
         .join(' ')}
     ORDER BY t.at DESC, t.id DESC LIMIT $5`,
    ...values,
  );
  const end = turns.length === limit ? turns.at(-1) : last;
  return { turns, next: end ? { at: end.at, id: end.id } : null };
}

/** Begins with the request's id; earlier releases wrote it under a name. */
type KeptRecord = readonly unknown[] | { readonly request_id: string };

/** The decision record of a request as JSON, the newest of several; undefined where there is none any more. */
export async function recordOf(db: Queries, requestId: string): Promise<string | undefined> {
  const batches = await db.all<{ records: string }>(
    `SELECT r.records FROM usage_requests AS q CROSS JOIN usage_records AS r
     WHERE q.requests LIKE $1 AND r.id = q.id ORDER BY q.id DESC LIMIT 3`,
    `%${requestDigest(requestId)}%`,
  );
  for (const { records } of batches) {
    const found = (JSON.parse(records) as KeptRecord[]).findLast(
      (one) => ('request_id' in one ? one.request_id : one[0]) === requestId,
    );
    if (found) return JSON.stringify(found);
  }
  return undefined;
}

/** The first face that tells apart all of these. */
function faceFor(names: readonly Dimension[]): number {
  const found = faces.findIndex((face) => names.every((name) => face.includes(name)));
  return found < 0 ? widestFace : found;
}

function namesIn(filter: UsageFilter): Dimension[] {
  return (Object.keys(filter) as Dimension[]).filter((name) => filter[name] !== undefined);
}

function columnOf(name: Dimension): string {
  return `s.${dimensions[name].column}`;
}

function shown(groups: readonly Dimension[]): string[] {
  const columns = groups.map((name) => `${columnOf(name)} AS ${name}`);
  return groups.includes('key') ? [...columns, 'MAX(s.key_name) AS key_name'] : columns;
}

/** As a floating number: sums may be above what JavaScript holds exactly. */
function sumOf(sql: string, name: string): string {
  return `SUM(${sql})::float8 * 1.0 AS ${name}`;
}

/** What their values are is added to `values`. */
function conditionsOf(filter: UsageFilter, values: Value[]): string[] {
  return namesIn(filter).map((name) => {
    const value = filter[name] as string;
    if (name === 'outcome' && value === 'error') return "s.outcome NOT IN ('success', 'cancelled')";
    values.push(value);
    const place = `$${values.length}`;
    if (name === 'key') return `(s.key_id = ${place} OR s.key_name = ${place})`;
    if (name === 'account') return `substr(s.account_id, 1, length(${place})) = ${place}`;
    return `${columnOf(name)} = ${place}`;
  });
}
