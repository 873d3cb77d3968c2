import { z } from 'zod';
import { settingsChange } from './schema.ts';

/** Shapes of the calls that only the pool's owner makes, the admin page first of all. The rules of `schema.ts` hold. */

/** What an account of each provider can be added with. */
export const providersAnswer = z.object({
  success: z.literal(true),
  providers: z.array(
    z.object({
      name: z.string(),
      /** The built-in sandbox. */
      trial: z.boolean(),
      api_key: z.enum(['needed', 'optional']),
      refresh_token: z.boolean(),
      /** A person can log in through a browser. */
      login: z.boolean(),
      /** `team_uid` says which team is billed. */
      teams: z.boolean(),
      /** What the operator has to set for what is missing; null where it cannot be had. */
      missing: z.object({ refresh_token: z.string().nullable(), login: z.string().nullable() }),
    }),
  ),
});
export type ProvidersAnswer = z.infer<typeof providersAnswer>;

const mostBulkIds = 500;

export const bulkRequest = z
  .strictObject({
    ids: z.array(z.string().min(1).max(128)).min(1).max(mostBulkIds),
    /** `check` asks the provider what is left; `refresh` keeps to the hourly ceiling; `set` changes `settings`. */
    action: z.enum(['enable', 'disable', 'remove', 'check', 'refresh', 'set']),
    settings: settingsChange.optional(),
  })
  .refine(({ action, settings }) => (action === 'set') === (settings !== undefined), {
    message: 'goes with "set", and only with it',
    path: ['settings'],
  })
  .meta({
    oneOf: [
      {
        properties: { action: { const: 'set' }, settings: { not: { type: 'null' } } },
        required: ['settings'],
      },
      { properties: { action: { not: { const: 'set' } }, settings: { type: 'null' } } },
    ],
  });

export const bulkAnswer = z.object({
  success: z.literal(true),
  done: z.int(),
  skipped: z.int(),
  failed: z.int(),
  results: z.array(
    z.object({
      id: z.string(),
      /** `skipped`: there was nothing to do, or it is not allowed yet. */
      result: z.enum(['done', 'skipped', 'failed']),
      reason: z.string().nullable(),
    }),
  ),
});
export type BulkAnswer = z.infer<typeof bulkAnswer>;
