import type { Migration } from '../../db/migrate.ts';
import { kindBits, kindStates } from './rules/leasing.ts';

/** What the two databases write differently. */
export interface Words {
  /** A whole number that may be large. */
  readonly whole: string;
  readonly real: string;
  /** A text that is compared byte by byte. */
  readonly name: string;
  /** A column that counts the rows. */
  readonly sequence: string;
  /** The first columns of accounts: `seq`, which counts them, and `id`. */
  readonly accountIds: string;
  /** How a column is kept that is computed from others. */
  readonly computed: string;
  /** A whole number in a column of JSON. */
  numberIn(column: string, name: string): string;
  /** What an index holds of a column that is found in any case. */
  anyCase(column: string): string;
  /** Behind the columns of a table, and of one that is found by its primary key. */
  readonly end: string;
  readonly keyedEnd: string;
  /** The indexes that find an account to lend. */
  readonly lendingIndexes: string;
  /** The tables `spending`, `standings` and `counters`, and the triggers that count. */
  readonly counting: string;
}

const flags: Record<keyof typeof kindBits, string> = {
  rateLimited: "state = 'cooldown' AND state_reason IS NOT DISTINCT FROM 'rate_limited'",
  gatewayOnly: "lend = 'gateway'",
  free: 'free = 1',
  held: 'holders > 0',
  halfOpen: 'half_open = 1',
  exclusivelyHeld: 'exclusive_held = 1',
  full: 'shared_slots >= capacity',
  modelsLimited: 'models IS NOT NULL',
};
const flagSum = Object.entries(flags)
  .map(([flag, is]) => `CASE WHEN ${is} THEN ${kindBits[flag as keyof typeof kindBits]} ELSE 0 END`)
  .join(' + ');
const stateNumber = kindStates.map((state, number) => `WHEN '${state}' THEN ${number}`).join(' ');

/** Of a row of accounts, for the counters: what it has left, and 1 where that is not known or has no limit. */
export const usable = (row: string): string => `(${row}.state IN ('active', 'cooldown', 'exhausted'))`;
export const metered = (row: string): string =>
  `(CASE WHEN ${usable(row)} THEN COALESCE(${row}.quota_remaining, 0) ELSE 0 END)`;
export const unmetered = (row: string): string =>
  `(CASE WHEN ${usable(row)} AND ${row}.quota_remaining IS NULL THEN 1 ELSE 0 END)`;

/** Has a place for one more shared turn. */
export const shareable = `state = 'active' AND exclusive_held = 0 AND shared_slots < capacity
  AND (half_open = 0 OR holders = 0)`;

/**
 * The steps of the schema, of which the first has the version `first`. A released step is never edited; a change of the schema
 * is a new one at the end.
 */
export function poolMigrations(first: number, words: Words): readonly Migration[] {
  const cost = `ADD COLUMN cost_cents ${words.real} NOT NULL DEFAULT 0`;
  return [
    { name: 'the pool', sql: poolTables(words) },
    { name: 'the team an account bills', sql: 'ALTER TABLE accounts ADD COLUMN team_uid text' },
    {
      name: 'what turns cost in US cents',
      sql: `ALTER TABLE accounts ${cost}; ALTER TABLE spending ${cost}`,
    },
    { name: 'when quotas reset', sql: quotaResets(words) },
  ].map((step, at) => ({ version: first + at, ...step }));
}

function quotaResets({ whole, numberIn, computed }: Words): string {
  return `
ALTER TABLE accounts ADD COLUMN quota_reset_at ${whole}
  GENERATED ALWAYS AS (${numberIn('quota', 'resetAt')}) ${computed};
CREATE INDEX accounts_resetting ON accounts (quota_reset_at)
  WHERE quota_remaining IS NOT NULL AND state IN ('active', 'cooldown', 'exhausted');`;
}

function poolTables({ whole, real, name, sequence, end, keyedEnd, ...words }: Words): string {
  return `
CREATE TABLE meta (name ${name} PRIMARY KEY, value text NOT NULL)${keyedEnd};

CREATE TABLE accounts (
  ${words.accountIds},
  provider ${name} NOT NULL,
  email text,
  label text,
  capacity integer NOT NULL CHECK (capacity >= 1),
  models text,
  free integer NOT NULL CHECK (free IN (0, 1)),
  lend text NOT NULL CHECK (lend IN ('any', 'gateway')),
  tier integer NOT NULL,
  state text NOT NULL
    CHECK (state IN ('standby', 'active', 'cooldown', 'exhausted', 'reauth_required', 'disabled')),
  state_until ${whole},
  state_reason text,
  state_evidence text,
  half_open integer NOT NULL DEFAULT 0 CHECK (half_open IN (0, 1)),
  quota_spent integer NOT NULL DEFAULT 0 CHECK (quota_spent IN (0, 1)),
  streaks text NOT NULL,
  state_since ${whole} NOT NULL,
  probe text NOT NULL CHECK (probe IN ('unproved', 'proved')),
  source text NOT NULL,
  source_handle text,
  credential_kind text NOT NULL CHECK (credential_kind IN ('api_key', 'refresh_token')),
  credential text NOT NULL,
  credential_fingerprint text NOT NULL,
  credential_hint text NOT NULL,
  bearer text,
  bearer_expires_at ${whole},
  token_version integer NOT NULL DEFAULT 1,
  last_refresh_time ${whole},
  next_refresh_at ${whole},
  refresh_failure text,
  quota text,
  quota_remaining ${real},
  next_check_at ${whole},
  checks integer NOT NULL DEFAULT 0,
  fence_counter ${whole} NOT NULL DEFAULT 0,
  use_count ${whole} NOT NULL DEFAULT 0,
  last_used ${whole} NOT NULL DEFAULT 0,
  turns ${whole} NOT NULL DEFAULT 0,
  input_tokens ${whole} NOT NULL DEFAULT 0,
  output_tokens ${whole} NOT NULL DEFAULT 0,
  credits ${real} NOT NULL DEFAULT 0,
  holders integer NOT NULL DEFAULT 0 CHECK (holders >= 0),
  exclusive_held integer NOT NULL DEFAULT 0 CHECK (exclusive_held IN (0, 1)),
  shared_slots integer NOT NULL DEFAULT 0 CHECK (shared_slots >= 0),
  created_at ${whole} NOT NULL,
  updated_at ${whole} NOT NULL,
  kind integer NOT NULL GENERATED ALWAYS AS ((CASE state ${stateNumber} END) + ${flagSum}) ${words.computed},
  UNIQUE (provider, credential_fingerprint),
  CHECK (exclusive_held = 0 OR (holders = 1 AND shared_slots = 0))
)${end};
${words.lendingIndexes}
CREATE INDEX accounts_unheld_by_provider ON accounts (provider, tier, last_used, id)
  WHERE state = 'active' AND holders = 0;
CREATE INDEX accounts_shareable_by_provider ON accounts (provider, tier, last_used, id) WHERE ${shareable};
CREATE INDEX accounts_free_spent ON accounts (provider, state_until) WHERE free = 1 AND quota_spent = 1;
CREATE INDEX accounts_resting ON accounts (state_until) WHERE state_until IS NOT NULL;
CREATE INDEX accounts_resting_by_provider ON accounts (provider, state_until) WHERE state_until IS NOT NULL;
CREATE INDEX accounts_lapsing ON accounts (bearer_expires_at)
  WHERE bearer_expires_at IS NOT NULL AND state = 'active';
CREATE INDEX accounts_to_check ON accounts (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX accounts_to_refresh ON accounts (next_refresh_at) WHERE next_refresh_at IS NOT NULL;
CREATE INDEX accounts_dead ON accounts (state_since) WHERE state IN ('reauth_required', 'disabled');
CREATE INDEX accounts_with_models ON accounts (provider) WHERE models IS NOT NULL;
CREATE INDEX accounts_by_provider ON accounts (provider, seq);
CREATE INDEX accounts_by_email ON accounts (${words.anyCase('email')}) WHERE email IS NOT NULL;
CREATE INDEX accounts_by_label ON accounts (${words.anyCase('label')}) WHERE label IS NOT NULL;

CREATE TABLE sessions (
  id ${name} PRIMARY KEY,
  key_id text NOT NULL,
  is_gateway integer NOT NULL,
  exclusive integer NOT NULL,
  provider ${name},
  ttl_ms ${whole} NOT NULL,
  expires_at ${whole} NOT NULL,
  created_at ${whole} NOT NULL
)${keyedEnd};
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX sessions_of_gateways ON sessions (expires_at) WHERE is_gateway = 1;

CREATE TABLE leases (
  session_id ${name} NOT NULL REFERENCES sessions (id),
  account_id ${name} NOT NULL REFERENCES accounts (id),
  fence ${whole} NOT NULL,
  slots integer NOT NULL CHECK (slots >= 1),
  exclusive integer NOT NULL,
  created_at ${whole} NOT NULL,
  PRIMARY KEY (session_id, account_id)
)${keyedEnd};
CREATE INDEX leases_by_account ON leases (account_id);

CREATE TABLE reports_seen (
  key_id ${name} NOT NULL,
  report_id ${name} NOT NULL,
  seen_at ${whole} NOT NULL,
  PRIMARY KEY (key_id, report_id)
)${keyedEnd};
CREATE INDEX reports_seen_by_age ON reports_seen (seen_at);

CREATE TABLE refreshes (
  ${sequence},
  id ${name} NOT NULL UNIQUE,
  account_id ${name} NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  instance text NOT NULL,
  actor text NOT NULL,
  forced integer NOT NULL CHECK (forced IN (0, 1)),
  intent_at ${whole} NOT NULL,
  -- When the ceiling opens again if this attempt counts.
  opens_at ${whole} NOT NULL,
  limit_at ${whole} NOT NULL,
  -- Of the credential it was made with.
  token_version integer NOT NULL,
  state text NOT NULL CHECK (state IN ('intent', 'committed', 'superseded', 'invalid_grant', 'account_gone',
    'refused', 'unsent', 'unknown', 'interrupted')),
  finished_at ${whole}
)${end};
CREATE UNIQUE INDEX refreshes_under_way ON refreshes (account_id) WHERE state = 'intent';
CREATE INDEX refreshes_by_account ON refreshes (account_id, intent_at);
CREATE INDEX refreshes_by_limit ON refreshes (limit_at) WHERE state = 'intent';

CREATE TABLE known_credentials (
  provider ${name} NOT NULL,
  fingerprint ${name} NOT NULL,
  account_id ${name} NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  -- By its owner. Those that came by rotation are kept for a while only.
  is_given integer NOT NULL CHECK (is_given IN (0, 1)),
  PRIMARY KEY (provider, fingerprint)
)${keyedEnd};
CREATE INDEX known_credentials_by_account ON known_credentials (account_id);

-- The last intent of accounts that were removed, by credential: adding one again does not open the ceiling.
CREATE TABLE removed_intents (
  provider ${name} NOT NULL,
  fingerprint ${name} NOT NULL,
  intent_at ${whole} NOT NULL,
  PRIMARY KEY (provider, fingerprint)
)${keyedEnd};
CREATE INDEX removed_intents_by_age ON removed_intents (intent_at);

CREATE TABLE audit (
  ${sequence},
  at ${whole} NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  account_id ${name},
  detail text NOT NULL
)${end};
CREATE INDEX audit_by_account ON audit (account_id, seq) WHERE account_id IS NOT NULL;
${words.counting}`;
}
