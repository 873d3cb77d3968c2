import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Database, Queries, Value } from '../../db/database.ts';
import {
  allDimensions,
  dimensions,
  faces,
  figures,
  headsAround,
  hourOf,
  type LedgerRow,
  type LedgerTurn,
  latestFace,
  namesInRow,
  spanStart,
  spans,
  turnOf,
  widestFace,
} from './ledger-turn.ts';

export interface Batch {
  readonly id: string;
  /** At least one. */
  readonly turns: readonly LedgerRow[];
  readonly records?: KeptRecords | undefined;
}

/** The decision records of those turns that have one. */
export interface KeptRecords {
  readonly requestIds: readonly string[];
  readonly json: string;
}

/** Combinations of one face within an hour, noted by one gateway; all further ones count as one. */
const mostSeries = [200, 2_000, 2_000, 2_000, 20_000, 5_000] as const;
export const otherName = '(other)';
/** What a row takes on disk, roughly, with its place in an index. */
const turnBytes = 150;

interface Series {
  readonly id: number;
  readonly face: number;
  readonly place: string;
  readonly turn: LedgerTurn;
  readonly isOther: boolean;
}

interface Group {
  readonly hour: number;
  readonly spans: readonly number[];
  /** By face. */
  readonly series: readonly number[];
  readonly turns: LedgerTurn[];
}

/** What a group adds to one sum. */
interface Part {
  readonly series: number;
  readonly span: number;
  /** The hour in which it begins. */
  readonly start: number;
  readonly values: readonly number[];
}

/** Notes a batch of turns and adds them to the sums of their time. A batch that was noted before changes nothing. */
export function createNoteTurns(db: Database): (batch: Batch) => Promise<void> {
  const known = new KnownSeries();
  return async ({ id, turns: rows, records }) => {
    const turns = rows.map(turnOf);
    const at = Math.max(...turns.map((turn) => turn.at));
    const { added, series, sums } = known.collect(turns, hourOf(at));
    const values: Value[] = [];
    for (const [n, row] of rows.entries()) {
      values.push(series[n] ?? 0);
      for (let place = namesInRow; place < row.length; place += 1) values.push(row[place] ?? null);
    }
    await db.transaction(async (queries) => {
      const isNew = await queries.run(
        'INSERT INTO usage_batches (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING',
        id,
        at,
      );
      if (isNew === 0) return;
      // Several gateways write the same rows: all lock them in the same order.
      await insertSeries.run(
        queries,
        added.flatMap((one) => seriesRow(one, hourOf(at))),
      );
      await addSums.run(queries, sums);
      await addSizes.run(queries, sizesOf(turns, hourOf(at), records?.json.length ?? 0));
      await insertTurns.run(queries, values);
      if (records !== undefined) await insertRecords(queries, at, records);
    });
    known.keep(added);
  };
}

type StoredSeries = LedgerTurn & { readonly id: number; readonly face: number; readonly lastHour: number };

/** Moves the sums of one series, of which an earlier release kept those of hours; answers whether it was not the last. */
export function createMoveHours(db: Database): () => Promise<boolean> {
  let last = 0;
  return async () => {
    const moved = await db.transaction(async (queries) => {
      const found = await queries.get<StoredSeries>(nextSeries, last);
      if (!found) return undefined;
      const { id, face, lastHour } = found;
      const isOther = found.keyId === otherName;
      const place = isOther ? otherName : nameOf(found, latestFace);
      const own = { id, face, place, turn: found, isOther };
      const latest = { ...own, id: seriesId(latestFace, place), face: latestFace };
      const targets = face === widestFace ? [own, latest] : [own];
      targets.sort((one, other) => one.id - other.id);
      await insertSeries.run(
        queries,
        targets.flatMap((series) => seriesRow(series, lastHour)),
      );
      for (const target of targets)
        for (const span of spans) await queries.run(addHours(span), id, target.id);
      await queries.run('DELETE FROM usage_hours WHERE series_id = $1', id);
      return id;
    });
    // From the beginning again: a gateway of that release may still run and make more.
    last = moved ?? 0;
    return moved !== undefined;
  };
}

/** The series that this process has written within the hour, by what they stand for. */
class KnownSeries {
  readonly #ids = faces.map(() => new Map<string, number>());
  #hour = 0;

  /** What a batch adds. */
  collect(turns: readonly LedgerTurn[], hour: number) {
    if (hour !== this.#hour) {
      // Once an hour they are written again: that keeps them from being pruned, and learns new names of keys.
      for (const ids of this.#ids) ids.clear();
      this.#hour = hour;
    }
    const added = faces.map(() => new Map<string, Series>());
    const groups = new Map<string, Group>();
    const ofTurns = turns.map((turn) => {
      const group = this.#groupOf(turn, groups, added);
      group.turns.push(turn);
      return group.series[widestFace] ?? 0;
    });
    return {
      added: added.flatMap((ofFace) => [...ofFace.values()]).toSorted((one, other) => one.id - other.id),
      series: ofTurns,
      sums: sumsOf(groups.values()),
    };
  }

  /** The turns of a batch that count for the same series are summed up first: mostly they are few groups. */
  #groupOf(turn: LedgerTurn, groups: Map<string, Group>, added: readonly Map<string, Series>[]): Group {
    const hour = hourOf(turn.at);
    const heads = headsAround(turn.at);
    const place = `${hour} ${heads.length} ${nameOf(turn, widestFace)}`;
    let group = groups.get(place);
    if (!group) {
      const series = faces.map((_face, face) => this.#idOf(turn, face, added));
      group = { hour, spans: [...heads, ...spans], series, turns: [] };
      groups.set(place, group);
    }
    return group;
  }

  /** Once they are surely written. */
  keep(added: readonly Series[]): void {
    for (const { face, place, id } of added) this.#ids[face]?.set(place, id);
  }

  #idOf(turn: LedgerTurn, face: number, addedTo: readonly Map<string, Series>[]): number {
    const ids = this.#ids[face] as Map<string, number>;
    const added = addedTo[face] as Map<string, Series>;
    const name = nameOf(turn, face);
    const known = ids.get(name) ?? added.get(name)?.id;
    if (known !== undefined) return known;
    const isOther = ids.size + added.size >= (mostSeries[face] ?? 0);
    const place = isOther ? otherName : name;
    const found = ids.get(place) ?? added.get(place)?.id;
    if (found !== undefined) return found;
    const id = seriesId(face, place);
    added.set(place, { id, face, place, turn, isOther });
    return id;
  }
}

/** Rows of sums, each sum once, in the order in which every gateway locks them. */
function sumsOf(groups: Iterable<Group>): number[] {
  const parts: Part[] = [];
  for (const { hour, series: ids, spans, turns } of groups) {
    const values = figures.map(({ of }) => turns.reduce((sum, turn) => sum + of(turn), 0));
    for (const series of ids)
      for (const span of spans) parts.push({ series, span, start: spanStart(hour, span), values });
  }
  parts.sort(inOrder);
  const rows: number[] = [];
  for (const [n, part] of parts.entries()) {
    const { series, span, start, values } = part;
    const before = parts[n - 1];
    if (before === undefined || inOrder(before, part) !== 0) rows.push(series, span, start, ...values);
    else {
      const from = rows.length - values.length;
      for (const [at, value] of values.entries()) rows[from + at] = (rows[from + at] ?? 0) + value;
    }
  }
  return rows;
}

function inOrder(one: Part, other: Part): number {
  return one.series - other.series || one.span - other.span || one.start - other.start;
}

function nameOf(turn: LedgerTurn, face: number): string {
  let name = '';
  for (const dimension of faces[face] ?? []) name += `${dimensions[dimension].of(turn)}\u0001`;
  return name;
}

/** The same in every gateway, without a look at the database; a whole number that JavaScript holds. */
function seriesId(face: number, place: string): number {
  return createHash('sha256').update(`${face} ${place}`).digest().readUIntBE(0, 6);
}

function seriesRow({ id, face, turn, isOther }: Series, hour: number): Value[] {
  const given = faces[face] ?? [];
  const values = allDimensions.map((dimension) => {
    if (!given.includes(dimension)) return '';
    return isOther ? otherName : dimensions[dimension].of(turn);
  });
  const keyName = given.includes('key') && !isOther ? turn.keyName : null;
  return [id, face, hour, keyName, ...values];
}

function sizesOf(turns: readonly LedgerTurn[], lastHour: number, records: number): Value[] {
  const sizes = new Map([[lastHour, [0, records]]]);
  for (const { at } of turns) {
    const [turnsBytes = 0, recordBytes = 0] = sizes.get(hourOf(at)) ?? [];
    sizes.set(hourOf(at), [turnsBytes + turnBytes, recordBytes]);
  }
  return [...sizes].toSorted(([one], [other]) => one - other).flatMap(([hour, bytes]) => [hour, ...bytes]);
}

async function insertRecords(queries: Queries, at: number, { requestIds, json }: KeptRecords): Promise<void> {
  const row = await queries.get<{ id: number }>(
    'INSERT INTO usage_records (at, records) VALUES ($1, $2) RETURNING id',
    at,
    json,
  );
  const digests = requestDigests(requestIds);
  if (row) await queries.run('INSERT INTO usage_requests (id, requests) VALUES ($1, $2)', row.id, digests);
}

/** Enough to find the few batches where a request may be: eight digits of each, and a space. */
export function requestDigests(requestIds: readonly string[]): string {
  const digests = Buffer.alloc(4 * requestIds.length);
  for (const [at, requestId] of requestIds.entries()) digests.writeUInt32BE(crc32(requestId), 4 * at);
  return digests.toString('hex').replaceAll(/.{8}/g, '$& ');
}

const mostRows = 64;

/** Inserts rows in as few statements as it takes, each of a power of two of them, so that they are prepared once. */
class Insert {
  readonly #into: string;
  readonly #columns: number;
  readonly #then: string;
  readonly #texts = new Map<number, string>();

  constructor(table: string, columns: readonly string[], then = '') {
    this.#into = `INSERT INTO ${table} (${columns.join(', ')})`;
    this.#columns = columns.length;
    this.#then = then;
  }

  /** The values of all rows, one row after the other. */
  async run(queries: Queries, values: readonly Value[]): Promise<void> {
    for (let at = 0; at < values.length; ) {
      let count = mostRows;
      while (count * this.#columns > values.length - at) count /= 2;
      const end = at + count * this.#columns;
      await queries.run(this.#text(count), ...values.slice(at, end));
      at = end;
    }
  }

  #text(rows: number): string {
    let text = this.#texts.get(rows);
    if (text === undefined) {
      const places = Array.from({ length: rows }, (_row, at) => {
        const row = Array.from(
          { length: this.#columns },
          (_column, column) => `$${at * this.#columns + column + 1}`,
        );
        return `(${row.join(', ')})`;
      });
      text = `${this.#into} VALUES ${places.join(', ')} ${this.#then}`;
      this.#texts.set(rows, text);
    }
    return text;
  }
}

const insertSeries = new Insert(
  'usage_series',
  ['id', 'face', 'last_hour', 'key_name', ...allDimensions.map((name) => dimensions[name].column)],
  `ON CONFLICT (id) DO UPDATE SET last_hour = GREATEST(usage_series.last_hour, excluded.last_hour),
    key_name = excluded.key_name`,
);

const insertTurns = new Insert('usage_turns', [
  'series_id',
  'at',
  'request_id',
  'is_stream',
  'status',
  'attempts',
  'input_tokens',
  'output_tokens',
  'cached_tokens',
  'cache_write_tokens',
  'reasoning_tokens',
  'cost_nanos',
  'credit_micros',
  'is_estimated',
  'first_content_ms',
  'duration_ms',
]);

const names = figures.map(({ name }) => name);
const addingToSums = `ON CONFLICT (series_id, span, start) DO UPDATE
  SET ${names.map((name) => `${name} = usage_sums.${name} + excluded.${name}`).join(', ')}`;
const addSums = new Insert('usage_sums', ['series_id', 'span', 'start', ...names], addingToSums);
const addHours = (span: number): string => `
  INSERT INTO usage_sums (series_id, span, start, ${names.join(', ')})
  SELECT $2::bigint, ${span}, hour - hour % ${span}, ${names.map((name) => `SUM(${name})`).join(', ')}
  FROM usage_hours WHERE series_id = $1 GROUP BY hour - hour % ${span} ORDER BY 3 ${addingToSums}`;
const nextSeries = `
  SELECT s.id, s.face, s.last_hour AS "lastHour", s.key_name AS "keyName", s.key_id AS "keyId", s.model,
    s.answered_model AS "answeredModel", s.provider, s.account_id AS "accountId", s.dialect, s.outcome
  FROM usage_hours AS h CROSS JOIN usage_series AS s
  WHERE h.series_id > $1 AND s.id = h.series_id ORDER BY h.series_id LIMIT 1`;

const addSizes = new Insert(
  'usage_sizes',
  ['hour', 'turn_bytes', 'record_bytes'],
  `ON CONFLICT (hour) DO UPDATE SET turn_bytes = usage_sizes.turn_bytes + excluded.turn_bytes,
    record_bytes = usage_sizes.record_bytes + excluded.record_bytes`,
);
