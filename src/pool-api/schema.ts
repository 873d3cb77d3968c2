import { z } from 'zod';
import { accountStates, outcomes } from '../core/outcome.ts';
import { providerNamePattern } from '../core/provider.ts';
import { readiness } from './readiness.ts';

/**
 * Shapes that cross the pool's boundary. Requests are strict: an unknown field is an error, and null where a field may be left out
 * means that it is (`withoutNulls`), unless the schema takes null. Times are ISO 8601 in UTC. `meta` repeats a rule between fields
 * for the OpenAPI document.
 */

/** For the document: fields that are given, and fields that are left out or null. */
function fieldRule({ set = [], unset = [] }: { set?: readonly string[]; unset?: readonly string[] }) {
  const given = set.map((name) => [name, { not: { type: 'null' } }]);
  const missing = unset.map((name) => [name, { type: 'null' }]);
  return { required: set, properties: Object.fromEntries([...given, ...missing]) };
}

export { accountStates };
export const accountState = z.enum(accountStates);
export type AccountState = z.infer<typeof accountState>;

const isoTime = z.iso.datetime({ offset: true });
const sessionId = z
  .string()
  .regex(/^[A-Za-z0-9._:-]{1,128}$/, 'must be 1 to 128 characters out of A-Z a-z 0-9 . _ : -');
const accountId = z.string().min(1).max(128);
const providerName = z.string().regex(providerNamePattern, 'must be a provider name such as "warp"');

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

/** Text that people read in lists: without control and invisible characters, except those that join emoji and scripts. */
const notPlain = /(?!\u200c|\u200d|\ufe0f)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
const plainText = z
  .string()
  // Not as a pattern, which the OpenAPI document would show: other languages than this one cannot read it.
  .refine((text) => !notPlain.test(text), 'must not hold control characters or invisible ones');
const emailText = plainText.min(1).max(320);
const labelText = plainText.max(200);

/** Upstream models an account may use. An empty list would be an account nobody can ever be lent. */
const modelList = z
  .array(plainText.min(1).max(256))
  .min(1, 'name at least one model, or leave models out for all of them')
  .max(1000);

/** The team of the account that is billed, for providers whose accounts have teams. It travels in a header. */
const teamUid = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,128}$/, 'must be 1 to 128 characters out of A-Z a-z 0-9 . _ -');

/**
 * What becomes of a credential that its provider refuses when it is tried: `keep` takes it as `reauth_required`; `reject` takes
 * nothing and answers 422 `credential_refused`. One that could not be tried is taken either way.
 */
const onRefusal = z.enum(['keep', 'reject']);
export type OnRefusal = z.infer<typeof onRefusal>;

/** What an owner may say of an account that is added, in each of the ways to add one. */
const accountSettings = {
  label: labelText.optional(),
  capacity: z.int().min(1).max(10_000).optional(),
  /** Upstream models the account may use; absent means all. */
  models: modelList.optional(),
  /** A free plan: never replaces another free account whose quota is spent. */
  free: z.boolean().optional(),
  lend: z.enum(['any', 'gateway']).optional(),
  /** Lower is used first. */
  tier: z.int().min(0).max(1000).optional(),
  team_uid: teamUid.optional(),
  standby: z.boolean().optional(),
};

const accountFields = z.strictObject({
  provider: providerName,
  email: emailText.optional(),
  api_key: z.string().min(1).max(8192).optional(),
  refresh_token: z.string().min(1).max(8192).optional(),
  ...accountSettings,
});
export const onlyOneCredential = 'give exactly one of api_key and refresh_token';
const oneCredentialMeta = {
  anyOf: [fieldRule({ unset: ['api_key'] }), fieldRule({ unset: ['refresh_token'] })],
};
const hasOneCredential = (given: { api_key?: string | undefined; refresh_token?: string | undefined }) =>
  given.api_key === undefined || given.refresh_token === undefined;
/** One without any is for a provider that needs none. */
const withOneCredential = <Fields extends typeof accountFields>(fields: Fields) =>
  fields.refine(hasOneCredential, { message: onlyOneCredential, path: ['api_key'] }).meta(oneCredentialMeta);

/** An account of a file in the import format. */
export const importedAccount = withOneCredential(accountFields);

export const newAccount = withOneCredential(accountFields.extend({ on_refusal: onRefusal.optional() }));
export type NewAccount = z.input<typeof newAccount>;

const { standby: _standby, ...changeableSettings } = accountSettings;
/** What may be the same for many accounts. */
export const settingsChange = z.strictObject({
  ...changeableSettings,
  label: labelText.nullable().optional(),
  models: modelList.nullable().optional(),
  team_uid: teamUid.nullable().optional(),
});
export const accountChange = settingsChange
  .extend({
    enabled: z.boolean().optional(),
    email: emailText.nullable().optional(),
    /** Another credential of the account's own kind, in place of one that is dead or leaked. */
    api_key: z.string().min(1).max(8192).optional(),
    refresh_token: z.string().min(1).max(8192).optional(),
    on_refusal: onRefusal.optional(),
  })
  .refine(hasOneCredential, { message: 'give one of api_key and refresh_token', path: ['refresh_token'] })
  .meta(oneCredentialMeta);
export type AccountChange = z.infer<typeof accountChange>;

export const newLogin = z
  .strictObject({
    provider: providerName,
    /** Replace this account's credential instead of adding an account. */
    account_id: accountId.optional(),
    ...accountSettings,
  })
  .refine(
    ({ account_id, provider: _provider, ...settings }) =>
      account_id === undefined || Object.values(settings).every((value) => value === undefined),
    {
      message: 'an account that exists keeps its settings: give them to PATCH /api/accounts/{id}',
      path: ['account_id'],
    },
  )
  .meta({
    anyOf: [fieldRule({ unset: ['account_id'] }), fieldRule({ unset: Object.keys(accountSettings) })],
  });
export type NewLogin = z.input<typeof newLogin>;

export const loginStatuses = ['pending', 'approved', 'denied', 'expired', 'failed'] as const;

/** A login that a person approves in a browser. */
export const login = z.object({
  id: z.string(),
  provider: z.string(),
  /** `approved`: the account is in the pool. `failed`: see `error`; a cancelled one too. All but `pending` are final. */
  status: z.enum(loginStatuses),
  /** What the person types at `verification_uri`. */
  user_code: z.string(),
  verification_uri: z.string(),
  /** The same address with the code in it. */
  verification_uri_complete: z.string().nullable(),
  expires_at: isoTime,
  /** How often the provider is asked. */
  interval_seconds: z.int(),
  /** The account that came of it, or whose credential is to be replaced. */
  account_id: z.string().nullable(),
  /** Why it failed and what to do. */
  error: z.string().nullable(),
});
export type Login = z.infer<typeof login>;

export const loginAnswer = z.object({ success: z.literal(true), login });
export type LoginAnswer = z.infer<typeof loginAnswer>;

export const loginsAnswer = z.object({ success: z.literal(true), logins: z.array(login) });
export type LoginsAnswer = z.infer<typeof loginsAnswer>;

export const listQuery = z.strictObject({
  email: z.string().optional(),
  provider: providerName.optional(),
  status: accountState.optional(),
  label: z.string().optional(),
  /** Where it came from: api, env, a source's name. */
  source: z.string().optional(),
  probe: z.enum(['unproved', 'proved']).optional(),
  /** How the e-mail address or the label begins, in any case. */
  begins: z.string().min(1).max(320).optional(),
  /** How the id begins. */
  id_begins: z.string().min(4).max(128).optional(),
  /** Ids with commas between them. */
  ids: z.string().max(64_000).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** The `next_after` of the page before. */
  after: z.string().optional(),
});
export type ListQuery = z.input<typeof listQuery>;

const usage = z.object({
  turns: z.int(),
  input_tokens: z.int(),
  output_tokens: z.int(),
  credits: z.number(),
  cost_cents: z.number(),
});

/**
 * What ends a status, and when that is due. `time`: the time itself. `check`: the next question to the provider about the quota.
 * `refresh`: another access token. `replenishing`: the pool's need of accounts. `owner`: nothing but `action`.
 */
const statusEnd = z.object({
  by: z.enum(['time', 'check', 'refresh', 'replenishing', 'owner']),
  at: isoTime.nullable(),
  /** What the owner can do about it. */
  action: z.enum(['enable', 'replace_credential', 'remove']).nullable(),
});

/** An account as its owner sees it; never the credential. */
export const account = z.object({
  id: z.string(),
  provider: z.string(),
  email: z.string().nullable(),
  label: z.string().nullable(),
  status: accountState,
  /** When the present status ends by itself; null when it does not. */
  status_until: isoTime.nullable(),
  status_reason: z.string().nullable(),
  /** What the status rests on: the outcome, the vendor's answer, the figures. */
  status_evidence: z.record(z.string(), z.unknown()).nullable(),
  status_since: isoTime.nullable().default(null),
  /** What will end the status; null for an active account. */
  status_end: statusEnd.nullable().default(null),
  probe: z.enum(['unproved', 'proved']),
  source: z.string(),
  credential: z.enum(['api_key', 'refresh_token']),
  /** The last characters of the key, to tell two apart; empty for an account without one. */
  credential_hint: z.string(),
  capacity: z.int(),
  slots_in_use: z.int(),
  holders: z.int(),
  models: z.array(z.string()).nullable(),
  free: z.boolean(),
  lend: z.enum(['any', 'gateway']),
  tier: z.int(),
  /** The team that is billed; null leaves the choice to the provider. */
  team_uid: z.string().nullable().default(null),
  token_version: z.int(),
  use_count: z.int(),
  last_used: isoTime.nullable(),
  last_refresh_time: isoTime.nullable(),
  /** When the present bearer expires; null for an API key and before the first refresh. */
  token_expires_at: isoTime.nullable(),
  /** When the next refresh is due; null for an API key and an account out of service. */
  next_refresh_at: isoTime.nullable(),
  /** Why the last refresh failed; null after one that worked. */
  refresh_failure: z
    .object({
      failure: z.enum(['invalid_grant', 'account_gone', 'refused', 'unsent', 'unknown', 'interrupted']),
      message: z.string(),
      at: isoTime,
      in_a_row: z.int(),
    })
    .nullable(),
  quota: z
    .object({
      is_unlimited: z.boolean(),
      limit: z.number().nullable(),
      used: z.number().nullable(),
      remaining: z.number().nullable(),
      reset_at: isoTime.nullable(),
      /** Why the provider lets nothing in, in its own word, such as OUT_OF_CREDITS; null where it does. */
      denial_reason: z.string().nullable(),
      checked_at: isoTime,
    })
    .nullable(),
  /** When the provider is asked about the quota next; null while it is not. */
  next_check_at: isoTime.nullable().default(null),
  usage,
  created_at: isoTime,
  updated_at: isoTime,
});
export type Account = z.infer<typeof account>;

export const accountAnswer = z.object({ success: z.literal(true), account });
export type AccountAnswer = z.infer<typeof accountAnswer>;

/** What `GET /api/accounts/{id}` tells beyond the list. */
export const accountDetails = account.extend({
  /** Whether a session could borrow one slot of it at this moment, and if not, why. */
  lendable: z.object({ now: z.boolean(), reason: z.string().nullable() }),
  /** The last times it was passed over, the newest first; kept in memory since the pool started. */
  last_skips: z.array(z.object({ at: isoTime, reason: z.string(), session_id: z.string() })),
});
export type AccountDetails = z.infer<typeof accountDetails>;

export const accountDetailsAnswer = z.object({ success: z.literal(true), account: accountDetails });
export type AccountDetailsAnswer = z.infer<typeof accountDetailsAnswer>;

export const removeAnswer = z.object({ success: z.literal(true) });

export const listAnswer = z.object({
  success: z.literal(true),
  accounts: z.array(account),
  total: z.int(),
  next_after: z.string().nullable(),
});
export type ListAnswer = z.infer<typeof listAnswer>;

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

const sealedText = z.string().max(64 * 1024 * 1024);

export const importRequest = z
  .strictObject({
    /** JSON Lines: one account a line, with the fields of a new account. */
    lines: sealedText.optional(),
    /** What an export gave, and its passphrase. */
    sealed: sealedText.optional(),
    passphrase: z.string().min(1).max(1024).optional(),
  })
  .refine((given) => (given.lines === undefined) !== (given.sealed === undefined), {
    message: 'give exactly one of lines and sealed',
    path: ['lines'],
  })
  .refine((given) => (given.sealed === undefined) === (given.passphrase === undefined), {
    message: 'goes with sealed',
    path: ['passphrase'],
  })
  .meta({
    oneOf: [
      fieldRule({ unset: ['sealed', 'passphrase'] }),
      fieldRule({ set: ['sealed', 'passphrase'], unset: ['lines'] }),
    ],
  });
export type ImportRequest = z.input<typeof importRequest>;

export const importAnswer = z.object({
  success: z.literal(true),
  added: z.int(),
  /** Credentials that the pool has already. */
  duplicates: z.int(),
  failed: z.int(),
  results: z.array(
    z.object({
      line: z.int(),
      /** `rejected`: the provider does not take it; the account is kept as `reauth_required`. */
      result: z.enum(['added', 'duplicate', 'rejected', 'failed']),
      id: z.string().nullable(),
      /** Never quotes the line. */
      reason: z.string().nullable(),
    }),
  ),
});
export type ImportAnswer = z.infer<typeof importAnswer>;

export const exportRequest = z.strictObject({
  /** Who has it and the file has the accounts. */
  passphrase: z.string().min(12, 'must have 12 characters or more').max(1024),
  filter: z
    .strictObject({
      provider: providerName.optional(),
      status: accountState.optional(),
      source: z.string().optional(),
      label: z.string().optional(),
      email: z.string().optional(),
    })
    .optional(),
});
export type ExportRequest = z.input<typeof exportRequest>;

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
