// What the page of usage asks, on a ledger of ten million turns in 90 days: on SQLite and on a PostgreSQL of its own.
// node bench/ledger.ts [--turns 10000000] [--only sqlite|postgres]
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Database } from '../src/db/database.ts';
import { migratePostgres } from '../src/db/migrate.ts';
import { openPostgres } from '../src/db/postgres.ts';
import { openSqlite } from '../src/db/sqlite.ts';
import { SqliteDatabase } from '../src/db/sqlite-database.ts';
import { startPostgresServer } from '../src/db/testing/postgres-server.ts';
import { gatewayMigrations, planning } from '../src/gateway/database/gateway-verbs.ts';
import type { UsageDatabase } from '../src/gateway/usage/ledger.ts';
import {
  dayMs,
  dimensions,
  faces,
  figures,
  headsAround,
  hourMs,
  type LedgerTurn,
  spans,
  widestFace,
} from '../src/gateway/usage/ledger-turn.ts';
import { openUsage } from '../src/gateway/usage/testing/ledger-turns.ts';
import { type AskedPeriod, periodOf } from '../src/gateway/usage/usage-periods.ts';
import { type AskedReport, reportUsage, shownRow } from '../src/gateway/usage/usage-report.ts';
import { type UsageVerbs, usageVerbs } from '../src/gateway/usage/usage-verbs.ts';
import { cpuUs } from './proc.ts';

const { values } = parseArgs({
  options: { turns: { type: 'string', default: '10000000' }, only: { type: 'string' } },
});
const turnCount = Number(values.turns);
/** As many as the usual USAGE_MAX_MB allows. */
const recordCount = 700_000;
const days = 90;
const limitMs = 300;
const end = Math.floor(Date.now() / dayMs) * dayMs;
const start = end - days * dayMs;

/** 40 keys with three of 30 models each; each of ten providers has three models and ten accounts. */
function combinations(): LedgerTurn[] {
  const turns: LedgerTurn[] = [];
  for (let key = 0; key < 40; key += 1)
    for (let choice = 0; choice < 3; choice += 1)
      for (let account = 0; account < 10; account += 1) {
        const model = (key * 7 + choice * 11) % 30;
        const provider = model % 10;
        for (const outcome of account === 0 ? ['success', 'upstream_rate_limited', 'cancelled'] : ['success'])
          turns.push({
            at: end - 1,
            requestId: `seed-${turns.length}`,
            keyId: `key_${key}`,
            keyName: `team ${key}`,
            model: `model-${model}`,
            answeredModel: `model-${model}-2026`,
            provider: `provider-${provider}`,
            accountId: `acc_${provider}_${account}`,
            dialect: key % 3 === 0 ? 'messages' : 'chat',
            outcome,
            isStream: true,
            status: 200,
            attempts: 1,
            inputTokens: 1,
            outputTokens: 1,
            cachedTokens: null,
            cacheWriteTokens: null,
            reasoningTokens: null,
            costNanos: 1,
            creditMicros: null,
            isEstimated: false,
            firstContentMs: 500,
            durationMs: 1_000,
          });
      }
  return turns;
}

/** The i-th turn, out of nothing but `i`: some combinations are far more frequent than others. */
async function fill(db: Database, numbers: string, run: (sql: string) => Promise<unknown>): Promise<void> {
  const seeds = combinations();
  await openUsage(db).noteTurns({ id: 'seeds', turns: seeds });
  await run(
    `${numbers} INSERT INTO client_keys (key_id, name, owner, prefix, digest, client_id, limits, is_enabled, created_at, number, revision)
     SELECT 'key_' || i, 'team ' || i, 'owner ' || (i % 5), '', '' || i, '' || i, '{}', 1, 0, i, i FROM numbers WHERE i < 40`,
  );
  await run('CREATE TABLE bench_series (n INTEGER PRIMARY KEY, id bigint NOT NULL)');
  await run(
    `INSERT INTO bench_series SELECT ROW_NUMBER() OVER (ORDER BY id) - 1, id FROM usage_series WHERE face = ${widestFace}`,
  );
  const random = (factor: number) => `((i * ${factor} + 12345) / 65536)`;
  const n = `(${random(1_103_515_245)} % ${seeds.length}) * (${random(22_695_477)} % ${seeds.length}) / ${seeds.length}`;
  await run(
    `${numbers} INSERT INTO usage_turns (at, series_id, request_id, is_stream, status, attempts, input_tokens, output_tokens,
       cached_tokens, cost_nanos, is_estimated, first_content_ms, duration_ms)
     SELECT ${start} + i * ${Math.floor((days * dayMs) / turnCount)}, b.id, '0b7e7a2c-66f1-4b57-93a5-' || i, 1, 200, 1,
       ${random(134_775_813)} % 20000, ${random(69_069)} % 2000, ${random(214_013)} % 10000, ${random(16_807)} % 90000000, 0,
       100 + ${random(48_271)} % 5000, 500 + ${random(39_373)} % 20000
     FROM numbers JOIN bench_series AS b ON b.n = ${n}`,
  );
  await run(
    `${numbers} INSERT INTO usage_records (at, records) SELECT ${start} + i, '[{"request_id":"req-0","says":"${'x'.repeat(1_500)}"}]'
     FROM numbers WHERE i < ${recordCount}`,
  );
  await run("INSERT INTO usage_requests (id, requests) SELECT id, '0b7e7a2c 66f157b5' FROM usage_records");
  const names = figures.map(({ name }) => name).join(', ');
  const sums = figures.map(({ name, sql }) => [name, sql] as const);
  await run('DELETE FROM usage_sums');
  await run(
    `INSERT INTO usage_sums (series_id, span, start, ${names})
     SELECT s.id, 1, t.at / ${hourMs}, ${sums.map(([, sql]) => `SUM(${sql})`).join(', ')}
     FROM usage_turns AS t JOIN usage_series AS s ON s.id = t.series_id GROUP BY s.id, t.at / ${hourMs}`,
  );
  const heads = Array.from({ length: 24 }, (_, hour) =>
    headsAround(hour * hourMs).map((span) => `SELECT ${hour} AS hour, ${span} AS span`),
  );
  await run(
    `INSERT INTO usage_sums (series_id, span, start, ${names})
     SELECT s.id, h.span, t.at / ${hourMs}, ${sums.map(([, sql]) => `SUM(${sql})`).join(', ')}
     FROM usage_turns AS t JOIN usage_series AS s ON s.id = t.series_id
       JOIN (${heads.flat().join(' UNION ALL ')}) AS h
         ON h.hour = t.at / ${hourMs} % 24 AND t.at % ${hourMs} < -h.span * 60000
     GROUP BY s.id, h.span, t.at / ${hourMs}`,
  );
  for (const [face, given] of faces.entries()) {
    if (face === widestFace) continue;
    const same = given.map((name) => `f.${dimensions[name].column} = s.${dimensions[name].column}`);
    await run(
      `INSERT INTO usage_sums (series_id, span, start, ${names})
       SELECT m.id, h.span, h.start, ${sums.map(([name]) => `SUM(h.${name})`).join(', ')}
       FROM (
         SELECT s.id AS wide, f.id AS id FROM usage_series AS s JOIN usage_series AS f ON f.face = ${face} AND ${same.join(' AND ')}
         WHERE s.face = ${widestFace}
       ) AS m CROSS JOIN usage_sums AS h WHERE h.series_id = m.wide GROUP BY m.id, h.span, h.start`,
    );
  }
  for (const span of spans.slice(1))
    await run(
      `INSERT INTO usage_sums (series_id, span, start, ${names})
       SELECT series_id, ${span}, start - start % ${span}, ${sums.map(([name]) => `SUM(${name})`).join(', ')}
       FROM usage_sums WHERE span = 1 GROUP BY series_id, start - start % ${span}`,
    );
}

/** `serverCpuMs`: what other processes have used for answers. */
async function measure(name: string, db: Database, serverCpuMs = async () => 0): Promise<void> {
  const verbs = usageVerbs(db) as UsageVerbs;
  const database: UsageDatabase = { ask: (question) => question(verbs) };
  /** As the page, the command line and the API ask: by default in a zone whose days begin in the middle of those of sums. */
  const report = (title: string, asked: Partial<AskedPeriod & Omit<AskedReport, 'from' | 'to'>>) => ({
    title: `${title}${asked.tz ? `, ${asked.tz}` : ''}`,
    ask: async () => {
      const { period = '90d', tz = 'Europe/Berlin', filter = {}, groups = [], step } = asked;
      const { rows } = await reportUsage(
        database,
        { ...periodOf({ period, tz }, end), filter, groups, step, timeZone: tz },
        end,
      );
      return rows.map(shownRow);
    },
  });
  const key = { filter: { key: 'key_3' } };
  const questions = [
    report('90 days', {}),
    report('90 days by day', { step: 'day' }),
    report('90 days by day', { step: 'day', tz: 'Asia/Kolkata' }),
    report('90 days by key', { groups: ['key'] }),
    report('90 days by owner', { groups: ['owner'] }),
    report('90 days by model', { groups: ['model'] }),
    report('90 days by provider', { groups: ['provider'] }),
    report('90 days by account', { groups: ['account'] }),
    report('90 days by key and account', { groups: ['key', 'account'] }),
    report('90 days by key and outcome', { groups: ['key', 'outcome'] }),
    report('90 days by day and key', { step: 'day', groups: ['key'] }),
    report('90 days by day and owner', { step: 'day', groups: ['owner'] }),
    report('90 days by owner and account', { groups: ['owner', 'account'] }),
    report('90 days by day and model', { step: 'day', groups: ['model'] }),
    report('90 days by day and account', { step: 'day', groups: ['account'] }),
    report('90 days by day and account', { step: 'day', groups: ['account'], tz: 'UTC' }),
    report('90 days by day and account', { step: 'day', groups: ['account'], tz: 'Asia/Shanghai' }),
    report('90 days by day and account', { step: 'day', groups: ['account'], tz: 'Asia/Kolkata' }),
    report('90 days by day and model', { step: 'day', groups: ['model'], tz: 'Asia/Kathmandu' }),
    report('30 days by day and account', { step: 'day', groups: ['account'], period: '30d' }),
    report('30 days by day, key and model', { step: 'day', groups: ['key', 'model'], period: '30d' }),
    report('7 days by hour and model', { step: 'hour', groups: ['model'], period: '7d' }),
    report('one key, 90 days by day', { ...key, step: 'day' }),
    report('one key, 90 days by model', { ...key, groups: ['model'] }),
    report('one key, 90 days by account', { ...key, groups: ['account'] }),
    report('one key, 90 days by day and account', { ...key, step: 'day', groups: ['account'] }),
    report('one key, 90 days by day and account', {
      ...key,
      step: 'day',
      groups: ['account'],
      tz: 'Asia/Kolkata',
    }),
    report('one owner, 90 days by day and model', {
      filter: { owner: 'owner 1' },
      step: 'day',
      groups: ['model'],
    }),
    report('one model, 90 days by key', { filter: { model: 'model-7' }, groups: ['key'] }),
    report('one provider, 90 days by day and key', {
      filter: { provider: 'provider-7' },
      step: 'day',
      groups: ['key'],
    }),
    report('errors, 90 days by day and key', {
      filter: { outcome: 'error' },
      step: 'day',
      groups: ['key'],
    }),
    {
      title: '100 turns',
      ask: () => verbs.listTurns({ filter: {}, from: start, before: { at: end, id: 0 }, limit: 100 }),
    },
    {
      title: '100 turns of one key, after 60 days',
      ask: () =>
        verbs.listTurns({
          filter: { key: 'key_39' },
          from: start,
          before: { at: end - 60 * dayMs, id: 0 },
          limit: 100,
        }),
    },
    { title: 'a record that is not there', ask: () => verbs.recordOf('req-1') },
    {
      title: 'a portion of pruning',
      ask: () => verbs.pruneUsage(end, { keptMs: 89.9 * dayMs, maxBytes: 1e12 }),
    },
  ];
  const rows = [];
  for (const { title, ask } of questions) {
    const times: number[] = [];
    const cpus: number[] = [];
    const serverCpus: number[] = [];
    let found = 0;
    for (let round = 0; round < 5; round += 1) {
      const serverBegan = await serverCpuMs();
      const began = performance.now();
      const cpu = process.cpuUsage();
      const answer = await ask();
      times.push(performance.now() - began);
      const { user, system } = process.cpuUsage(cpu);
      cpus.push((user + system) / 1_000);
      serverCpus.push((await serverCpuMs()) - serverBegan);
      found = Array.isArray(answer) ? answer.length : 1;
    }
    const sorted = times.toSorted((one, other) => one - other);
    rows.push({
      question: title,
      'median ms': Math.round(sorted[2] ?? 0),
      'least ms': Math.round(sorted[0] ?? 0),
      'CPU ms here': Math.round(Math.min(...cpus)),
      'CPU ms server': Math.round(Math.min(...serverCpus)),
      rows: found,
      ok: (sorted[2] ?? 0) <= limitMs,
    });
  }
  console.log(`\n${name}, ${turnCount} turns`);
  console.table(rows);
}

async function onSqlite(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-ledger-'));
  try {
    const path = join(folder, 'usage.db');
    const sqlite = openSqlite(path, gatewayMigrations('sqlite'), Date.now());
    const db = new SqliteDatabase(sqlite);
    const numbers = `WITH RECURSIVE numbers (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM numbers WHERE i < ${turnCount - 1})`;
    await fill(db, numbers, async (sql) => sqlite.run(sql));
    await measure('SQLite', db);
    console.log(`${Math.round(statSync(path).size / 2 ** 20)} MB`);
    await db.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function onPostgres(): Promise<void> {
  const server = await startPostgresServer();
  try {
    const db = await openPostgres(server.url('postgres'), { settings: planning });
    await migratePostgres(db, gatewayMigrations('postgres'), Date.now(), 'gateway_migrations');
    const numbers = `WITH numbers AS (SELECT generate_series(0::bigint, ${turnCount - 1}) AS i)`;
    await fill(db, numbers, (sql) =>
      db.writing.script(
        `SET statement_timeout = 0; SET enable_seqscan = on; SET enable_hashjoin = on; SET join_collapse_limit = 8; ${sql}`,
      ),
    );
    await db.writing.script('SET statement_timeout = 0; ANALYZE');
    await db.close();
    const asked = await openPostgres(server.url('postgres'), { settings: planning });
    await measure('PostgreSQL', asked, async () => {
      const backends = await asked.reading.all<{ pid: number }>(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'",
      );
      return backends.reduce((sum, { pid }) => sum + cpuUs(pid), 0) / 1_000;
    });
    const size = await asked.reading.get<{ bytes: number }>(
      'SELECT pg_database_size(current_database()) AS bytes',
    );
    console.log(`${Math.round((size?.bytes ?? 0) / 2 ** 20)} MB`);
    await asked.close();
  } finally {
    await server.dispose();
  }
}

if (values.only !== 'postgres') await onSqlite();
if (values.only !== 'sqlite') await onPostgres();
