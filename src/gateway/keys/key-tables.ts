import type { TablesStep } from '../../db/migrate.ts';

/** `whole` is the type of a whole number that may be large. */
const tables = (whole: string, end: string) => `
  CREATE TABLE client_keys (
    key_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    owner TEXT,
    prefix TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    former_digest TEXT,
    former_until ${whole},
    client_id TEXT NOT NULL UNIQUE,
    models TEXT,
    providers TEXT,
    labels TEXT,
    limits TEXT NOT NULL,
    expires_at ${whole},
    is_enabled INTEGER NOT NULL,
    revoked_at ${whole},
    created_at ${whole} NOT NULL,
    last_used_at ${whole},
    number ${whole} NOT NULL UNIQUE,
    revision ${whole} NOT NULL UNIQUE
  )${end};
  CREATE INDEX client_keys_name ON client_keys (name);
  CREATE UNIQUE INDEX client_keys_live_name ON client_keys (name) WHERE revoked_at IS NULL;
  CREATE TABLE key_revision (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    revision ${whole} NOT NULL
  )${end};
  INSERT INTO key_revision VALUES (1, 0);
`;

export const keyTables: TablesStep = {
  version: 1,
  name: 'keys',
  sqlite: tables('INTEGER', ' STRICT'),
  postgres: tables('BIGINT', ''),
};
