import { setImmediate } from 'node:timers/promises';
import type { UsageFigures, UsageRow, UsageTurn } from '../../core/shown-usage.ts';
import { windowAt } from '../limits/windows.ts';
import type { UsageDatabase } from './ledger.ts';
import {
  figures,
  firstContentBounds,
  headBefore,
  hourMs,
  microsOfCredit,
  nanosOfDollar,
  spans,
} from './ledger-turn.ts';
import {
  type ListedTurn,
  mostRows,
  type OldestUsage,
  type TurnPlace,
  type UsageFilter,
  type UsageName,
  type UsageRange,
  type UsageSum,
} from './read-usage.ts';

export interface AskedReport {
  readonly from: number;
  readonly to: number;
  readonly filter: UsageFilter;
  readonly groups: readonly UsageName[];
  readonly step: 'hour' | 'day' | undefined;
  readonly timeZone: string;
}

/** One line of a report. */
export interface ReportRow {
  /** The day, or when the hour began (ISO 8601); null where it is not by time. */
  readonly start: string | null;
  readonly names: { readonly [Name in UsageName]?: string };
  readonly keyName: string | null;
  /** Of the figures. */
  readonly sums: ReadonlyMap<string, number>;
}

export interface Report {
  readonly rows: readonly ReportRow[];
  readonly total: ReportRow['sums'];
}

/** So many sums of each series, and parts of hours, go into one question: other callers of the database do not wait for it long. */
const mostSumsAtOnce = 200;
const mostEdgesAtOnce = 20;
/** Of the event loop. */
const rowsInATurn = 500;

/** What was used in a period. Figures of whole hours and days come from their sums, the parts at its ends from the turns. */
export async function reportUsage(database: UsageDatabase, asked: AskedReport, now: number): Promise<Report> {
  const { groups, step, filter } = asked;
  const oldest = await database.ask(({ oldestUsage }) => oldestUsage());
  if (!oldest) return { rows: [], total: new Map() };
  const { days, sums, turns } = rangesOf(asked, oldest, now);
  const byHour = step === 'hour';
  // Times for each step and each group would double the work of the largest questions.
  const hasTimes = step === undefined || groups.length === 0;
  const rows = new Map<string, ReportRow & { keyName: string | null; readonly sums: Map<string, number> }>();
  const total = new Map<string, number>();
  for (const ranges of [...inPortions(sums, mostSumsAtOnce), ...inPortions(turns, mostEdgesAtOnce)]) {
    const question = { filter, groups, byHour, hasTimes, ranges };
    const answer = await database.ask(({ sumUsage }) => sumUsage(question));
    if (answer.length > mostRows) throw new TooManyRows();
    for (const [at, found] of answer.entries()) {
      if (at % rowsInATurn === rowsInATurn - 1) await setImmediate();
      const names = Object.fromEntries(groups.map((name) => [name, String(found[name])]));
      const place = JSON.stringify([found.n, names]);
      const start = byHour ? new Date(found.n * hourMs).toISOString() : (days[found.n] ?? null);
      const row = rows.get(place) ?? { start, names, keyName: null, sums: new Map() };
      row.keyName = found.key_name ?? row.keyName;
      rows.set(place, row);
      add(row.sums, found);
      add(total, found);
    }
    if (rows.size > mostRows) throw new TooManyRows();
  }
  // Those that are alike by their names: databases answer in no order.
  const sorted = [...rows].toSorted(
    ([place, one], [otherPlace, other]) => byTimeAndSize(one, other) || (place < otherPlace ? -1 : 1),
  );
  return { rows: sorted.map(([, row]) => row), total };
}

/** A report would have more rows than it may. */
export class TooManyRows extends Error {
  override readonly name = 'TooManyRows';
}

/** Below how many milliseconds this share of the turns had their first content; undefined where none had any. */
function quantileOf(sums: ReportRow['sums'], share: number): number | undefined {
  const counts = figures.filter(({ isTime }) => isTime).map(({ name }) => sums.get(name) ?? 0);
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all === 0) return undefined;
  let below = 0;
  for (const [at, count] of counts.entries()) {
    if (count > 0 && below + count >= share * all) {
      const lower = firstContentBounds[at - 1] ?? 0;
      const upper = firstContentBounds[at] ?? lower;
      return Math.round(lower + ((share * all - below) / count) * (upper - lower));
    }
    below += count;
  }
  return undefined;
}

/**
 * What to ask where: lists of ranges that go into one question, since some are taken away from others. Where the turns of a part of
 * an hour are no longer kept, the whole hour counts to the period or day that it begins in.
 */
function rangesOf({ from, to, step, timeZone }: AskedReport, oldest: OldestUsage, now: number) {
  const firstWhole = ceil(oldest.turn, hourMs);
  const isInSums = (at: number): boolean =>
    at % hourMs === 0 || (at >= oldest.heads && headBefore(at) !== undefined);
  const snapped = (at: number): number =>
    isInSums(at) || floor(at, hourMs) >= firstWhole ? at : ceil(at, hourMs);
  const begin = Math.max(oldest.sums, snapped(from));
  // All of the hour that runs now has happened.
  const end = to < now ? snapped(to) : ceil(now, hourMs);
  const sums: UsageRange[][] = [];
  const turns: UsageRange[][] = [];
  const days: string[] = [];
  for (let at = begin; at < end; ) {
    const day = step === 'day' ? windowAt('day', at, timeZone) : undefined;
    const next = day ? Math.min(end, snapped(day.endsAt)) : end;
    if (day) days.push(day.period);
    split(Math.max(0, days.length - 1), at, next);
    at = next;
  }
  return { days, sums, turns };

  function split(n: number, a: number, b: number): void {
    const first = isInSums(a) ? a : ceil(a, hourMs);
    const last = isInSums(b) ? b : floor(b, hourMs);
    if (first > last) {
      turns.push([rangeOf(n, 0, a, b)]);
      return;
    }
    if (a < first) turns.push([rangeOf(n, 0, a, first)]);
    if (first < last) sums.push(...(step === 'hour' ? hoursOf(n, first, last) : [sumsOf(n, first, last)]));
    if (last < b) turns.push([rangeOf(n, 0, last, b)]);
  }
}

/** Each hour, the first and the last as far as they are in the period. */
function* hoursOf(n: number, from: number, to: number): Generator<UsageRange[]> {
  for (let at = floor(from, hourMs); at < to; at += hourMs)
    yield sumsOf(n, Math.max(at, from), Math.min(at + hourMs, to));
}

/** Both times are where a whole hour or a head of one ends. */
function sumsOf(n: number, from: number, to: number): UsageRange[] {
  const [firstHour, lastHour] = [floor(from, hourMs), floor(to, hourMs)];
  const headOf = (at: number, sign: 1 | -1) =>
    at % hourMs === 0
      ? []
      : [{ ...rangeOf(n, headBefore(at) ?? 0, floor(at, hourMs), ceil(at, hourMs)), sign }];
  return [...headOf(from, -1), ...cheapest(n, firstHour, lastHour).ranges, ...headOf(to, 1)];
}

interface Cover {
  readonly ranges: readonly UsageRange[];
  /** Sums that are read, and places where that begins. */
  readonly cost: number;
}

/** The fewest sums that make up these hours: also longer ones, from which others are taken away. */
function cheapest(n: number, from: number, to: number, at = 0): Cover {
  if (from === to) return { ranges: [], cost: 0 };
  const [span = 1, next] = [spans[at], spans[at + 1]];
  let best = signedRange(n, span, from, to);
  if (next === undefined) return best;
  const nextMs = next * hourMs;
  for (const first of new Set([ceil(from, nextMs), floor(from, nextMs)]))
    for (const last of new Set([floor(to, nextMs), ceil(to, nextMs)])) {
      if (first > last) continue;
      const edges = [signedRange(n, span, from, first), signedRange(n, span, last, to)];
      const edgesCost = edges.reduce((sum, { cost }) => sum + cost, 0);
      if (edgesCost >= best.cost) continue;
      const middle = cheapest(n, first, last, at + 1);
      const cost = edgesCost + middle.cost;
      if (cost < best.cost) best = { cost, ranges: [...edges, middle].flatMap(({ ranges }) => ranges) };
    }
  return best;
}

/** Taken away where it ends before it begins. */
function signedRange(n: number, span: number, from: number, to: number): Cover {
  if (from === to) return { ranges: [], cost: 0 };
  const cost = 1 + Math.abs(to - from) / (span * hourMs);
  const range = rangeOf(n, span, Math.min(from, to), Math.max(from, to));
  return { ranges: [from < to ? range : { ...range, sign: -1 }], cost };
}

function rangeOf(n: number, span: number, from: number, to: number): UsageRange {
  return { n, span, sign: 1, from, to };
}

/** Ranges with so many sums of each series, or a little more. */
function* inPortions(lists: readonly UsageRange[][], most: number): Generator<UsageRange[]> {
  let portion: UsageRange[] = [];
  let count = 0;
  for (const list of lists) {
    portion.push(...list);
    count += list.reduce((sum, range) => sum + sumsIn(range), 0);
    if (count < most) continue;
    yield joined(portion);
    portion = [];
    count = 0;
  }
  if (portion.length > 0) yield joined(portion);
}

function sumsIn({ span, from, to }: UsageRange): number {
  return span > 0 ? (to - from) / (span * hourMs) : 1;
}

/** Ranges of one span that follow on each other are one. */
function joined(ranges: readonly UsageRange[]): UsageRange[] {
  const longer: UsageRange[] = [];
  for (const range of ranges) {
    const last = longer.at(-1);
    if (
      last &&
      last.n === range.n &&
      last.span === range.span &&
      last.sign === range.sign &&
      last.to === range.from
    )
      longer[longer.length - 1] = { ...last, to: range.to };
    else longer.push(range);
  }
  return longer;
}

function add(sums: Map<string, number>, found: UsageSum): void {
  for (const { name } of figures) {
    const value = found[name];
    if (value !== undefined) sums.set(name, (sums.get(name) ?? 0) + Number(value));
  }
}

/** By time, then the most expensive first, then the largest. */
function byTimeAndSize(one: ReportRow, other: ReportRow): number {
  const by = (name: string): number => (other.sums.get(name) ?? 0) - (one.sums.get(name) ?? 0);
  if (one.start !== other.start) return (one.start ?? '') < (other.start ?? '') ? -1 : 1;
  return by('cost_nanos') || by('turns');
}

const floor = (at: number, unitMs: number): number => Math.floor(at / unitMs) * unitMs;
const ceil = (at: number, unitMs: number): number => Math.ceil(at / unitMs) * unitMs;

const nanosOfCent = nanosOfDollar / 100;

/** A row of a report as it is shown. */
export function shownRow({ start, names, keyName, sums }: ReportRow): UsageRow {
  return {
    ...(start === null ? {} : { start }),
    ...names,
    ...(names.key === undefined ? {} : { key_name: keyName }),
    ...shownFigures(sums),
  };
}

export function shownFigures(sums: ReportRow['sums']): UsageFigures {
  const sum = (name: string): number => sums.get(name) ?? 0;
  const turns = sum('turns');
  // What used nothing cost nothing; what used something of which no cost is known cost something unknown.
  const isCostKnown = sum('priced') > 0 || sum('unpriced') + sum('credited') === 0;
  return {
    turns,
    errors: sum('errors'),
    cancelled: sum('cancelled'),
    input_tokens: sum('input_tokens'),
    output_tokens: sum('output_tokens'),
    cached_input_tokens: sum('cached_tokens'),
    cache_write_tokens: sum('cache_write_tokens'),
    reasoning_tokens: sum('reasoning_tokens'),
    cost_cents: isCostKnown ? sum('cost_nanos') / nanosOfCent : null,
    credits: sum('credited') > 0 ? sum('credit_micros') / microsOfCredit : null,
    unpriced_turns: sum('unpriced'),
    estimated_turns: sum('estimated'),
    mean_duration_ms: turns === 0 ? null : Math.round(sum('duration_ms') / turns),
    first_content_p50_ms: quantileOf(sums, 0.5) ?? null,
    first_content_p95_ms: quantileOf(sums, 0.95) ?? null,
  };
}

export function shownTurnOf(turn: ListedTurn): UsageTurn {
  return {
    at: new Date(turn.at).toISOString(),
    request_id: turn.requestId,
    key: turn.keyId,
    key_name: turn.keyName,
    model: turn.model,
    answered_model: turn.answeredModel || null,
    provider: turn.provider || null,
    account: turn.accountId || null,
    dialect: turn.dialect,
    stream: turn.isStream === 1,
    outcome: turn.outcome,
    status: turn.status,
    attempts: turn.attempts,
    input_tokens: turn.inputTokens,
    output_tokens: turn.outputTokens,
    cached_input_tokens: turn.cachedTokens,
    cache_write_tokens: turn.cacheWriteTokens,
    reasoning_tokens: turn.reasoningTokens,
    cost_cents: turn.costNanos === null ? null : turn.costNanos / nanosOfCent,
    credits: turn.creditMicros === null ? null : turn.creditMicros / microsOfCredit,
    is_estimated: turn.isEstimated === 1,
    first_content_ms: turn.firstContentMs,
    duration_ms: turn.durationMs,
    cursor: cursorOf(turn),
    owner: turn.owner,
  };
}

export function cursorOf({ at, id }: TurnPlace): string {
  return `${at}.${id}`;
}

export function placeOf(cursor: string): TurnPlace {
  const [at = 0, id = 0] = cursor.split('.').map(Number);
  return { at, id };
}
