export { createPool, type PoolOptions, type PoolService } from './create-pool.ts';
export { openVault, type VaultPlace } from './open-vault.ts';
export type { Caller, PoolSettings } from './pool-context.ts';
export { type Rotation, rotateKey } from './rotate-key.ts';
export { createPoolServer, type PoolServerOptions } from './server.ts';
export { type MovedRows, moveStore } from './store/move-store.ts';
export { openStore } from './store/open-store.ts';
export type { Store } from './store/store.ts';
export type { Vault } from './vault.ts';
