import { z } from 'zod';
import { isTimeZone } from '../lib/clock.ts';
import { hasNothingUnseen } from '../lib/shown-text.ts';

/** Client keys as their operator writes and sees them. */

const meters = ['requests', 'tokens', 'cost_cents', 'credits'] as const;
const windows = ['day', 'week', 'month', 'total'] as const;

const budget = z
  .strictObject({
    meter: z.enum(meters),
    /** Of the calendar, in the key's time zone; `total`: for as long as the key lives. */
    window: z.enum(windows),
    limit: z.number().positive().max(1e15),
  })
  .refine(({ meter, limit }) => Number.isInteger(limit) || !['requests', 'tokens'].includes(meter), {
    path: ['limit'],
    message: 'must be a whole number',
  });
const budgets = z
  .array(budget)
  .max(16)
  .refine((all) => new Set(all.map(({ meter, window }) => `${meter}/${window}`)).size === all.length, {
    message: 'must name each meter and window once',
  });

const most = z.int().min(1).max(1_000_000_000_000);
const timeZone = z.string().refine(isTimeZone, {
  message: 'must be a time zone by its IANA name, such as Europe/Berlin',
});

const keyLimits = z.strictObject({
  requests_per_minute: most.optional(),
  tokens_per_minute: most.optional(),
  parallel_turns: most.optional(),
  budgets: budgets.default([]),
  time_zone: timeZone.optional(),
});

/** What is left out stays; null takes a limit away, or all budgets. `budgets` replaces all of them. */
const changedLimits = z.strictObject({
  requests_per_minute: most.nullish(),
  tokens_per_minute: most.nullish(),
  parallel_turns: most.nullish(),
  budgets: budgets.nullish(),
  time_zone: timeZone.nullish(),
});

/** `GET /api/keys/me` is the key of the caller. */
const name = z.string().regex(/^(?!key_|me$)[\p{L}\p{N}](?:[\p{L}\p{N} ._@+-]{0,62}[\p{L}\p{N}._@+-])?$/u, {
  message:
    'must be 1 to 64 letters, digits, spaces and ._@+-, begin with a letter or digit, and not with key_; "me" is taken',
});
const owner = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .refine(hasNothingUnseen, 'must not hold control characters or invisible ones');
const listOf = (most: number, longest: number) => z.array(z.string().min(1).max(longest)).min(1).max(most);
const restrictions = {
  models: listOf(200, 256).nullish().describe('Names, or patterns with `*`; null or left out: all'),
  providers: listOf(50, 64).nullish().describe('null or left out: all'),
  labels: listOf(50, 200)
    .nullish()
    .describe('Turns go to accounts with one of these labels; null or left out: to any'),
};
const isoTime = z.iso.datetime({ offset: true });

export const newKey = z.strictObject({
  name,
  owner: owner.nullish(),
  ...restrictions,
  limits: keyLimits.default({ budgets: [] }),
  expires_at: isoTime.nullish(),
});

/** What is left out stays as it is. */
export const changedKey = z.strictObject({
  name: name.optional(),
  owner: owner.nullish(),
  ...restrictions,
  limits: changedLimits.nullish().describe('null takes all limits away'),
  expires_at: isoTime.nullish(),
  enabled: z.boolean().optional(),
});

export const rotation = z.strictObject({
  grace_seconds: z
    .int()
    .min(0)
    .max(30 * 86_400)
    .default(86_400)
    .describe('How long the present secret stays good; 0: it ends now'),
});

/** How much of one limit is used now. */
const keyUse = z.object({
  meter: z.enum([...meters, 'turns']),
  window: z.enum([...windows, 'minute', 'now']),
  limit: z.number(),
  used: z.number(),
  /** Of `cost_cents`: turns whose cost is not known, and not in `used`. */
  unpriced_turns: z.int().optional(),
  /** When `used` is 0 again; null: never, or with the turns that run. */
  resets_at: isoTime.nullable(),
});
export type KeyUse = z.infer<typeof keyUse>;

export const shownKey = z.object({
  id: z.string(),
  name: z.string(),
  owner: z.string().nullable(),
  /** How its secret begins. */
  prefix: z.string(),
  state: z.enum(['active', 'disabled', 'expired', 'revoked']),
  models: z.array(z.string()).nullable(),
  providers: z.array(z.string()).nullable(),
  labels: z.array(z.string()).nullable(),
  limits: keyLimits,
  uses: z.array(keyUse),
  expires_at: isoTime.nullable(),
  created_at: isoTime,
  last_used_at: isoTime.nullable(),
  /** After a rotation: until when the secret before is good. */
  former_secret_until: isoTime.nullable(),
  revoked_at: isoTime.nullable(),
});
export type ShownKey = z.infer<typeof shownKey>;

const yesNo = z.enum(['true', 'false'], 'must be true or false');

export const keyPageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** The `next_before` of the page before. */
  before: z.coerce.number().int().min(0).optional(),
  revoked: yesNo
    .default('false')
    .transform((given) => given === 'true')
    .describe('Also keys that were revoked'),
});

export const shownKeys = z.object({
  keys: z.array(shownKey),
  /** For the next page; null after the last. */
  next_before: z.int().nullable(),
});

export type ShownKeys = z.infer<typeof shownKeys>;

/** A key with its secret, which is shown this once. */
export const keyWithSecret = z.object({ key: shownKey, secret: z.string() });
