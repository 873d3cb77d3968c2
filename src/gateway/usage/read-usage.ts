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
import { otherName, requestDigests } from './note-turns.ts';

/** What questions tell turns apart by: also what is known of their keys now, of which the ledger keeps nothing. */
export type UsageName = Dimension | 'owner';

/** Only turns of which all of this is true. */
export type UsageFilter = { readonly [Name in UsageName]?: string | undefined };

/** Milliseconds since 1970; `to` is not in it. `n` is what its sums are shown under. */
export interface UsageRange {
  readonly n: number;
  /** Hours of each sum that it is answered from; 0: from the turns themselves, as all of one question are then. */
  readonly span: number;
  /** -1: its sums are taken away from those of other ranges under the same `n`. */
  readonly sign: 1 | -1;
  readonly from: number;
  readonly to: number;
}

export interface UsageQuestion {
  readonly filter: UsageFilter;
  readonly groups: readonly UsageName[];
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

/** A report has no more rows. */
export const mostRows = 20_000;

export function sumUsage(db: Queries, question: UsageQuestion): Promise<UsageSum[]> {
  const { filter, groups, byHour, hasTimes, ranges } = question;
  const isOfTurns = ranges.some(({ span }) => span === 0);
  const unitMs = isOfTurns ? 1 : hourMs;
  const given = ranges.map(({ n, span, sign, from, to }) => ({
    n,
    span,
    sign,
    a: from / unitMs,
    b: to / unitMs,
  }));
  const values: Value[] = [JSON.stringify(given)];
  const n = !byHour ? 'r.n' : isOfTurns ? `t.at / ${hourMs}` : 't.start';
  const summed = figures.filter(({ isTime }) => hasTimes || !isTime);
  const isSigned = ranges.some(({ sign }) => sign < 0);
  const signed = (name: string) => (isSigned ? `t.${name} * r.sign` : `t.${name}`);
  const sums = summed.map(({ name, sql }) => sumOf(isOfTurns ? sql : signed(name), name));
  const named = [...groups, ...namesIn(filter)];
  const face = isOfTurns ? widestFace : faceFor(named);
  const series = `usage_series AS s${named.includes('owner') ? ` ${itsKey}` : ''}`;
  const first = hourOf(Math.min(...ranges.map(({ from }) => from)));
  const conditions = [
    `s.face = ${face} AND s.last_hour >= ${first} AND t.series_id = s.id`,
    isOfTurns ? 't.at >= r.a AND t.at < r.b' : 't.span = r.span AND t.start >= r.a AND t.start < r.b',
    ...conditionsOf(filter, values),
  ];
  const asked = 'json_to_recordset($1) AS j (n integer, span integer, sign integer, a bigint, b bigint)';
  // Databases take the tables in this order: sums lie by series, turns by time.
  const tables = isOfTurns ? ['r', 'usage_turns AS t', series] : [series, 'r', 'usage_sums AS t'];
  return db.all<UsageSum>(
    `WITH r AS MATERIALIZED (SELECT n, span, sign, a, b FROM ${asked})
     SELECT ${[`${n} AS n`, ...shown(groups), ...sums].join(', ')}
     FROM ${tables.join(' CROSS JOIN ')}
     WHERE ${conditions.join(' AND ')}
     GROUP BY ${[n, ...groups.map(columnOf)].join(', ')}
     ${isSigned ? 'HAVING SUM((t.turns * r.sign)::float8) > 0' : ''} LIMIT ${mostRows + 1}`,
    ...values,
  );
}

export interface OldestUsage {
  /** When the oldest turn ended that is still there. */
  readonly turn: number;
  /** When the oldest hour began of which there are sums. */
  readonly sums: number;
  /** Since when heads of hours are complete. */
  readonly heads: number;
}

/** So long after a gateway first wrote heads of hours, earlier releases that write none may still run beside it. */
const headlessMs = dayMs;

/** Undefined where there is nothing. */
export async function oldestUsage(db: Queries): Promise<OldestUsage | undefined> {
  const turn = await db.get<{ at: number }>('SELECT at FROM usage_turns ORDER BY at LIMIT 1');
  const oldest = (span: number) =>
    `MIN((SELECT MIN(t.start) FROM usage_sums AS t WHERE t.series_id = s.id AND t.span = ${span}))`;
  const sums = await db.get<{ hour: number | null; head: number | null }>(
    `SELECT ${oldest(1)} AS hour, ${oldest(-30)} AS head FROM usage_series AS s WHERE s.face = 0`,
  );
  if (sums?.hour == null) return undefined;
  return {
    turn: turn?.at ?? Number.POSITIVE_INFINITY,
    sums: sums.hour * hourMs,
    heads: sums.head === null ? Number.POSITIVE_INFINITY : sums.head * hourMs + headlessMs,
  };
}

/** One turn as it is listed. */
export interface ListedTurn
  extends Omit<LedgerTurn, 'isStream' | 'isEstimated' | 'answeredModel' | 'provider' | 'accountId'> {
  readonly id: number;
  readonly answeredModel: string;
  readonly provider: string;
  readonly accountId: string;
  readonly owner: string | null;
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
  const lookedAt = namesIn(filter).length === 0 ? limit : mostLookedAt;
  const last = await db.get<TurnPlace>(
    `SELECT at, id FROM usage_turns WHERE at >= $1 AND (at, id) < ($2, $3) ORDER BY at DESC, id DESC LIMIT 1 OFFSET ${lookedAt - 1}`,
    from,
    before.at,
    before.id,
  );
  const values: Value[] = [last?.at ?? from, last?.id ?? 0, before.at, before.id, limit];
  const turns = await db.all<ListedTurn>(
    `SELECT t.id, t.at, t.request_id AS "requestId", s.key_id AS "keyId", k.name AS "keyName", k.owner, s.model,
       s.answered_model AS "answeredModel", s.provider, s.account_id AS "accountId", s.dialect, s.outcome,
       t.is_stream AS "isStream", t.status, t.attempts, t.input_tokens AS "inputTokens", t.output_tokens AS "outputTokens",
       t.cached_tokens AS "cachedTokens", t.cache_write_tokens AS "cacheWriteTokens", t.reasoning_tokens AS "reasoningTokens",
       t.cost_nanos AS "costNanos", t.credit_micros AS "creditMicros", t.is_estimated AS "isEstimated",
       t.first_content_ms AS "firstContentMs", t.duration_ms AS "durationMs"
     FROM usage_turns AS t JOIN usage_series AS s ON s.id = t.series_id ${itsKey}
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
    // Earlier releases wrote no space after the last one.
    `%${requestDigests([requestId]).trimEnd()}%`,
  );
  for (const { records } of batches) {
    const found = (JSON.parse(records) as KeptRecord[]).findLast(
      (one) => ('request_id' in one ? one.request_id : one[0]) === requestId,
    );
    if (found) return JSON.stringify(found);
  }
  return undefined;
}

/** Of the faces that tell apart all of these, the smallest. */
function faceFor(names: readonly UsageName[]): number {
  const fitting = faces.filter((face) =>
    names.every((name) => face.includes(name === 'owner' ? 'key' : name)),
  );
  const smallest = fitting.reduce((one, other) => (other.length < one.length ? other : one));
  return faces.indexOf(smallest);
}

function namesIn(filter: UsageFilter): UsageName[] {
  return (Object.keys(filter) as UsageName[]).filter((name) => filter[name] !== undefined);
}

function columnOf(name: UsageName): string {
  if (name === 'owner')
    return `COALESCE(k.owner, CASE s.key_id WHEN '${otherName}' THEN '${otherName}' ELSE '' END)`;
  return `s.${dimensions[name].column}`;
}

/** As it is now; series were written under names of their time. */
const nameOfKey = '(SELECT name FROM client_keys WHERE key_id = s.key_id)';

/** Keys stay when they are revoked. Series were written under labels of their time. */
const itsKey = 'LEFT JOIN client_keys AS k ON k.key_id = s.key_id';

function shown(groups: readonly UsageName[]): string[] {
  const columns = groups.map((name) => `${columnOf(name)} AS ${name}`);
  return groups.includes('key') ? [...columns, `${nameOfKey} AS key_name`] : columns;
}

/**
 * As a floating number: sums may be above what JavaScript holds exactly. PostgreSQL adds these up in half the time that it takes
 * for whole numbers; they are as exact up to that bound.
 */
function sumOf(sql: string, name: string): string {
  return `SUM((${sql})::float8) * 1.0 AS ${name}`;
}

/** What their values are is added to `values`. */
function conditionsOf(filter: UsageFilter, values: Value[]): string[] {
  return namesIn(filter).map((name) => {
    const value = filter[name] as string;
    if (name === 'outcome' && value === 'error') return "s.outcome NOT IN ('success', 'cancelled')";
    values.push(value);
    const place = `$${values.length}`;
    if (name === 'key')
      return `(s.key_id = ${place} OR s.key_id IN (SELECT key_id FROM client_keys WHERE name = ${place}))`;
    if (name === 'account') return `substr(s.account_id, 1, length(${place})) = ${place}`;
    return `${columnOf(name)} = ${place}`;
  });
}
