import { amount } from '../../lib/parse-json.ts';

/** Money and units are whole numbers in the ledger, so that sums of many small turns are exact. */
export const nanosOfDollar = 1_000_000_000;
export const microsOfCredit = 1_000_000;

/** One turn as the ledger has it. */
export interface LedgerTurn {
  /** When it ended; milliseconds since 1970, as are all times here. */
  readonly at: number;
  readonly requestId: string;
  readonly keyId: string;
  /** Of a managed key. */
  readonly keyName: string | null;
  /** As the client named it. */
  readonly model: string;
  /** As the upstream that answered names it; null where none was chosen, as is the next. */
  readonly answeredModel: string | null;
  readonly provider: string | null;
  readonly accountId: string | null;
  readonly dialect: string;
  /** `success` or the code of an error. */
  readonly outcome: string;
  readonly isStream: boolean;
  readonly status: number;
  readonly attempts: number;
  /** All five null where nothing was counted; else the last three null where the upstream did not say. */
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly cachedTokens: number | null;
  readonly cacheWriteTokens: number | null;
  readonly reasoningTokens: number | null;
  /** Thousand millionths of a US dollar. Null: unknown. */
  readonly costNanos: number | null;
  /** Millionths of the provider's unit. */
  readonly creditMicros: number | null;
  readonly isEstimated: boolean;
  readonly firstContentMs: number | null;
  readonly durationMs: number;
}

/** What an upstream says may be anything: no one turn may break the sums of others. */
const mostTokens = 1e9;
const mostMoney = 1e13;

/**
 * A turn on its way to the database's thread: by places, since names cost three times as much there. First what its series
 * is found by, then what its row holds beside that.
 */
export function rowOf(turn: LedgerTurn) {
  return [
    turn.keyId,
    turn.keyName,
    turn.model,
    turn.answeredModel,
    turn.provider,
    turn.accountId,
    turn.dialect,
    turn.outcome,
    turn.at,
    turn.requestId,
    Number(turn.isStream),
    turn.status,
    turn.attempts,
    bounded(turn.inputTokens, mostTokens),
    bounded(turn.outputTokens, mostTokens),
    bounded(turn.cachedTokens, mostTokens),
    bounded(turn.cacheWriteTokens, mostTokens),
    bounded(turn.reasoningTokens, mostTokens),
    bounded(turn.costNanos, mostMoney),
    bounded(turn.creditMicros, mostMoney),
    Number(turn.isEstimated),
    turn.firstContentMs,
    turn.durationMs,
  ] as const;
}
export type LedgerRow = ReturnType<typeof rowOf>;
export const namesInRow = 8;

export function turnOf(row: LedgerRow): LedgerTurn {
  return {
    keyId: row[0],
    keyName: row[1],
    model: row[2],
    answeredModel: row[3],
    provider: row[4],
    accountId: row[5],
    dialect: row[6],
    outcome: row[7],
    at: row[8],
    requestId: row[9],
    isStream: row[10] === 1,
    status: row[11],
    attempts: row[12],
    inputTokens: row[13],
    outputTokens: row[14],
    cachedTokens: row[15],
    cacheWriteTokens: row[16],
    reasoningTokens: row[17],
    costNanos: row[18],
    creditMicros: row[19],
    isEstimated: row[20] === 1,
    firstContentMs: row[21],
    durationMs: row[22],
  };
}

function bounded(value: number | null, most: number): number | null {
  return value === null ? null : Math.round(amount(value, most));
}

/** Upper bounds, in milliseconds, of the classes in which times to the first content are counted; a last class is above them. */
export const firstContentBounds = [
  100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 8_000, 15_000, 30_000,
] as const;
const firstContentClasses = [0, ...firstContentBounds].map((above, at) => ({
  name: `first_${at}`,
  above,
  upTo: firstContentBounds[at] ?? Number.MAX_SAFE_INTEGER,
}));

interface Figure {
  readonly name: string;
  of(turn: LedgerTurn): number;
  readonly sql: string;
  /** Counts times to the first content. */
  readonly isTime?: boolean;
}

/**
 * What is summed up over turns: its name, its value of one turn, and the same in SQL over a row `t` of `usage_turns` and
 * its series `s`.
 */
export const figures: readonly Figure[] = [
  { name: 'turns', of: () => 1, sql: '1' },
  {
    name: 'errors',
    of: (turn) => Number(isError(turn)),
    sql: when("s.outcome NOT IN ('success', 'cancelled')"),
  },
  {
    name: 'cancelled',
    of: (turn) => Number(turn.outcome === 'cancelled'),
    sql: when("s.outcome = 'cancelled'"),
  },
  { name: 'estimated', of: (turn) => Number(turn.isEstimated), sql: 't.is_estimated' },
  { name: 'priced', of: (turn) => Number(turn.costNanos !== null), sql: when('t.cost_nanos IS NOT NULL') },
  {
    name: 'credited',
    of: (turn) => Number(turn.creditMicros !== null),
    sql: when('t.credit_micros IS NOT NULL'),
  },
  {
    name: 'unpriced',
    of: (turn) => Number(isUsed(turn) && turn.costNanos === null && turn.creditMicros === null),
    sql: when(
      "t.cost_nanos IS NULL AND t.credit_micros IS NULL AND (t.input_tokens IS NOT NULL OR s.outcome = 'success')",
    ),
  },
  { name: 'input_tokens', of: (turn) => turn.inputTokens ?? 0, sql: 'COALESCE(t.input_tokens, 0)' },
  { name: 'output_tokens', of: (turn) => turn.outputTokens ?? 0, sql: 'COALESCE(t.output_tokens, 0)' },
  { name: 'cached_tokens', of: (turn) => turn.cachedTokens ?? 0, sql: 'COALESCE(t.cached_tokens, 0)' },
  {
    name: 'cache_write_tokens',
    of: (turn) => turn.cacheWriteTokens ?? 0,
    sql: 'COALESCE(t.cache_write_tokens, 0)',
  },
  {
    name: 'reasoning_tokens',
    of: (turn) => turn.reasoningTokens ?? 0,
    sql: 'COALESCE(t.reasoning_tokens, 0)',
  },
  { name: 'cost_nanos', of: (turn) => turn.costNanos ?? 0, sql: 'COALESCE(t.cost_nanos, 0)' },
  { name: 'credit_micros', of: (turn) => turn.creditMicros ?? 0, sql: 'COALESCE(t.credit_micros, 0)' },
  { name: 'duration_ms', of: (turn) => turn.durationMs, sql: 't.duration_ms' },
  ...firstContentClasses.map(({ name, above, upTo }) => ({
    name,
    isTime: true,
    of: ({ firstContentMs: ms }: LedgerTurn) =>
      Number(ms !== null && ms <= upTo && (ms > above || above === 0)),
    sql: when(`t.first_content_ms <= ${upTo}${above === 0 ? '' : ` AND t.first_content_ms > ${above}`}`),
  })),
];

/** By what turns are told apart: the name of each in queries, its column of `usage_series`, and its value. */
export const dimensions = {
  key: { column: 'key_id', of: (turn: LedgerTurn) => turn.keyId },
  model: { column: 'model', of: (turn: LedgerTurn) => turn.model },
  answered_model: { column: 'answered_model', of: (turn: LedgerTurn) => turn.answeredModel ?? '' },
  provider: { column: 'provider', of: (turn: LedgerTurn) => turn.provider ?? '' },
  account: { column: 'account_id', of: (turn: LedgerTurn) => turn.accountId ?? '' },
  dialect: { column: 'dialect', of: (turn: LedgerTurn) => turn.dialect },
  outcome: { column: 'outcome', of: (turn: LedgerTurn) => turn.outcome },
} as const;
export type Dimension = keyof typeof dimensions;
export const allDimensions = Object.keys(dimensions) as Dimension[];

/**
 * What sums are kept by; each stands for its place in this list in the database. A question is answered from the one with the
 * fewest dimensions that tells apart all it names: of the small ones' series there are few even where each turn is a combination
 * of its own.
 */
export const faces: readonly (readonly Dimension[])[] = [
  ['dialect', 'outcome'],
  ['key'],
  ['model', 'answered_model', 'provider'],
  ['account', 'provider'],
  allDimensions,
  ['key', 'model', 'answered_model', 'provider'],
];
export const widestFace = faces.indexOf(allDimensions);
/** An earlier release kept no sums by it. */
export const latestFace = faces.length - 1;

function isError({ outcome }: LedgerTurn): boolean {
  return outcome !== 'success' && outcome !== 'cancelled';
}

/** Something was used, so that a missing price is a gap. */
function isUsed({ inputTokens, outcome }: LedgerTurn): boolean {
  return inputTokens !== null || outcome === 'success';
}

function when(condition: string): string {
  return `CASE WHEN ${condition} THEN 1 ELSE 0 END`;
}

export const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;

/** Hours since 1970, in UTC. */
export function hourOf(at: number): number {
  return Math.floor(at / hourMs);
}

/**
 * How many hours each sum covers, each a multiple of the one before. A period is answered from few of them, some taken away
 * from others: a day of any time zone from nine at most, 90 days from 26.
 */
export const spans = [1, 4, 24, 192] as const;
export const longestSpan = 192;

/**
 * In some zones days begin within an hour of UTC. Of the hours of a day where that is so, the minutes before it, the head, have a
 * sum of their own, too: such a day is its hours without the head of its first one and with that of the hour behind them.
 */
const heads: Readonly<Record<number, readonly number[]>> = {
  2: [30],
  3: [30],
  9: [30],
  10: [15],
  11: [15],
  13: [30],
  14: [30],
  15: [15],
  17: [30],
  18: [15, 30],
  19: [30],
  20: [30],
};
/** Heads stand beside the spans as so many minutes below 0. */
export const allSpans = [-30, -15, ...spans] as const;
const minuteMs = 60_000;

/** The spans of the heads of its hour that a turn at this time belongs to. */
export function headsAround(at: number): number[] {
  const minutes = Math.floor((at % hourMs) / minuteMs);
  return (heads[hourOf(at) % 24] ?? []).filter((head) => minutes < head).map((head) => -head);
}

/** The span of the head that ends at this time; undefined where none does. */
export function headBefore(at: number): number | undefined {
  const head = (heads[hourOf(at) % 24] ?? []).find((minutes) => at % hourMs === minutes * minuteMs);
  return head && -head;
}

/** When the span begins that this hour is in, in hours since 1970. */
export function spanStart(hour: number, span: number): number {
  return span < 0 ? hour : hour - (hour % span);
}
