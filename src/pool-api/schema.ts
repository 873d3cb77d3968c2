import { z } from 'zod';
import { accountStates, outcomes } from '../core/outcome.ts';
import { providerNamePattern } from '../core/provider.ts';
import { readiness } from './readiness.ts';

/**
 * Shapes of what borrowers, gateways and the pool tell each other. Requests are strict: an unknown field is an error, and null where
 * a field may be left out means that it is (`withoutNulls`), unless the schema takes null. Times are ISO 8601 in UTC. `meta` repeats
 * a rule between fields for the OpenAPI document.
 */

export { accountStates };
export const accountState = z.enum(accountStates);
export type AccountState = z.infer<typeof accountState>;

export const isoTime = z.iso.datetime({ offset: true });
const sessionId = z
  .string()
  .regex(/^[A-Za-z0-9._:-]{1,128}$/, 'must be 1 to 128 characters out of A-Z a-z 0-9 . _ : -');
export const accountId = z.string().min(1).max(128);
export const providerName = z.string().regex(providerNamePattern, 'must be a provider name such as "warp"');

export const defaultCapacity = 16;
const maxWaitMs = 60_000;

/** Means "ensure": afterwards the session holds `count` live leases that match. */
export const allocateRequest = z
  .strictObject({
    /** Absent: a new session is made and named in the answer. */
    session_id: sessionId.optional(),
    /** 1 to MAX_POOL_SIZE; the upper end is checked by the pool, which knows the setting. */
    count: z.int().min(1).default(1),
    provider: providerName.optional(),
    /** Only accounts that may use this upstream model. */
    model: z.string().min(1).max(256).optional(),
    /** Only accounts whose label is one of these. */
    labels: z.array(z.string().min(1).max(200)).min(1).max(50).optional(),
    exclusive: z.boolean().default(true),
    /** Turns the holder may run at a time on each account; more than 1 only when shared. */
    slots: z.int().min(1).max(10_000).default(1),
    /** Idle seconds after which the session is reaped; default SESSION_TIMEOUT_MINUTES. */
    ttl_seconds: z.int().min(1).max(86_400).optional(),
    /** How long to wait for a place before the 503. */
    wait_ms: z.int().min(0).max(maxWaitMs).default(0),
    exclude: z.array(accountId).max(1000).optional(),
    /** Taken if it is free; never a reason to fail. */
    prefer: accountId.optional(),
  })
  .meta({
    anyOf: [
      { properties: { slots: { maximum: 1 } } },
      { properties: { exclusive: { const: false } }, required: ['exclusive'] },
    ],
  });
export type AllocateRequest = z.input<typeof allocateRequest>;

export const leasedAccount = z.object({
  id: z.string(),
  email: z.string().nullable(),
  provider: z.string(),
  status: accountState,
  /** The bearer to send to the provider. */
  id_token: z.string(),
  /** Null for a bearer that does not expire. */
  token_expires_at: isoTime.nullable(),
  token_version: z.int(),
  use_count: z.int(),
  last_used: isoTime.nullable(),
  last_refresh_time: isoTime.nullable(),
  /** Proves which lease a report speaks for. */
  fence: z.int(),
  slots: z.int(),
  /** Slots the account has for all its holders. */
  capacity: z.int(),
  free: z.boolean(),
  /** Upstream models the account may use; null means all. */
  models: z.array(z.string()).nullable(),
  /** The team to bill, which Warp takes in the header X-Warp-Active-Team-UID; null leaves the choice to the provider. */
  team_uid: z.string().nullable().default(null),
  label: z.string().nullable().default(null),
  /** Lower ones are lent first. */
  tier: z.int().default(1),
  /** When what is left of its quota expires, where that is a good part and within a day; null else. */
  quota_expires_at: isoTime.nullable().default(null),
});
export type LeasedAccount = z.infer<typeof leasedAccount>;

export const allocateAnswer = z.object({
  success: z.literal(true),
  /** True when this call made the session. */
  created: z.boolean(),
  session_id: z.string(),
  expires_at: isoTime,
  accounts: z.array(leasedAccount),
  message: z.string(),
  /** The pool's own time, by which all the others are meant. */
  timestamp: isoTime.optional(),
});
export type AllocateAnswer = z.infer<typeof allocateAnswer>;

export const releaseRequest = z.strictObject({
  session_id: sessionId,
  /** Absent: everything the session holds, and the session itself. */
  leases: z
    .array(z.strictObject({ id: accountId, fence: z.int().min(0) }))
    .max(10_000)
    .optional(),
});
export type ReleaseRequest = z.input<typeof releaseRequest>;

export const releaseAnswer = z.object({ success: z.literal(true), released: z.int() });
export type ReleaseAnswer = z.infer<typeof releaseAnswer>;

/** More than any turn can use, and so little that an account's totals stay whole numbers for ever. */
export const mostUsage = 1_000_000_000;
export const mostReportedTurns = 1_000_000;

const reportedUsage = z.strictObject({
  input_tokens: z.int().min(0).max(mostUsage).optional(),
  output_tokens: z.int().min(0).max(mostUsage).optional(),
  credits: z.number().min(0).max(mostUsage).optional(),
  /** US cents, where the provider tells them. */
  cost_cents: z.number().min(0).max(mostUsage).optional(),
  /** Turns this item stands for when successes were merged. */
  turns: z.int().min(1).max(mostReportedTurns).optional(),
});

export const reportItem = z.strictObject({
  /** Chosen by the caller; the same id is counted once. */
  report_id: z.string().min(1).max(128),
  account_id: accountId,
  fence: z.int().min(0),
  token_version: z.int().min(0),
  outcome: z.enum(outcomes),
  at: isoTime,
  retry_after_ms: z
    .int()
    .min(0)
    .max(31 * 86_400_000)
    .optional(),
  reset_at: isoTime.optional(),
  usage: reportedUsage.optional(),
});
export type ReportItem = z.infer<typeof reportItem>;

export const reportRequest = z.strictObject({
  session_id: sessionId,
  reports: z.array(reportItem).max(1000),
});
export type ReportRequest = z.infer<typeof reportRequest>;

export const reportAnswer = z.object({
  success: z.literal(true),
  /** The pool's own time, by which all the others are meant. */
  timestamp: isoTime.optional(),
  results: z.array(
    z.object({
      report_id: z.string(),
      account_id: z.string(),
      result: z.enum(['applied', 'stale', 'unknown', 'duplicate']),
      /** Null when the account is unknown. */
      status: accountState.nullable(),
      status_until: isoTime.nullable(),
      /** A newer bearer than the reported token_version, if there is one and the lease is live. */
      id_token: z.string().optional(),
      token_version: z.int().optional(),
      token_expires_at: isoTime.nullable().optional(),
    }),
  ),
});
export type ReportAnswer = z.infer<typeof reportAnswer>;

/** Why accounts could not be had: how many stood in each way. Zero entries are left out. */
export const shortage = z.object({
  matching: z.int(),
  reasons: z.record(z.string(), z.int()),
  /** Who holds the leased ones; in a crowd of more than 500 leases, at least so many. */
  holders: z.object({ exclusive: z.int(), shared: z.int(), gateway: z.int() }),
});
export type Shortage = z.infer<typeof shortage>;

export const loginStatuses = ['pending', 'approved', 'denied', 'expired', 'failed'] as const;

/** What both services say of the disks they write to. */
export const diskHealth = {
  /** Not writable while lines of the log are lost. */
  log: z.object({ writable: z.boolean() }).optional(),
  /** Low where a disk that is written to has less than 100 MB left. */
  disk: z.object({ low: z.boolean() }).optional(),
};

export const healthAnswer = z.object({
  status: z.enum(['ok', 'degraded']),
  sandbox: z.boolean(),
  /** Why it is degraded and what to do, in a sentence or several; absent while it is ok. */
  reason: z.string().optional(),
  /** Those with accounts that are not given up. */
  providers: z.array(z.string()).optional(),
  /**
   * For callers the pool knows: the accounts of each provider by what keeps them from being lent to this caller, in the
   * words of a shortage; `open`: nothing does.
   */
  accounts: readiness.optional(),
  /** Who the key of this very request belongs to: `unknown` where the pool needs one and it shows none or a wrong one. */
  caller: z.enum(['admin', 'borrower', 'gateway', 'unknown']).optional(),
  /** Accounts in service that this caller is never lent, because they are for gateways only. */
  gateway_only_accounts: z.int().optional(),
  /**
   * Not writable while the database or its disk takes no changes: what is lent stays lent, nothing else changes. Not
   * reachable while the database does not answer.
   */
  store: z.object({ reachable: z.boolean().optional(), writable: z.boolean() }).optional(),
  ...diskHealth,
  version: z.string(),
});

export const errorAnswer = z.object({
  success: z.literal(false),
  error: z.object({
    code: z.string(),
    message: z.string(),
    param: z.string().optional(),
    /** With no_account_available. */
    shortage: shortage.optional(),
  }),
});
export type ErrorAnswer = z.infer<typeof errorAnswer>;

/** What holders of leases need to hear at once. Sent as server-sent events by `GET /api/events`. */
export const poolEvent = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('account-changed'),
    account_id: z.string(),
    provider: z.string(),
    status: accountState,
    free: z.boolean(),
  }),
  z.object({ type: z.literal('account-removed'), account_id: z.string(), provider: z.string() }),
  z.object({
    type: z.literal('login-changed'),
    login_id: z.string(),
    provider: z.string(),
    status: z.enum(loginStatuses),
    account_id: z.string().nullable(),
  }),
  /** Somebody waits for one of these accounts: who holds one without using it gives it back. */
  z.object({ type: z.literal('lease-wanted'), account_ids: z.array(z.string()) }),
]);
export type PoolEvent = z.infer<typeof poolEvent>;

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
