import { absoluteDatabaseUrl, type Config } from '../config.ts';
import { DatabaseError } from '../db/database.ts';
import { systemClock } from '../lib/clock.ts';
import type { MovedRows, Rotation } from '../pool/index.ts';
import { closeDataFolder, vaultPlace } from './build-pool.ts';
import { commandLine } from './open-pool.ts';

// What needs the store for itself.

/** Seals all credentials under another master key. Throws when a service holds the store. */
export async function rotateMasterKey(config: Config, newKeyFile: string | undefined): Promise<Rotation> {
  const place = vaultPlace(config);
  closeDataFolder(config);
  const { openStore, openVault, rotateKey } = await import('../pool/index.ts');
  const store = await openStore(config.databaseUrl, {
    clock: systemClock,
    exclusive: true,
    onLost() {},
  }).catch((error: unknown) => {
    if (!(error instanceof DatabaseError) || error.code !== 'database_in_use') throw error;
    throw new Error(`The key is rotated while no service runs. ${error.message}`, { cause: error });
  });
  const now = store.clock.now();
  try {
    const vault = await openVault({ store, ...place, now });
    return await rotateKey({ store, vault, place, now, actor: commandLine.keyId, newKeyFile });
  } finally {
    await store.close();
  }
}

/** Moves the pool from SQLite to PostgreSQL. Throws when a service holds either. */
export async function movePool(
  config: Config,
  { from, to }: { readonly from?: string | undefined; readonly to: string },
): Promise<MovedRows> {
  config.secrets.addUrl(to);
  config.secrets.addUrl(from);
  const { moveStore } = await import('../pool/index.ts');
  closeDataFolder(config);
  const source = from === undefined ? config.databaseUrl : absoluteDatabaseUrl(from, config.dataDir);
  return moveStore(source, to, systemClock.now());
}
