import type { TablesStep } from '../../db/migrate.ts';
import { figures } from './ledger-turn.ts';

/** Sums of the figures of each series, of times that these columns name. */
function sumsTable(kind: 'sqlite' | 'postgres', name: string, ...times: readonly string[]): string {
  const [large, small, end] =
    kind === 'sqlite'
      ? ['INTEGER', 'INTEGER', 'STRICT, WITHOUT ROWID']
      : ['bigint', 'integer', 'WITH (fillfactor = 80)'];
  const columns = [
    `series_id ${large} NOT NULL`,
    ...times.map((time) => `${time} ${small} NOT NULL`),
    ...figures.map((figure) => `${figure.name} ${large} NOT NULL DEFAULT 0`),
    `PRIMARY KEY (series_id, ${times.join(', ')})`,
  ];
  return `CREATE TABLE ${name} (${columns.join(', ')}) ${end};`;
}

/**
 * Each turn and the sums of each hour and day (of UTC) name a series: one combination of key, model, account and so on. The decision records of a
 * batch are one row, and short digests of its requests' ids another, whose table is small enough to be read through: an index
 * of random ids would cost more than all else here. A batch notes its own id, so that one whose commit was not answered can be
 * sent again.
 */
export const usageTables: TablesStep = {
  version: 3,
  name: 'usage',
  sqlite: `
CREATE TABLE usage_series (
  id INTEGER PRIMARY KEY,
  face INTEGER NOT NULL,
  key_id TEXT NOT NULL,
  key_name TEXT,
  model TEXT NOT NULL,
  answered_model TEXT NOT NULL,
  provider TEXT NOT NULL,
  account_id TEXT NOT NULL,
  dialect TEXT NOT NULL,
  outcome TEXT NOT NULL,
  last_hour INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_series_by_face ON usage_series (face, last_hour);
CREATE TABLE usage_turns (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  series_id INTEGER NOT NULL,
  request_id TEXT NOT NULL,
  is_stream INTEGER NOT NULL,
  status INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  input_tokens INTEGER,
  output_tokens INTEGER,
  cached_tokens INTEGER,
  cache_write_tokens INTEGER,
  reasoning_tokens INTEGER,
  cost_nanos INTEGER,
  credit_micros INTEGER,
  is_estimated INTEGER NOT NULL,
  first_content_ms INTEGER,
  duration_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_turns_by_time ON usage_turns (at);
CREATE TABLE usage_records (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  records TEXT NOT NULL
) STRICT;
CREATE TABLE usage_requests (id INTEGER PRIMARY KEY, requests TEXT NOT NULL) STRICT;
${sumsTable('sqlite', 'usage_hours', 'hour')}
${sumsTable('sqlite', 'usage_days', 'day')}
CREATE TABLE usage_sizes (
  hour INTEGER PRIMARY KEY,
  turn_bytes INTEGER NOT NULL,
  record_bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE usage_batches (id TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`,
  postgres: `
CREATE TABLE usage_series (
  id bigint PRIMARY KEY,
  face integer NOT NULL,
  key_id text NOT NULL,
  key_name text,
  model text NOT NULL,
  answered_model text NOT NULL,
  provider text NOT NULL,
  account_id text NOT NULL,
  dialect text NOT NULL,
  outcome text NOT NULL,
  last_hour integer NOT NULL
);
CREATE INDEX usage_series_by_face ON usage_series (face, last_hour);
CREATE TABLE usage_turns (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  at bigint NOT NULL,
  series_id bigint NOT NULL,
  input_tokens bigint,
  output_tokens bigint,
  cached_tokens bigint,
  cache_write_tokens bigint,
  reasoning_tokens bigint,
  cost_nanos bigint,
  credit_micros bigint,
  first_content_ms integer,
  duration_ms integer NOT NULL,
  status integer NOT NULL,
  attempts integer NOT NULL,
  is_stream smallint NOT NULL,
  is_estimated smallint NOT NULL,
  request_id text NOT NULL
);
CREATE INDEX usage_turns_by_time ON usage_turns (at, id);
CREATE TABLE usage_records (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  at bigint NOT NULL,
  records text NOT NULL
);
CREATE TABLE usage_requests (id bigint PRIMARY KEY, requests text NOT NULL);
${sumsTable('postgres', 'usage_hours', 'hour')}
${sumsTable('postgres', 'usage_days', 'day')}
CREATE TABLE usage_sizes (
  hour integer PRIMARY KEY,
  turn_bytes bigint NOT NULL,
  record_bytes bigint NOT NULL
);
CREATE TABLE usage_batches (id text PRIMARY KEY, at bigint NOT NULL);
`,
};

/**
 * Sums of several spans take the place of those of hours and days: hours are moved to them while the gateway runs. Both tables
 * stay, for gateways of the earlier release that run beside it.
 */
export const usageSpans: TablesStep = {
  version: 4,
  name: 'usage spans',
  sqlite: sumsTable('sqlite', 'usage_sums', 'span', 'start'),
  postgres: sumsTable('postgres', 'usage_sums', 'span', 'start'),
};
