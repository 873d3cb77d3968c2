import { z } from 'zod';
import { shownConditions } from './shown-models.ts';
import { shownSkip } from './shown-turn.ts';

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

const candidate = z.object({
  ...place,
  /** Of a configured route; null otherwise, as is the next. */
  tier: z.number().nullable(),
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
  candidates: z.array(candidate),
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
