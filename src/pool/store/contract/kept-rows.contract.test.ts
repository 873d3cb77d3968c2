import { expect, it, onTestFinished } from 'vitest';
import { openPostgres } from '../../../db/postgres.ts';
import { openSqlite } from '../../../db/sqlite.ts';
import { SqliteDatabase } from '../../../db/sqlite-database.ts';
import { openPostgresStore } from '../postgres/postgres-store.ts';
import { migrations } from '../sqlite/sqlite-store.ts';
import { freshDatabase } from '../testing/postgres-database.ts';
import { mostAuditedLeases, mostReports } from '../verbs/housekeeping.ts';
import { storeVerbs } from '../verbs/store-verbs.ts';

const now = Date.now();
const tooMany = 2_000;

/** More than a borrower may leave behind, and beside it what is old and what has to stay. */
const flood = (numbers: (count: number) => string): string => `
  INSERT INTO reports_seen (key_id, report_id, seen_at)
    SELECT 'borrower', 'r' || n, ${now} - ${mostReports + tooMany} + n FROM ${numbers(mostReports + tooMany)};
  INSERT INTO audit (at, actor, action, account_id, detail) VALUES (0, 'local', 'account-added', 'a', '{}');
  INSERT INTO audit (at, actor, action, account_id, detail) VALUES (${now} - 1, 'local', 'account-removed', 'a', '{}');
  INSERT INTO audit (at, actor, action, account_id, detail)
    SELECT ${now}, 'borrower', 'lease', 'a', '{}' FROM ${numbers(mostAuditedLeases + tooMany)};`;

async function pruned(
  housekeep: () => Promise<unknown> | unknown,
  count: (sql: string) => Promise<number> | number,
): Promise<void> {
  await housekeep();
  // A new round finds nothing more to do.
  await housekeep();
  expect(await count('SELECT COUNT(*) AS count FROM reports_seen')).toBeLessThanOrEqual(mostReports);
  expect(await count('SELECT COUNT(*) AS count FROM reports_seen')).toBeGreaterThan(mostReports - 10);
  expect(await count("SELECT COUNT(*) AS count FROM audit WHERE action = 'lease'")).toBe(mostAuditedLeases);
  expect(await count("SELECT COUNT(*) AS count FROM audit WHERE action = 'account-removed'")).toBe(1);
  expect(await count("SELECT COUNT(*) AS count FROM audit WHERE action = 'account-added'")).toBe(0);
}

it('what callers add to a SQLite store is bounded, and pushes out nothing else', async () => {
  const db = openSqlite(':memory:', migrations, 0);
  const store = storeVerbs(new SqliteDatabase(db), { auditsLeases: true });
  onTestFinished(() => store.close());
  const numbers = (count: number) =>
    `(WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < ${count}) SELECT n FROM up)`;
  for (const statement of flood(numbers).split(';').slice(0, -1)) db.run(statement);
  await pruned(
    () => store.housekeep(now),
    (sql) => db.get<{ count: number }>(sql)?.count ?? -1,
  );
});

it('what callers add to a PostgreSQL store is bounded, and pushes out nothing else', async () => {
  const url = await freshDatabase();
  const db = await openPostgres(url);
  const store = await openPostgresStore(url, { auditsLeases: true });
  onTestFinished(async () => {
    await store.close();
    await db.close();
  });
  await db.writing.script(flood((count) => `generate_series(1, ${count}) AS n`));
  await pruned(
    () => store.housekeep(now),
    async (sql) => Number((await db.reading.get<{ count: number }>(sql))?.count),
  );
});
