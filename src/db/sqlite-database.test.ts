import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Migration } from './migrate.ts';
import { openSqlite } from './sqlite.ts';
import { SqliteDatabase } from './sqlite-database.ts';

const words: Migration = {
  version: 1,
  name: 'words',
  sql: `CREATE TABLE words (id TEXT PRIMARY KEY, n INTEGER NOT NULL, models TEXT) STRICT;
    CREATE INDEX words_by_number ON words (n) WHERE n > 1;
    INSERT INTO words VALUES ('One', 1, NULL), ('two', 2, '["a"]'), ('three', 3, '["b"]');`,
};

function open(): SqliteDatabase {
  const db = new SqliteDatabase(openSqlite(':memory:', [words], 0));
  onTestFinished(() => db.close());
  return db;
}

const sumQuery = 'SELECT SUM(n)::bigint AS n FROM words';

describe('a database of SQLite', () => {
  it('lets transactions take turns, and shows nothing of one that runs', async () => {
    const db = open();
    const seen: Promise<number | undefined>[] = [];
    const add = (n: number): Promise<number> =>
      db.transaction(async (queries) => {
        const before = (await queries.get<{ n: number }>(sumQuery))?.n ?? 0;
        await queries.run('UPDATE words SET n = n + $1 WHERE id = $2', n, 'One');
        seen.push(db.reading.get<{ n: number }>(sumQuery).then((row) => row?.n));
        await Promise.resolve();
        await queries.run('UPDATE words SET n = n + $1 WHERE id = $2', n, 'two');
        return before;
      });
    const added = [1, 10, 100].map(add);
    expect((await Promise.all(added)).sort((one, other) => one - other)).toEqual([6, 8, 28]);
    for (const n of await Promise.all(seen)) expect([6, 8, 28, 228]).toContain(n);
  });

  it('takes back a transaction that fails, and goes on with the next', async () => {
    const db = open();
    const failing = db.transaction(async (queries) => {
      await queries.run('DELETE FROM words');
      throw new Error('no');
    });
    const next = db.transaction((queries) => queries.get(sumQuery));
    await expect(failing).rejects.toThrow('no');
    expect(await next).toEqual({ n: 6 });
  });

  it('writes its log back when a statement of a transaction finds the disk full', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-full-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const sqlite = openSqlite(join(folder, 'words.db'), [words], 0);
    const db = new SqliteDatabase(sqlite);
    onTestFinished(() => db.close());
    const { page_count: pages } = sqlite.get<{ page_count: number }>('PRAGMA page_count') ?? {};
    sqlite.get(`PRAGMA max_page_count = ${pages}`);
    const fill = db.transaction((queries) =>
      queries.run('INSERT INTO words VALUES ($1, 1, NULL)', 'x'.repeat(1_000_000)),
    );
    await expect(fill).rejects.toThrow(/disk is full.*Look whether its disk has space/);
    // Pages of the log that are allocated are used again from there on.
    expect(sqlite.get('PRAGMA wal_autocheckpoint')).toEqual({ wal_autocheckpoint: 200 });
  });

  it.each([
    [[], []],
    [['two'], ['two']],
    [
      ['two', 'One'],
      ['One', 'two'],
    ],
  ])('finds what is in a list, and what is not: %j', async (list, found) => {
    const db = open();
    const ids = async (condition: string): Promise<string[]> => {
      const rows = await db.reading.all<{ id: string }>(
        `SELECT id FROM words WHERE ${condition} ORDER BY id`,
        list,
      );
      return rows.map(({ id }) => id);
    };
    expect(await ids('id = ANY ($1)')).toEqual(found);
    expect(await ids('id <> ALL ($1::text[])')).toEqual(
      ['One', 'three', 'two'].filter((id) => !found.includes(id)),
    );
    expect(await ids('id IN (SELECT one FROM unnest($1::text[]) AS one)')).toEqual(found);
  });

  it('reads what PostgreSQL writes in other words', async () => {
    const db = open();
    const one = async (sql: string, ...values: Parameters<typeof db.reading.get>[1][]) =>
      db.reading.get(`SELECT id FROM ${sql}`, ...values);
    expect(await one('words WHERE n = $1 AND $2 FOR NO KEY UPDATE SKIP LOCKED', 2, true)).toEqual({
      id: 'two',
    });
    expect(await one('words WHERE jsonb_exists(models::jsonb, $1)', 'b')).toEqual({ id: 'three' });
    expect(await one('words WHERE n = LEAST(GREATEST(1, 2), 3)')).toEqual({ id: 'two' });
    expect(await one('words WHERE lower(id) COLLATE "C" = lower($1)', 'oNE')).toEqual({ id: 'One' });
    const rows = JSON.stringify([{ id: 'x', n: 3 }]);
    expect(
      await one('words JOIN json_to_recordset($1::json) AS given (name text, n integer) USING (n)', rows),
    ).toEqual({ id: 'three' });
    const plan = await db.reading.get<{ detail: string }>(
      'EXPLAIN QUERY PLAN SELECT 1 FROM words /* INDEXED BY words_by_number */ WHERE n > 1',
    );
    expect(plan?.detail).toContain('words_by_number');
  });
});
