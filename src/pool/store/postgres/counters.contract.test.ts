import { expect, it, onTestFinished, vi } from 'vitest';
import { openPostgres } from '../../../db/postgres.ts';
import { testAccount, testDemand } from '../../testing/test-pool.ts';
import { freshDatabase } from '../testing/postgres-database.ts';
import { openPostgresStore } from './postgres-store.ts';

it('the counts of connections that are gone are gathered, and none is lost', async () => {
  const url = await freshDatabase();
  const options = { auditsLeases: true } as const;
  for (let round = 0; round < 3; round += 1) {
    const store = await openPostgresStore(url, options);
    await store.addAccount(0, testAccount(`acc_${round}`), 'test');
    await store.ensureLeases(0, testDemand(`s_${round}`));
    await store.close();
  }
  const db = await openPostgres(url);
  onTestFinished(() => db.close());
  const store = await openPostgresStore(url, options);
  onTestFinished(() => store.close());
  const before = await store.stats(0);
  expect(before).toMatchObject({ total: 3, inUse: 3, available: 0, sessions: 3, unmetered: 3 });
  const shards = 'SELECT DISTINCT shard FROM standings UNION SELECT shard FROM counters';
  expect((await db.reading.all(shards)).length).toBeGreaterThan(2);
  // A server process may take a moment to end.
  await vi.waitFor(async () => {
    await store.housekeep(0);
    expect(await db.reading.all(shards)).toEqual([{ shard: 0 }]);
  });
  expect(await store.stats(0)).toEqual(before);
});
