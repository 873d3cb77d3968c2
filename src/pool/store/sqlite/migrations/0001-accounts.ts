import type { Migration } from '../../../../db/migrate.ts';

const countedStates = ['standby', 'active', 'cooldown', 'exhausted', 'reauth_required', 'disabled'];

const stateSums = (row: 'NEW' | 'OLD', sign: '+' | '-'): string =>
  countedStates.map((state) => `${state} = ${state} ${sign} (${row}.state = '${state}')`).join(', ');

const stateMoves = countedStates
  .map((state) => `${state} = ${state} + (NEW.state = '${state}') - (OLD.state = '${state}')`)
  .join(', ');

export const accounts: Migration = {
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
