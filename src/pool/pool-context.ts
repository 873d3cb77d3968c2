import type { Provider } from '../core/provider.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { QuotaCause, QuotaFinding } from './account-state.ts';
import type { EventHub } from './events.ts';
import type { PoolMetrics } from './metrics.ts';
import type { SkipLog } from './skip-log.ts';
import type { Changes, Store, StoredAccount } from './store/store.ts';
import type { Vault } from './vault.ts';

/** Who calls. */
export interface Caller {
  /** A borrower may allocate, release, report and read events; an admin everything. */
  readonly role: 'admin' | 'borrower';
  /** A stable digest of the caller's key, or `local` where there are no keys. */
  readonly keyId: string;
  /** May borrow accounts whose owner lends them to the gateway only; gives back idle leases when asked. */
  readonly isGateway: boolean;
}

export interface PoolSettings {
  readonly minPoolSize: number;
  readonly maxPoolSize: number;
  /** Idle time after which a session is reaped. */
  readonly sessionTimeoutMs: number;
  /** How long accounts beyond use are kept; null for ever. */
  readonly retireAfterMs: number | null;
  /** Offer the built-in accounts while there is no real one. */
  readonly sandbox: boolean;
  readonly version: string;
}

/** What the parts of the pool share. */
export interface PoolContext {
  readonly store: Store;
  /** The store that lends at this moment: the built-in accounts' while there is no real one. */
  lending(): Store;
  readonly vault: Vault;
  readonly providers: ReadonlyMap<string, Provider>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: PoolSettings;
  readonly events: EventHub;
  readonly skips: SkipLog;
  readonly metrics: PoolMetrics;
  /** Called for every account that was removed: sources that made its credential delete it at the provider. */
  readonly onRemoved: ((account: StoredAccount) => Promise<void>)[];
  /** Tells the listeners, and wakes those who wait when a place may have come free. */
  tell(changes: Changes): void;
  /** Asks the provider what an account has left and stores the answer. */
  checkQuota(account: StoredAccount, cause: QuotaCause, limitMs: number): Promise<StoredAccount | null>;
  /** Asks about a credential that no row holds yet. */
  probe(id: string, provider: string, bearer: string): Promise<QuotaFinding>;
}

export const credentialField = 'credential';

export function bearerOf(context: PoolContext, account: StoredAccount): string {
  return context.vault.open(account.id, credentialField, account.sealedCredential);
}
