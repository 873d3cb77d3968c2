import { z } from 'zod';

const isoTime = z.iso.datetime({ offset: true });

/** What turns may be grouped by, beside their time. */
export const usageGroups = [
  'key',
  'owner',
  'model',
  'answered_model',
  'provider',
  'account',
  'dialect',
  'outcome',
] as const;

/** What some turns used together. */
export const usageFigures = z.object({
  turns: z.int(),
  errors: z.int(),
  cancelled: z.int(),
  input_tokens: z.number(),
  output_tokens: z.number(),
  cached_input_tokens: z.number(),
  cache_write_tokens: z.number(),
  reasoning_tokens: z.number(),
  /** Of the turns whose cost is known; null where that is none of those that used something. */
  cost_cents: z.number().nullable(),
  /** In the units of their providers; null where none was told. */
  credits: z.number().nullable(),
  /** Turns that used something of which neither the cost nor credits are known. */
  unpriced_turns: z.int(),
  /** Turns whose tokens the gateway counted or derived itself. */
  estimated_turns: z.int(),
  mean_duration_ms: z.number().nullable(),
  /** Half, and nineteen of twenty, of the turns with content had their first content within it; read from classes of times. */
  first_content_p50_ms: z.number().nullable(),
  first_content_p95_ms: z.number().nullable(),
});
export type UsageFigures = z.infer<typeof usageFigures>;

export const usageRow = z.object({
  /** The day in the time zone, or when the hour began. */
  start: z.string().optional(),
  key: z.string().optional(),
  /** Of a managed key. */
  key_name: z.string().nullable().optional(),
  /** Of the key, as its label is now; empty where it has none. */
  owner: z.string().optional(),
  /** As the client named it. */
  model: z.string().optional(),
  answered_model: z.string().optional(),
  provider: z.string().optional(),
  account: z.string().optional(),
  dialect: z.string().optional(),
  outcome: z.string().optional(),
  ...usageFigures.shape,
});
export type UsageRow = z.infer<typeof usageRow>;

const usagePeriod = z.object({
  from: isoTime,
  to: isoTime,
  total: usageFigures,
  rows: z.array(usageRow),
});

export const usageReport = z.object({
  ...usagePeriod.shape,
  time_zone: z.string(),
  group: z.array(z.string()),
  /** The period of the same length before it, if asked for. */
  before: usagePeriod.nullable(),
});
export type UsageReport = z.infer<typeof usageReport>;

/** Turns by the minute in which they ended; cancelled ones are not counted. */
export const usageMinutes = z.object({
  minutes: z.array(z.object({ start: isoTime, answered: z.int(), failed: z.int() })),
});
export type UsageMinutes = z.infer<typeof usageMinutes>;

/** One turn of the ledger. */
export const usageTurn = z.object({
  /** When it ended. */
  at: isoTime,
  request_id: z.string(),
  key: z.string(),
  key_name: z.string().nullable(),
  model: z.string(),
  answered_model: z.string().nullable(),
  provider: z.string().nullable(),
  account: z.string().nullable(),
  dialect: z.string(),
  stream: z.boolean(),
  outcome: z.string(),
  status: z.int(),
  attempts: z.int(),
  input_tokens: z.number().nullable(),
  output_tokens: z.number().nullable(),
  cached_input_tokens: z.number().nullable(),
  cache_write_tokens: z.number().nullable(),
  reasoning_tokens: z.number().nullable(),
  cost_cents: z.number().nullable(),
  credits: z.number().nullable(),
  is_estimated: z.boolean(),
  first_content_ms: z.number().nullable(),
  duration_ms: z.number(),
  /** Send it as `before` for the turns behind this one. */
  cursor: z.string(),
  /** Of the key, as its label is now. */
  owner: z.string().nullable(),
});
export type UsageTurn = z.infer<typeof usageTurn>;

export const usageTurns = z.object({
  turns: z.array(usageTurn),
  /** For the next page, null after the last. Where few turns fit the filter, a page may be short or empty and still have a next. */
  next: z.string().nullable(),
});

/** The names of a report's columns that its rows have. */
export function usageColumns({ group }: Pick<UsageReport, 'group'>): (keyof UsageRow)[] {
  const names = group.flatMap((name): (keyof UsageRow)[] => {
    if (name === 'hour' || name === 'day') return ['start'];
    return name === 'key' ? ['key', 'key_name'] : [name as keyof UsageRow];
  });
  return [...names, ...(Object.keys(usageFigures.shape) as (keyof UsageFigures)[])];
}
