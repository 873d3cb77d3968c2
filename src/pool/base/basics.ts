import type { Provider } from '../../core/provider.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import type { KnownSecrets } from '../../lib/secrets/known-secrets.ts';
import type { AccountFilter, Store, StoredAccount } from '../store/store.ts';
import type { Credentials, Vault } from '../vault/vault.ts';
import type { PoolMetrics } from './metrics.ts';
import type { EventHub } from './observed-store.ts';

export interface Caller {
  /** A borrower may allocate, release, report and read events; an admin everything. */
  readonly role: 'admin' | 'borrower';
  /** A stable digest of the caller's key, or `localKeyId` where there are no keys. */
  readonly keyId: string;
  /** May borrow accounts whose owner lends them to the gateway only; gives back idle leases when asked. */
  readonly isGateway: boolean;
  /** Surely the pool's owner: by ADMIN_KEY, or at the socket in DATA_DIR. Without keys every local program is an admin. */
  readonly isOwner?: boolean;
}

/** Of callers that show no key where none is needed. */
export const localKeyId = 'local';

export interface PoolSettings {
  readonly minPoolSize: number;
  readonly maxPoolSize: number;
  /** Idle time after which a session is reaped. */
  readonly sessionTimeoutMs: number;
  /** How long accounts beyond use are kept; null for ever. */
  readonly retireAfterMs: number | null;
  /** Offer the built-in accounts while there is no real one. */
  readonly sandbox: boolean;
  /** Least time between two refreshes of an account; below an hour only where the token host is this machine. */
  readonly refreshMinIntervalMs: number;
  /** How many accounts replenishing and imports bring in at a time. */
  readonly provisionConcurrency: number;
  readonly version: string;
}

/** What the parts of the pool are built on. It is all there before the first of them, and none of it calls them. */
export interface Basics {
  /** What its verbs change is published to `events`. */
  readonly store: Store;
  readonly vault: Vault;
  readonly credentials: Credentials;
  readonly providers: ReadonlyMap<string, Provider>;
  /** What a provider or a source says goes through these before it is stored or shown. */
  readonly secrets: KnownSecrets;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: PoolSettings;
  readonly events: EventHub;
  readonly metrics: PoolMetrics;
  /** 0 to 1. */
  readonly random: () => number;
}

/** All accounts, or those a filter matches, page by page as they are asked for. */
export async function* pagesOfAccounts(
  { store, clock }: Pick<Basics, 'store' | 'clock'>,
  filter: AccountFilter,
): AsyncGenerator<readonly StoredAccount[]> {
  for (let after: number | null = 0; after !== null; ) {
    const page: Awaited<ReturnType<typeof store.accounts>> = await store.accounts(clock.now(), {
      ...filter,
      after,
    });
    yield page.accounts;
    after = page.nextAfter;
  }
}
