import { z } from 'zod';
import { login, settingsChange, usage } from './account-schema.ts';
import { readiness } from './readiness.ts';
import { accountId, isoTime } from './schema.ts';

/** Shapes of the calls about the pool as a whole that only its owner makes. The rules of `schema.ts` hold. */

export const statusAnswer = z.object({
  pool_stats: z.object({
    total: z.int(),
    /** Active with a free place. */
    available: z.int(),
    /** With a live lease. */
    in_use: z.int(),
    standby: z.int(),
    cooldown: z.int(),
    exhausted: z.int(),
    reauth_required: z.int(),
    disabled: z.int(),
  }),
  active_sessions: z.int(),
  running: z.boolean(),
  min_pool_size: z.int(),
  max_pool_size: z.int(),
  health: z.enum(['healthy', 'low', 'critical']),
  /** Why no account can be lent, or why the gateway can answer no turn with those that can, and what to do; null else. */
  reason: z.string().nullable().optional(),
  /** The accounts of each provider by what keeps them from being lent to a gateway, in the words of a shortage. */
  accounts: readiness.optional(),
  /** True while built-in sandbox accounts answer because there is no real one. */
  sandbox: z.boolean(),
  /** How long what is left lasts, in the providers' own units. */
  forecast: z.object({
    /** What usable accounts have left together, of those that have figures. */
    remaining: z.number(),
    /** Usable accounts without a limit or without figures. */
    unmetered_accounts: z.int(),
    spent_last_hour: usage,
    /** At the rate of the last hour; null when nothing was spent or nothing is metered. */
    lasts_hours: z.number().nullable(),
    empty_at: isoTime.nullable(),
    /** When the next account that rests or is out of quota is due; null where none is, or that is not known. */
    next_back_at: isoTime.nullable().optional(),
    /** When the next quota of a usable account resets; null where no provider has told. Older pools do not say. */
    next_reset_at: isoTime.nullable().optional(),
  }),
  /** Where replenishing draws accounts from, in order; the first is the pool's own inventory in standby. */
  sources: z.array(
    z.object({
      name: z.string(),
      type: z.string(),
      state: z.enum(['ok', 'backing_off', 'empty']),
      /** What was wrong with it, or with some of what it gave, when it was last asked; never a secret. */
      last_error: z.string().nullable(),
      /** Not asked before; null when it may be asked now. */
      retry_at: isoTime.nullable(),
      /** Accounts it has brought so far. */
      added: z.int(),
      /** A login that waits for a person; for sources that offer one. */
      login: login.nullable().optional(),
    }),
  ),
  timestamp: isoTime,
});
export type StatusAnswer = z.infer<typeof statusAnswer>;

export const replenishRequest = z.strictObject({ count: z.int().min(1).max(10_000).optional() });
export type ReplenishRequest = z.input<typeof replenishRequest>;
export const replenishAnswer = z.object({
  success: z.literal(true),
  requested: z.int(),
  added: z.int(),
  failed: z.int(),
  reasons: z.array(z.string()),
  message: z.string(),
});
export type ReplenishAnswer = z.infer<typeof replenishAnswer>;

export const refreshTokensRequest = z.strictObject({
  email: z.string().min(1).max(320).optional(),
  id: accountId.optional(),
  force: z.boolean().default(false),
});
export type RefreshTokensRequest = z.input<typeof refreshTokensRequest>;
export const refreshTokensAnswer = z.object({
  success: z.literal(true),
  refreshed: z.int(),
  skipped: z.int(),
  failed: z.int(),
  results: z.array(
    z.object({
      id: z.string(),
      email: z.string().nullable(),
      result: z.enum(['refreshed', 'skipped', 'failed']),
      reason: z.string().nullable(),
      next_at: isoTime.nullable(),
    }),
  ),
});
export type RefreshTokensAnswer = z.infer<typeof refreshTokensAnswer>;

export const sessionsQuery = z.strictObject({
  /** Only those that hold this account. */
  account_id: accountId.optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** The `next_after` of the page before. */
  after: z.string().max(128).optional(),
});
export type SessionsQuery = z.input<typeof sessionsQuery>;

/** A session as the pool's owner sees it. */
export const session = z.object({
  id: z.string(),
  /** The id of the key that its holder shows; `local` where there are no keys, `gateway` for the one in the same process. */
  key_id: z.string(),
  gateway: z.boolean(),
  exclusive: z.boolean(),
  /** The provider it asked for; null for any. */
  provider: z.string().nullable(),
  accounts: z.array(z.object({ id: z.string(), email: z.string().nullable(), slots: z.int() })),
  created_at: isoTime,
  /** When it ends unless it is renewed, and for how long it is renewed each time. */
  expires_at: isoTime,
  ttl_seconds: z.number(),
});
export type Session = z.infer<typeof session>;

export const sessionsAnswer = z.object({
  success: z.literal(true),
  /** By id. */
  sessions: z.array(session),
  total: z.int(),
  next_after: z.string().nullable(),
});
export type SessionsAnswer = z.infer<typeof sessionsAnswer>;

export const auditQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** The `next_before` of the page before. */
  before: z.coerce.number().int().min(1).optional(),
  account_id: accountId.optional(),
});
export type AuditQuery = z.input<typeof auditQuery>;

export const auditAnswer = z.object({
  success: z.literal(true),
  entries: z.array(
    z.object({
      seq: z.int(),
      at: isoTime,
      /** The id of a key, `local`, `environment`, `housekeeper`, … */
      actor: z.string(),
      action: z.string(),
      account_id: z.string().nullable(),
      /** Never a secret. */
      detail: z.record(z.string(), z.unknown()),
    }),
  ),
  next_before: z.int().nullable(),
});
export type AuditAnswer = z.infer<typeof auditAnswer>;

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
