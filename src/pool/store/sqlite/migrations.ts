import type { Migration } from '../../../db/migrate.ts';
import { kindBits, kindStates } from '../rules/kinds.ts';

const countedStates = ['standby', 'active', 'cooldown', 'exhausted', 'reauth_required', 'disabled'];

const stateSums = (row: 'NEW' | 'OLD', sign: '+' | '-'): string =>
  countedStates.map((state) => `${state} = ${state} ${sign} (${row}.state = '${state}')`).join(', ');

const stateMoves = countedStates
  .map((state) => `${state} = ${state} + (NEW.state = '${state}') - (OLD.state = '${state}')`)
  .join(', ');

const accounts: Migration = {
  version: 1,
  name: 'accounts, sessions, leases',
  sql: `
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  provider TEXT NOT NULL,
  email TEXT,
  label TEXT,
  capacity INTEGER NOT NULL CHECK (capacity >= 1),
  models TEXT,
  free INTEGER NOT NULL CHECK (free IN (0, 1)),
  lend TEXT NOT NULL CHECK (lend IN ('any', 'gateway')),
  tier INTEGER NOT NULL,
  state TEXT NOT NULL
    CHECK (state IN ('standby', 'active', 'cooldown', 'exhausted', 'reauth_required', 'disabled')),
  state_until INTEGER,
  state_reason TEXT,
  state_evidence TEXT,
  half_open INTEGER NOT NULL DEFAULT 0 CHECK (half_open IN (0, 1)),
  quota_spent INTEGER NOT NULL DEFAULT 0 CHECK (quota_spent IN (0, 1)),
  streaks TEXT NOT NULL,
  probe TEXT NOT NULL CHECK (probe IN ('unproved', 'proved')),
  source TEXT NOT NULL,
  credential_kind TEXT NOT NULL CHECK (credential_kind IN ('api_key', 'refresh_token')),
  credential TEXT NOT NULL,
  credential_fingerprint TEXT NOT NULL,
  credential_hint TEXT NOT NULL,
  token_version INTEGER NOT NULL DEFAULT 1,
  last_refresh_time INTEGER,
  quota TEXT,
  next_check_at INTEGER,
  checks INTEGER NOT NULL DEFAULT 0,
  fence_counter INTEGER NOT NULL DEFAULT 0,
  use_count INTEGER NOT NULL DEFAULT 0,
  last_used INTEGER NOT NULL DEFAULT 0,
  turns INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  credits REAL NOT NULL DEFAULT 0,
  holders INTEGER NOT NULL DEFAULT 0 CHECK (holders >= 0),
  exclusive_held INTEGER NOT NULL DEFAULT 0 CHECK (exclusive_held IN (0, 1)),
  shared_slots INTEGER NOT NULL DEFAULT 0 CHECK (shared_slots >= 0),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  is_available INTEGER GENERATED ALWAYS AS (
    state = 'active' AND exclusive_held = 0 AND shared_slots < capacity AND (half_open = 0 OR holders = 0)
  ) VIRTUAL,
  UNIQUE (provider, credential_fingerprint),
  CHECK (exclusive_held = 0 OR (holders = 1 AND shared_slots = 0))
) STRICT;

CREATE INDEX accounts_unheld ON accounts (tier, last_used, id)
  WHERE state = 'active' AND holders = 0;
CREATE INDEX accounts_unheld_by_provider ON accounts (provider, tier, last_used, id)
  WHERE state = 'active' AND holders = 0;
CREATE INDEX accounts_shareable ON accounts (tier, last_used, id)
  WHERE state = 'active' AND exclusive_held = 0 AND shared_slots < capacity AND (half_open = 0 OR holders = 0);
CREATE INDEX accounts_shareable_by_provider ON accounts (provider, tier, last_used, id)
  WHERE state = 'active' AND exclusive_held = 0 AND shared_slots < capacity AND (half_open = 0 OR holders = 0);
CREATE INDEX accounts_active ON accounts (provider) WHERE state = 'active';
CREATE INDEX accounts_free_spent ON accounts (provider, state_until) WHERE free = 1 AND quota_spent = 1;
CREATE INDEX accounts_resting ON accounts (state_until) WHERE state_until IS NOT NULL;
CREATE INDEX accounts_to_check ON accounts (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX accounts_by_email ON accounts (email COLLATE NOCASE) WHERE email IS NOT NULL;

CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  key_id TEXT NOT NULL,
  is_gateway INTEGER NOT NULL,
  exclusive INTEGER NOT NULL,
  provider TEXT,
  ttl_ms INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE leases (
  session_id TEXT NOT NULL REFERENCES sessions (id),
  account_id TEXT NOT NULL REFERENCES accounts (id),
  fence INTEGER NOT NULL,
  slots INTEGER NOT NULL CHECK (slots >= 1),
  exclusive INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (session_id, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_by_account ON leases (account_id);

CREATE TABLE reports_seen (
  key_id TEXT NOT NULL,
  report_id TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  PRIMARY KEY (key_id, report_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX reports_seen_by_age ON reports_seen (seen_at);

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  account_id TEXT,
  detail TEXT NOT NULL
) STRICT;

CREATE TABLE counters (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  total INTEGER NOT NULL DEFAULT 0,
  available INTEGER NOT NULL DEFAULT 0,
  in_use INTEGER NOT NULL DEFAULT 0,
  ${countedStates.map((state) => `${state} INTEGER NOT NULL DEFAULT 0`).join(', ')},
  sessions INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO counters (id) VALUES (1);

CREATE TRIGGER accounts_counted_in AFTER INSERT ON accounts BEGIN
  UPDATE counters SET total = total + 1, available = available + NEW.is_available,
    in_use = in_use + (NEW.holders > 0), ${stateSums('NEW', '+')};
END;
CREATE TRIGGER accounts_counted_out AFTER DELETE ON accounts BEGIN
  UPDATE counters SET total = total - 1, available = available - OLD.is_available,
    in_use = in_use - (OLD.holders > 0), ${stateSums('OLD', '-')};
END;
CREATE TRIGGER accounts_recounted
AFTER UPDATE OF state, holders, exclusive_held, shared_slots, capacity, half_open ON accounts
WHEN OLD.state <> NEW.state OR OLD.is_available <> NEW.is_available OR (OLD.holders > 0) <> (NEW.holders > 0)
BEGIN
  UPDATE counters SET available = available + NEW.is_available - OLD.is_available,
    in_use = in_use + (NEW.holders > 0) - (OLD.holders > 0), ${stateMoves};
END;
CREATE TRIGGER sessions_counted_in AFTER INSERT ON sessions BEGIN
  UPDATE counters SET sessions = sessions + 1;
END;
CREATE TRIGGER sessions_counted_out AFTER DELETE ON sessions BEGIN
  UPDATE counters SET sessions = sessions - 1;
END;
`,
};

const usable = (row: 'NEW' | 'OLD'): string => `(${row}.state IN ('active', 'cooldown', 'exhausted'))`;
const metered = (row: 'NEW' | 'OLD'): string =>
  `(CASE WHEN ${usable(row)} THEN COALESCE(${row}.quota_remaining, 0) ELSE 0 END)`;
const unmetered = (row: 'NEW' | 'OLD'): string => `(${usable(row)} AND ${row}.quota_remaining IS NULL)`;

const tokens: Migration = {
  version: 2,
  name: 'bearers, the refresh journal, spending',
  sql: `
ALTER TABLE accounts ADD COLUMN bearer TEXT;
ALTER TABLE accounts ADD COLUMN bearer_expires_at INTEGER;
ALTER TABLE accounts ADD COLUMN next_refresh_at INTEGER;
ALTER TABLE accounts ADD COLUMN refresh_failure TEXT;
ALTER TABLE accounts ADD COLUMN source_handle TEXT;
ALTER TABLE accounts ADD COLUMN state_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN quota_remaining REAL;
UPDATE accounts SET state_since = updated_at,
  quota_remaining = CASE WHEN json_extract(quota, '$.isUnlimited') = 0 THEN json_extract(quota, '$.remaining') END;

CREATE INDEX accounts_lapsing ON accounts (bearer_expires_at)
  WHERE bearer_expires_at IS NOT NULL AND state = 'active';
CREATE INDEX accounts_to_refresh ON accounts (next_refresh_at) WHERE next_refresh_at IS NOT NULL;
CREATE INDEX accounts_dead ON accounts (state_since) WHERE state IN ('reauth_required', 'disabled');

CREATE TABLE refreshes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  instance TEXT NOT NULL,
  actor TEXT NOT NULL,
  forced INTEGER NOT NULL CHECK (forced IN (0, 1)),
  intent_at INTEGER NOT NULL,
  -- When the ceiling opens again if this attempt counts.
  opens_at INTEGER NOT NULL,
  limit_at INTEGER NOT NULL,
  -- Of the credential it was made with.
  token_version INTEGER NOT NULL,
  state TEXT NOT NULL
    CHECK (state IN ('intent', 'committed', 'superseded', 'invalid_grant', 'account_gone', 'refused', 'unsent',
      'unknown', 'interrupted')),
  finished_at INTEGER
) STRICT;
CREATE UNIQUE INDEX refreshes_under_way ON refreshes (account_id) WHERE state = 'intent';
CREATE INDEX refreshes_by_account ON refreshes (account_id, intent_at);
CREATE INDEX refreshes_by_limit ON refreshes (limit_at) WHERE state = 'intent';

CREATE TABLE known_credentials (
  provider TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  -- By its owner. Those that came by rotation are kept for a while only.
  is_given INTEGER NOT NULL CHECK (is_given IN (0, 1)),
  PRIMARY KEY (provider, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE INDEX known_credentials_by_account ON known_credentials (account_id);
INSERT INTO known_credentials (provider, fingerprint, account_id, is_given)
  SELECT provider, credential_fingerprint, id, 1 FROM accounts;

-- The last intent of accounts that were removed, by credential: adding one again does not open the ceiling.
CREATE TABLE removed_intents (
  provider TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  intent_at INTEGER NOT NULL,
  PRIMARY KEY (provider, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE INDEX removed_intents_by_age ON removed_intents (intent_at);

CREATE TABLE spending (
  minute INTEGER PRIMARY KEY,
  turns INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  credits REAL NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX audit_by_account ON audit (account_id, seq) WHERE account_id IS NOT NULL;

ALTER TABLE counters ADD COLUMN remaining REAL NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN unmetered INTEGER NOT NULL DEFAULT 0;
UPDATE counters SET
  remaining = (SELECT COALESCE(SUM(quota_remaining), 0) FROM accounts
    WHERE state IN ('active', 'cooldown', 'exhausted')),
  unmetered = (SELECT COUNT(*) FROM accounts
    WHERE state IN ('active', 'cooldown', 'exhausted') AND quota_remaining IS NULL);
CREATE TRIGGER accounts_metered_in AFTER INSERT ON accounts BEGIN
  UPDATE counters SET remaining = remaining + ${metered('NEW')}, unmetered = unmetered + ${unmetered('NEW')};
END;
CREATE TRIGGER accounts_metered_out AFTER DELETE ON accounts BEGIN
  UPDATE counters SET remaining = remaining - ${metered('OLD')}, unmetered = unmetered - ${unmetered('OLD')};
END;
CREATE TRIGGER accounts_remetered AFTER UPDATE OF state, quota_remaining ON accounts
WHEN ${usable('OLD')} <> ${usable('NEW')} OR OLD.quota_remaining IS NOT NEW.quota_remaining
BEGIN
  UPDATE counters SET remaining = remaining + ${metered('NEW')} - ${metered('OLD')},
    unmetered = unmetered + ${unmetered('NEW')} - ${unmetered('OLD')};
END;
`,
};

const stateNumber = kindStates.map((state, number) => `WHEN '${state}' THEN ${number}`).join(' ');
const flags: Record<keyof typeof kindBits, string> = {
  rateLimited: "state = 'cooldown' AND state_reason IS 'rate_limited'",
  gatewayOnly: "lend = 'gateway'",
  free: 'free = 1',
  held: 'holders > 0',
  halfOpen: 'half_open = 1',
  exclusivelyHeld: 'exclusive_held = 1',
  full: 'shared_slots >= capacity',
  modelsLimited: 'models IS NOT NULL',
};
const flagSum = Object.entries(flags)
  .map(([name, condition]) => `${kindBits[name as keyof typeof kindBits]} * (${condition})`)
  .join(' + ');

const countIn = `INSERT INTO standings (provider, kind, accounts) VALUES (NEW.provider, NEW.kind, 1)
    ON CONFLICT (provider, kind) DO UPDATE SET accounts = accounts + 1`;
const countOut =
  'UPDATE standings SET accounts = accounts - 1 WHERE provider = OLD.provider AND kind = OLD.kind';

/** Accounts counted by provider and by all that decides whether one can be lent, so that a refusal counts nothing. */
const standings: Migration = {
  version: 3,
  name: 'accounts counted by provider and standing',
  sql: `
ALTER TABLE accounts ADD COLUMN kind INTEGER GENERATED ALWAYS AS (
  (CASE state ${stateNumber} END) + ${flagSum}
) VIRTUAL;

CREATE TABLE standings (
  provider TEXT NOT NULL,
  kind INTEGER NOT NULL,
  accounts INTEGER NOT NULL CHECK (accounts >= 0),
  PRIMARY KEY (provider, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO standings (provider, kind, accounts)
  SELECT provider, kind, COUNT(*) FROM accounts GROUP BY provider, kind;

DROP TRIGGER accounts_counted_in;
DROP TRIGGER accounts_counted_out;
DROP TRIGGER accounts_recounted;
-- Without what is counted above. Dropping nine columns would take longer than all other steps.
CREATE TABLE kept_counters AS SELECT id, sessions, remaining, unmetered FROM counters;
DROP TABLE counters;
CREATE TABLE counters (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  sessions INTEGER NOT NULL DEFAULT 0,
  remaining REAL NOT NULL DEFAULT 0,
  unmetered INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO counters SELECT * FROM kept_counters;
DROP TABLE kept_counters;

CREATE TRIGGER accounts_counted_in AFTER INSERT ON accounts BEGIN
  ${countIn};
END;
CREATE TRIGGER accounts_counted_out AFTER DELETE ON accounts BEGIN
  ${countOut};
END;
CREATE TRIGGER accounts_recounted
AFTER UPDATE OF state, state_reason, lend, free, holders, half_open, exclusive_held, shared_slots, capacity, models
ON accounts WHEN OLD.kind <> NEW.kind
BEGIN
  ${countOut};
  ${countIn};
END;

CREATE INDEX accounts_resting_by_provider ON accounts (provider, state_until) WHERE state_until IS NOT NULL;
CREATE INDEX accounts_with_models ON accounts (provider) WHERE models IS NOT NULL;
CREATE INDEX accounts_by_provider ON accounts (provider, seq);
CREATE INDEX accounts_by_label ON accounts (label COLLATE NOCASE) WHERE label IS NOT NULL;
CREATE INDEX sessions_of_gateways ON sessions (expires_at) WHERE is_gateway = 1;
`,
};

const teams: Migration = {
  version: 4,
  name: 'the team an account bills',
  sql: 'ALTER TABLE accounts ADD COLUMN team_uid TEXT;',
};

const cost: Migration = {
  version: 5,
  name: 'what turns cost in US cents',
  sql: `
ALTER TABLE accounts ADD COLUMN cost_cents REAL NOT NULL DEFAULT 0;
ALTER TABLE spending ADD COLUMN cost_cents REAL NOT NULL DEFAULT 0;`,
};

/** In order. A released migration is never edited; a change of the schema is a new one at the end. */
export const migrations: readonly Migration[] = [accounts, tokens, standings, teams, cost];
