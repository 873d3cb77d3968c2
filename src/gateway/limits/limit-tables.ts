import type { TablesStep } from '../../db/migrate.ts';

// `name` is meter, window and period of a limit; amounts are whole units of `slices.ts`.
const tables = (whole: string) => `
CREATE TABLE key_limits (
  key_id TEXT NOT NULL,
  name TEXT NOT NULL,
  ends_at ${whole},
  spent ${whole} NOT NULL DEFAULT 0,
  unknown ${whole} NOT NULL DEFAULT 0,
  warned ${whole} NOT NULL DEFAULT 0,
  PRIMARY KEY (key_id, name)
);
CREATE INDEX key_limits_end ON key_limits (ends_at);
CREATE TABLE limit_slices (
  key_id TEXT NOT NULL,
  name TEXT NOT NULL,
  gateway_id TEXT NOT NULL,
  held ${whole} NOT NULL,
  reserved ${whole} NOT NULL,
  spent ${whole} NOT NULL,
  unknown ${whole} NOT NULL,
  PRIMARY KEY (key_id, name, gateway_id)
);
CREATE TABLE limit_gateways (gateway_id TEXT PRIMARY KEY, seen_at ${whole} NOT NULL);
`;

export const limitTables: TablesStep = {
  version: 2,
  name: 'limits',
  sqlite: tables('INTEGER'),
  postgres: tables('BIGINT'),
};
