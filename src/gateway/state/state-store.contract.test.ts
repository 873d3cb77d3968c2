import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { openPostgres } from '../../db/postgres.ts';
import { newDatabase } from '../../db/testing/shared-postgres.ts';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { BufferedStore } from './buffered-store.ts';
import { openPostgresStorage } from './postgres-storage.ts';
import { openSqliteStorage } from './sqlite-storage.ts';
import { describeLastingStateStore, describeStateStore } from './state-store.contract.ts';

const fail = (error: unknown): never => {
  throw error;
};
const folder = mkdtempSync(join(tmpdir(), 'warp2api-state-'));
afterAll(() => rmSync(folder, { recursive: true }));

const logger = pino({ level: 'silent' });
const events = { onFailure: fail, onLost: fail };
let files = 0;
const sqlite = (clock: ManualClock, maxBytes: number) =>
  BufferedStore.open({
    clock,
    maxBytes,
    storage: {
      open: () => openSqliteStorage(join(folder, `state-${files}.db`), clock, maxBytes, events),
      logger,
    },
  });
const freshSqlite = (clock: ManualClock, maxBytes: number) => {
  files += 1;
  return sqlite(clock, maxBytes);
};

const url = await newDatabase();
const postgres = (clock: ManualClock, maxBytes: number) =>
  BufferedStore.open({
    clock,
    maxBytes,
    storage: { open: () => openPostgresStorage(url, clock, maxBytes, fail), logger },
  });
const freshPostgres = async (clock: ManualClock, maxBytes: number) => {
  const db = await openPostgres(url);
  await db.writing.script('DROP TABLE IF EXISTS gateway_keep, gateway_keep_migrations');
  await db.close();
  return postgres(clock, maxBytes);
};

describeStateStore(
  'a state store in memory',
  async (clock, maxBytes) => new BufferedStore({ clock, maxBytes }),
);
describeStateStore('a state store in SQLite', freshSqlite);
describeStateStore('a state store in PostgreSQL', freshPostgres);
describeLastingStateStore('a state store in SQLite', freshSqlite, sqlite);
describeLastingStateStore('a state store in PostgreSQL', freshPostgres, postgres);

describe('a state store in PostgreSQL', () => {
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
    const store = await freshPostgres(clock, 1_000_000);
    const db = await openPostgres(url, { settings: { enable_seqscan: 'off' } });
    onTestFinished(async () => {
      await db.close();
      await store.close();
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
