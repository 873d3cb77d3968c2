import type { TablesStep } from '../../db/migrate.ts';
import { figures } from './ledger-turn.ts';

/** How each database calls a whole number that may be large, one that is not, a mark, the key of a row that it counts, and the ends of tables. */
const sqlite = {
  large: 'INTEGER',
  small: 'INTEGER',
  mark: 'INTEGER',
  counted: 'INTEGER PRIMARY KEY',
  end: 'STRICT',
  sumsEnd: 'STRICT, WITHOUT ROWID',
};
const postgres: typeof sqlite = {
  large: 'bigint',
  small: 'integer',
  mark: 'smallint',
  counted: 'bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY',
  end: '',
  sumsEnd: 'WITH (fillfactor = 80)',
};

/** Sums of the figures of each series, of times that these columns name. */
function sumsTable(
  { large, small, sumsEnd }: typeof sqlite,
  name: string,
  ...times: readonly string[]
): string {
  const columns = [
    `series_id ${large} NOT NULL`,
    ...times.map((time) => `${time} ${small} NOT NULL`),
    ...figures.map((figure) => `${figure.name} ${large} NOT NULL DEFAULT 0`),
    `PRIMARY KEY (series_id, ${times.join(', ')})`,
  ];
  return `CREATE TABLE ${name} (${columns.join(', ')}) ${sumsEnd};`;
}

function tables(words: typeof sqlite): string {
  const { large, small, mark, counted, end } = words;
  return `
CREATE TABLE usage_series (
  id ${large} PRIMARY KEY,
  face ${small} NOT NULL,
  key_id TEXT NOT NULL,
  key_name TEXT,
  model TEXT NOT NULL,
  answered_model TEXT NOT NULL,
  provider TEXT NOT NULL,
  account_id TEXT NOT NULL,
  dialect TEXT NOT NULL,
  outcome TEXT NOT NULL,
  last_hour ${small} NOT NULL
) ${end};
CREATE INDEX usage_series_by_face ON usage_series (face, last_hour);
CREATE TABLE usage_turns (
  id ${counted},
  at ${large} NOT NULL,
  series_id ${large} NOT NULL,
  input_tokens ${large},
  output_tokens ${large},
  cached_tokens ${large},
  cache_write_tokens ${large},
  reasoning_tokens ${large},
  cost_nanos ${large},
  credit_micros ${large},
  first_content_ms ${small},
  duration_ms ${small} NOT NULL,
  status ${small} NOT NULL,
  attempts ${small} NOT NULL,
  is_stream ${mark} NOT NULL,
  is_estimated ${mark} NOT NULL,
  request_id TEXT NOT NULL
) ${end};
CREATE INDEX usage_turns_by_time ON usage_turns (${words === sqlite ? 'at' : 'at, id'});
CREATE TABLE usage_records (id ${counted}, at ${large} NOT NULL, records TEXT NOT NULL) ${end};
CREATE TABLE usage_requests (id ${large} PRIMARY KEY, requests TEXT NOT NULL) ${end};
${sumsTable(words, 'usage_hours', 'hour')}
${sumsTable(words, 'usage_days', 'day')}
CREATE TABLE usage_sizes (
  hour ${small} PRIMARY KEY,
  turn_bytes ${large} NOT NULL,
  record_bytes ${large} NOT NULL
) ${end};
CREATE TABLE usage_batches (id TEXT PRIMARY KEY, at ${large} NOT NULL) ${words === sqlite ? 'STRICT, WITHOUT ROWID' : ''};
`;
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
  sqlite: tables(sqlite),
  postgres: tables(postgres),
};

/**
 * Sums of several spans take the place of those of hours and days: hours are moved to them while the gateway runs. Both tables
 * stay, for gateways of the earlier release that run beside it.
 */
export const usageSpans: TablesStep = {
  version: 4,
  name: 'usage spans',
  sqlite: sumsTable(sqlite, 'usage_sums', 'span', 'start'),
  postgres: sumsTable(postgres, 'usage_sums', 'span', 'start'),
};
