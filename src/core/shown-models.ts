import { z } from 'zod';
import { deliveries } from './configured-routes.ts';

/** Where a fact comes from: `models:` of the configuration file, the provider's own list, or the catalogue. */
const source = z.enum(['own', 'provider', 'catalogue']).nullable();
const dollars = z.number().nullable();

const price = z.object({ input: z.number(), output: z.number(), cache_read: dollars, cache_write: dollars });

/** One model at one provider. */
const model = z.object({
  /** As requests may name it. */
  name: z.string(),
  provider: z.string(),
  /** As the provider names it. */
  model: z.string(),
  display_name: z.string().nullable(),
  /** The list is known; otherwise it is the usual one of the provider. */
  is_proven: z.boolean(),
  accounts: z.object({
    /** In service, as far as known: those that could have a turn for the model now. */
    open: z.int(),
    /** Their own list lacks it, or their owner keeps them for others. */
    without: z.int(),
    /** Their limit for it is used up. */
    spent: z.int(),
  }),
  context_window: z.int().nullable(),
  context_window_from: source,
  max_output: z.int().nullable(),
  /** US dollars for a million tokens; null where that is not known. */
  price: price.nullable(),
  price_from: source,
  credit_multiplier: z.number().nullable(),
  effort: z.string().nullable(),
  abilities: z.object({
    tools: z.boolean().nullable(),
    vision: z.boolean().nullable(),
    reasoning: z.boolean().nullable(),
    structured_output: z.boolean().nullable(),
    prefill: z.boolean().nullable(),
  }),
  /** Aliases and configured routes that lead here. */
  aliases: z.array(z.string()),
  routes: z.array(z.string()),
});
export type ShownModel = z.infer<typeof model>;

/** What `GET /api/models` answers. */
export const shownModels = z.object({
  models: z.array(model),
  /** Those that have accounts in service, in the order in which plain names look for one, with the counts of the pool. */
  providers: z.array(z.object({ name: z.string(), accounts: z.record(z.string(), z.int()) })),
  sandbox: z.boolean(),
});
export type ShownModels = z.infer<typeof shownModels>;

/** Requests that a candidate takes; null: all. */
export const shownConditions = z.object({
  tools: z.boolean().nullable(),
  images: z.boolean().nullable(),
  max_context: z.int().nullable(),
});
export type ShownConditions = z.infer<typeof shownConditions>;

const candidate = z.object({
  provider: z.string(),
  model: z.string(),
  tier: z.number(),
  weight: z.number(),
  /** How often it is the first of its tier, from 0 to 1, where all of them take the request. */
  share: z.number(),
  when: shownConditions,
  labels: z.array(z.string()),
  first_content_timeout_ms: z.int().nullable(),
});

const route = z.object({
  model: z.string(),
  candidates: z.array(candidate),
  delivery: z.enum(deliveries),
  first_content_timeout_ms: z.int().nullable(),
  prompt_cache: z.enum(['auto', 'off']),
});
export type ShownRoute = z.infer<typeof route>;

/** What `GET /api/routes` answers: what the configuration file says of names. */
export const shownRoutes = z.object({
  routes: z.array(route),
  aliases: z.array(z.object({ name: z.string(), target: z.string() })),
  /** Null where there is no file. */
  config: z
    .object({ status: z.enum(['ok', 'error']), error: z.string().optional(), loaded_at: z.iso.datetime() })
    .nullable(),
});
export type ShownRoutes = z.infer<typeof shownRoutes>;
