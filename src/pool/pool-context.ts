import type { Provider, ProviderAccount } from '../core/provider.ts';
import type { Clock } from '../lib/clock.ts';
import type { KnownSecrets } from '../lib/known-secrets.ts';
import type { Logger } from '../lib/logger.ts';
import { isLendable, type QuotaCause, type QuotaFinding } from './account-state.ts';
import type { EventHub } from './events.ts';
import type { PoolMetrics } from './metrics.ts';
import type { Refresher } from './refresh.ts';
import type { SkipLog } from './skip-log.ts';
import type { Changes, Credential, Store, StoredAccount } from './store/store.ts';
import type { Vault } from './vault.ts';

/** Who calls. */
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

/** Of callers that show no key where none is needed. */
export const localKeyId = 'local';

/** What the parts of the pool share. */
export interface PoolContext {
  readonly store: Store;
  /** The store that lends at this moment: the built-in accounts' while there is no real one. */
  lending(): Store;
  readonly vault: Vault;
  /** What a provider or a source says goes through these before it is stored or shown. */
  readonly secrets: KnownSecrets;
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
  /** 0 to 1. */
  random(): number;
  /** Asks the provider what an account has left and stores the answer. Null for one that is gone or has no bearer now. */
  checkQuota(account: StoredAccount, cause: QuotaCause, limitMs: number): Promise<StoredAccount | null>;
  /** Asks about a credential that no row holds yet. */
  probe(id: string, provider: string, account: ProviderAccount): Promise<QuotaFinding>;
  readonly refreshNow: Refresher['refreshNow'];
  /** The same for who cannot wait long: answers the account as it is then, null when it is gone. Never throws for a refresh. */
  refreshSoon(
    id: string,
    how: Parameters<Refresher['refreshNow']>[1],
    limitMs: number,
  ): Promise<StoredAccount | null>;
  /** A credential as it is stored. */
  credentialOf(id: string, provider: string, secret: string): Credential;
}

/** What secrets are sealed as. */
export const credentialField = 'credential';
export const bearerField = 'bearer';
const longEnoughToHint = 20;

/** What the provider takes. An account has a lease only once it has had a bearer. */
export function bearerOf(context: Pick<PoolContext, 'vault'>, account: StoredAccount): string {
  if (account.credentialKind === 'api_key') return secretOf(context, account);
  if (account.bearer === null) throw new Error(`account ${account.id} has no bearer yet`);
  return context.vault.open(account.id, bearerField, account.bearer.sealed);
}

/** An account that has a bearer, as its provider needs it. */
export function providerAccountOf(
  context: Pick<PoolContext, 'vault'>,
  account: StoredAccount,
): ProviderAccount {
  return { bearer: bearerOf(context, account), teamUid: account.teamUid ?? undefined };
}

/** The API key, or the refresh token. */
export function secretOf(context: Pick<PoolContext, 'vault'>, account: StoredAccount): string {
  return context.vault.open(account.id, credentialField, account.sealedCredential);
}

/** It has something to show its provider, and that has not lapsed. */
export function hasBearer(account: StoredAccount, now: number): boolean {
  if (account.credentialKind === 'api_key') return true;
  return isLendable({ expiresAt: account.bearer?.expiresAt ?? null, refreshAt: null }, now);
}

export function sealedCredential(vault: Vault, id: string, provider: string, secret: string): Credential {
  return {
    sealed: vault.seal(id, credentialField, secret),
    fingerprint: vault.fingerprint(provider, secret),
    hint: secret.length >= longEnoughToHint ? secret.slice(-4) : '****',
  };
}
