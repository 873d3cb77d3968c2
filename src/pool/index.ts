export { createPool, type PoolOptions, type PoolService } from './create-pool.ts';
export type { Caller, PoolSettings } from './pool-context.ts';
export { createPoolServer, type PoolServerOptions } from './server.ts';
export { openStore } from './store/open-store.ts';
export type { Store } from './store/store.ts';
export { openVault, type Vault, VaultError } from './vault.ts';
