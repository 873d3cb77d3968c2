import { z } from 'zod';
import { hasNothingUnseen } from '../lib/shown-text.ts';
import { accountId, accountState, isoTime, loginStatuses, providerName } from './schema.ts';

/** Shapes of accounts as their owner adds, changes, sees and moves them, and of logins. The rules of `schema.ts` hold. */

/** For the document: fields that are given, and fields that are left out or null. */
function fieldRule({ set = [], unset = [] }: { set?: readonly string[]; unset?: readonly string[] }) {
  const given = set.map((name) => [name, { not: { type: 'null' } }]);
  const missing = unset.map((name) => [name, { type: 'null' }]);
  return { required: set, properties: Object.fromEntries([...given, ...missing]) };
}

const plainText = z
  .string()
  // Not as a pattern, which the OpenAPI document would show: other languages than this one cannot read it.
  .refine(hasNothingUnseen, 'must not hold control characters or invisible ones');
const emailText = plainText.min(1).max(320);
const labelText = plainText.max(200);

/** Upstream models an account may use. An account with an empty list could never be lent. */
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

export const usage = z.object({
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
  /** When the present status ends automatically; null when it does not. */
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
