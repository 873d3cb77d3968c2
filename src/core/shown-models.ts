import { z } from 'zod';
import { deliveries } from './configured-routes.ts';
import { shownSkip } from './shown-turn.ts';

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
  /** As the file says; null where it says none, and the candidate follows the one before it or shares with it. */
  tier: z.int().nullable(),
  /** In which place it is tried, from 1; those that share have one. */
  rank: z.int(),
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

/** What `POST /api/models/explain` answers: which account would answer a turn that is not sent. */

const place = { provider: z.string(), model: z.string() };

const account = z.object({
  account_id: z.string(),
  label: z.string().nullable(),
  /** `held`: by this gateway, without a call to the pool. `open`: free at the pool. Otherwise what is in the way. */
  standing: z.string(),
  /** The evidence in words, where there is any. */
  says: z.string().nullable(),
  can_serve: z.boolean(),
});

const explained = z.object({
  ...place,
  /** Of a configured route that says one; null otherwise. */
  tier: z.int().nullable(),
  /** Of a configured route; null otherwise. */
  weight: z.number().nullable(),
  /** How often it is the first of its tier to be tried, from 0 to 1. */
  share: z.number(),
  when: shownConditions,
  labels: z.array(z.string()),
  context_window: z.int().nullable(),
  /** Why turns pass it over, or some of its accounts. */
  skipped: z.array(shownSkip.omit({ at_ms: true })),
  /** It takes the request, and an account could have it now. */
  can_serve: z.boolean(),
  /** Its accounts, by what is in their way; `open` and `held` can serve. Null where the pool does not say. */
  accounts: z.record(z.string(), z.int()).nullable(),
  /** At most 100, those first that would be lent first. */
  named_accounts: z.array(account),
});

export const explainedTurn = z.object({
  model: z.string(),
  dialect: z.string(),
  /** How the name leads where it leads. */
  way: z.object({
    kind: z.enum(['route', 'alias', 'named', 'listed', 'effort', 'stand_in', 'sandbox', 'none']),
    /** The configured route's own name or pattern. */
    route: z.string().nullable(),
    /** What the alias stands for. */
    alias: z.string().nullable(),
  }),
  /** Who would answer: several share the turns of one tier, by weight. Empty where none can now. */
  answers: z.array(z.object({ ...place, share: z.number(), account_id: z.string().nullable() })),
  /** What the client would get where none can now; a turn waits up to ten seconds before. */
  error: z.object({ code: z.string(), status: z.int(), message: z.string() }).nullable(),
  /** In the order of trial. */
  candidates: z.array(explained),
  /** Of the configured route: those that take no such request, or do not have the model. */
  passed_over: z.array(
    z.object({
      ...place,
      reason: z.enum(['tools', 'images', 'context', 'unknown', 'blind', 'key']),
      says: z.string(),
    }),
  ),
  /** What is not known for sure, and why. */
  notes: z.array(z.string()),
});
export type ExplainedTurn = z.infer<typeof explainedTurn>;
