import type { Migration } from '../../../../db/migrate.ts';

const usable = (row: 'NEW' | 'OLD'): string => `(${row}.state IN ('active', 'cooldown', 'exhausted'))`;
const metered = (row: 'NEW' | 'OLD'): string =>
  `(CASE WHEN ${usable(row)} THEN COALESCE(${row}.quota_remaining, 0) ELSE 0 END)`;
const unmetered = (row: 'NEW' | 'OLD'): string => `(${usable(row)} AND ${row}.quota_remaining IS NULL)`;

export const tokens: Migration = {
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
