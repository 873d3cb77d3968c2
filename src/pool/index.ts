export type { Caller, PoolSettings } from './base/basics.ts';
export { createPool, type PoolOptions, type PoolService } from './create-pool.ts';
export { openSources } from './replenish/open-sources.ts';
export { type MovedRows, moveStore } from './store/move-store.ts';
export { openStore } from './store/open-store.ts';
export type { Store } from './store/store.ts';
export { type Rotation, rotateKey } from './upkeep/rotate-key.ts';
export { openVault, type VaultPlace } from './vault/open-vault.ts';
export type { Vault } from './vault/vault.ts';
