import type { Provider } from '../../core/provider.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import type { KnownSecrets } from '../../lib/secrets/known-secrets.ts';
import type { Store } from '../store/store.ts';
import type { Credentials } from '../vault/credentials.ts';
import type { Vault } from '../vault/vault.ts';
import type { EventHub } from './events.ts';
import type { PoolMetrics } from './metrics.ts';

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
