import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openPostgresStore } from '../store/postgres/postgres-store.ts';
import type { Store } from '../store/store.ts';
import { freshDatabase } from '../store/testing/postgres-database.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { openVault } from './open-vault.ts';

const [keyOne, keyTwo] = ['1'.repeat(64), '2'.repeat(64)];

async function openStores(count: number): Promise<Store[]> {
  const url = await freshDatabase();
  const stores = await Promise.all(
    Array.from({ length: count }, () => openPostgresStore(url, { auditsLeases: true })),
  );
  onTestFinished(async () => {
    for (const store of stores) await store.close();
  });
  return stores;
}

const open = (store: Store, masterKey?: string) =>
  openVault({
    store,
    now: Date.now(),
    defaultKeyFile: join(temporaryFolder(), 'master.key'),
    ...(masterKey === undefined ? {} : { masterKey }),
  });

describe('the master key of pools on one database', () => {
  it('is the same for all that start together, and another one is refused although no account is there', async () => {
    const stores = await openStores(4);
    const vaults = await Promise.all(stores.map((store) => open(store, keyOne)));
    expect(new Set(vaults.map(({ keyId }) => keyId)).size).toBe(1);
    const [first] = stores as [Store];
    await expect(open(first, keyTwo)).rejects.toThrow(
      /another pool uses this database.*the same key for all/,
    );
  });

  it('is made by one of those that have none, and asked for by the others', async () => {
    const stores = await openStores(3);
    const results = await Promise.allSettled(stores.map((store) => open(store)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const [first] = stores as [Store];
    await expect(open(first)).rejects.toThrow(/master\.key.*MASTER_KEY/);
  });
});
