import { z } from 'zod';
import { allocateRequest } from './schema.ts';

/** A demand that nothing is lent for: which accounts would do for a turn, and what is in the way of the others. */
export const eligibleRequest = allocateRequest.pick({ model: true, labels: true }).extend({
  provider: z.string().min(1).max(64),
});
export type EligibleRequest = z.input<typeof eligibleRequest>;

export const eligibleAnswer = z.object({
  /** How many match: of the provider, with one of the labels, and of use for the model. */
  matching: z.int(),
  /** Of the provider, and for another model or with another label. */
  others: z.int(),
  /** Those that match, by what is in their way, in the words of a refusal's `shortage`; `open`: nothing. */
  counts: z.record(z.string(), z.int()),
  /** At most 100, in the order in which they would be lent; none for callers that may only borrow. */
  accounts: z.array(
    z.object({
      account_id: z.string(),
      label: z.string().nullable(),
      /** The only ones its owner has it used for; null: all. */
      models: z.array(z.string()).nullable(),
      standing: z.string(),
    }),
  ),
});
export type EligibleAnswer = z.infer<typeof eligibleAnswer>;
