import { openSqlite } from '../../../db/sqlite.ts';
import { SqliteDatabase } from '../../../db/sqlite-database.ts';
import type { StoreVerbs } from '../store.ts';
import { metered, poolMigrations, shareable, unmetered, usable } from '../tables.ts';
import { storeVerbs } from '../verbs/store-verbs.ts';
import type { StoreOptions } from '../verbs/transaction.ts';

/** Opens the store at `path` (`:memory:` for one that is never written). Throws DatabaseError. */
export function openSqliteStore(path: string, now: number, options: StoreOptions): StoreVerbs {
  return storeVerbs(new SqliteDatabase(openSqlite(path, migrations, now, { reserves: true })), options);
}

const countIn = `INSERT INTO standings (provider, kind, accounts) VALUES (NEW.provider, NEW.kind, 1)
    ON CONFLICT (provider, kind) DO UPDATE SET accounts = accounts + 1`;
const countOut =
  'UPDATE standings SET accounts = accounts - 1 WHERE provider = OLD.provider AND kind = OLD.kind';

/** Databases of the first two versions are not opened any more: no release had them. */
export const migrations = poolMigrations(3, {
  whole: 'INTEGER',
  real: 'REAL',
  name: 'TEXT',
  sequence: 'seq INTEGER PRIMARY KEY AUTOINCREMENT',
  accountIds: 'seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE',
  computed: 'VIRTUAL',
  numberIn: (column, name) => `json_extract(${column}, '$.${name}')`,
  anyCase: (column) => `${column} COLLATE NOCASE`,
  end: ' STRICT',
  keyedEnd: ' STRICT, WITHOUT ROWID',
  lendingIndexes: `
CREATE INDEX accounts_unheld ON accounts (tier, last_used, id) WHERE state = 'active' AND holders = 0;
CREATE INDEX accounts_shareable ON accounts (tier, last_used, id) WHERE ${shareable};
CREATE INDEX accounts_active ON accounts (provider) WHERE state = 'active';`,
  counting: `
CREATE TABLE spending (
  minute INTEGER PRIMARY KEY,
  turns INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  credits REAL NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE standings (
  provider TEXT NOT NULL,
  kind INTEGER NOT NULL,
  accounts INTEGER NOT NULL CHECK (accounts >= 0),
  PRIMARY KEY (provider, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  sessions INTEGER NOT NULL DEFAULT 0,
  remaining REAL NOT NULL DEFAULT 0,
  unmetered INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO counters (id) VALUES (1);

CREATE TRIGGER accounts_counted_in AFTER INSERT ON accounts BEGIN
  ${countIn};
  UPDATE counters SET remaining = remaining + ${metered('NEW')}, unmetered = unmetered + ${unmetered('NEW')};
END;
CREATE TRIGGER accounts_counted_out AFTER DELETE ON accounts BEGIN
  ${countOut};
  UPDATE counters SET remaining = remaining - ${metered('OLD')}, unmetered = unmetered - ${unmetered('OLD')};
END;
CREATE TRIGGER accounts_recounted
AFTER UPDATE OF state, state_reason, lend, free, holders, half_open, exclusive_held, shared_slots, capacity, models
ON accounts WHEN OLD.kind <> NEW.kind
BEGIN
  ${countOut};
  ${countIn};
END;
CREATE TRIGGER accounts_remetered AFTER UPDATE OF state, quota_remaining ON accounts
WHEN ${usable('OLD')} <> ${usable('NEW')} OR OLD.quota_remaining IS NOT NEW.quota_remaining
BEGIN
  UPDATE counters SET remaining = remaining + ${metered('NEW')} - ${metered('OLD')},
    unmetered = unmetered + ${unmetered('NEW')} - ${unmetered('OLD')};
END;
CREATE TRIGGER sessions_counted_in AFTER INSERT ON sessions BEGIN
  UPDATE counters SET sessions = sessions + 1;
END;
CREATE TRIGGER sessions_counted_out AFTER DELETE ON sessions BEGIN
  UPDATE counters SET sessions = sessions - 1;
END;
`,
});
