import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, inject, it, onTestFinished } from 'vitest';
import { openPostgres } from '../../db/postgres.ts';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { describeKeep, describeLastingKeep } from './keep.contract.ts';
import { createMemoryKeep } from './memory-keep.ts';
import { openPostgresKeep } from './postgres-keep.ts';
import { openSqliteKeep } from './sqlite-keep.ts';

const fail = (error: unknown): never => {
  throw error;
};
const folder = mkdtempSync(join(tmpdir(), 'warp2api-keep-'));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
const sqlite = (frontBytes?: number) => (clock: ManualClock, maxBytes: number) =>
  openSqliteKeep(join(folder, `keep-${files}.db`), {
    clock,
    maxBytes,
    frontBytes: frontBytes ?? maxBytes,
    onFailure: fail,
    onLost: fail,
  });
const freshSqlite = (frontBytes?: number) => {
  const open = sqlite(frontBytes);
  return (clock: ManualClock, maxBytes: number) => {
    files += 1;
    return open(clock, maxBytes);
  };
};

const server = inject('postgresUrl');
const url = server.replace('/postgres?', '/keep_contract?');
const maintenance = await openPostgres(server);
await maintenance.writing.script('CREATE DATABASE keep_contract');
await maintenance.close();
const postgres = (clock: ManualClock, maxBytes: number) =>
  openPostgresKeep(url, { clock, maxBytes, onFailure: fail });
const freshPostgres = async (clock: ManualClock, maxBytes: number) => {
  const db = await openPostgres(url);
  await db.writing.script('DROP TABLE IF EXISTS gateway_keep, gateway_keep_migrations');
  await db.close();
  return postgres(clock, maxBytes);
};

describeKeep('a keep in memory', async (clock, maxBytes) => createMemoryKeep(clock, maxBytes));
describeKeep('a keep in SQLite', freshSqlite());
describeKeep('a keep in SQLite without memory before it', freshSqlite(0));
describeKeep('a keep in PostgreSQL', freshPostgres);
describeLastingKeep('a keep in SQLite', freshSqlite(), sqlite());
describeLastingKeep('a keep in PostgreSQL', freshPostgres, postgres);

describe('a keep in PostgreSQL', () => {
  it('gives an entry to one of two instances, and each what the other has put', async () => {
    const clock = createManualClock();
    const [one, other] = [await freshPostgres(clock, 1_000_000), await postgres(clock, 1_000_000)];
    onTestFinished(async () => {
      await one.close();
      await other.close();
    });
    for (let count = 0; count < 20; count += 1) {
      await one.put('key', Buffer.from([count]), 60_000);
      expect(await other.get('key')).toEqual(Buffer.from([count]));
      const claims = await Promise.all([one.claim('key'), other.claim('key')]);
      expect(claims.filter((claim) => claim !== undefined)).toEqual([Buffer.from([count])]);
    }
  });

  it('looks at as many rows as it needs and no more', async () => {
    const clock = createManualClock();
    const keep = await freshPostgres(clock, 1_000_000);
    const db = await openPostgres(url, { settings: { enable_seqscan: 'off' } });
    onTestFinished(async () => {
      await db.close();
      await keep.close();
    });
    const plans = await Promise.all(
      [
        "DELETE FROM gateway_keep WHERE key = 'a' RETURNING value",
        'SELECT key FROM gateway_keep WHERE expires_at <= 5 ORDER BY expires_at LIMIT 200',
        'SELECT key, size, used_at FROM gateway_keep ORDER BY used_at, key LIMIT 200',
        'SELECT COUNT(*), SUM(size) FROM gateway_keep WHERE used_at > 0',
      ].map(async (sql) => JSON.stringify(await db.reading.all(`EXPLAIN ${sql}`))),
    );
    for (const plan of plans) expect(plan).toMatch(/Index/);
    for (const plan of plans) expect(plan).not.toMatch(/Seq Scan/);
  });
});
