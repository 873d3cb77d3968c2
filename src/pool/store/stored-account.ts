import type { TokenFailure } from '../../core/provider.ts';
import type { AccountState } from '../../pool-api/schema.ts';
import type { accountFrom } from './rules/rows.ts';

/** What a store keeps of an account. Times are milliseconds since 1970 by `Store.clock`. */

export interface StoredQuota {
  readonly isUnlimited: boolean;
  readonly limit: number | null;
  readonly used: number | null;
  readonly remaining: number | null;
  readonly resetAt: number | null;
  /** Why the provider lets nothing in, in its own word; null where it does. Absent in what older versions stored. */
  readonly denialReason?: string | null;
  readonly checkedAt: number;
}

export interface AccountSettings {
  readonly email: string | null;
  readonly label: string | null;
  readonly capacity: number;
  /** Upstream models; null means all. */
  readonly models: readonly string[] | null;
  readonly free: boolean;
  readonly lend: 'any' | 'gateway';
  readonly tier: number;
  /** The team that is billed; null leaves the choice to the provider. */
  readonly teamUid: string | null;
}

export interface Usage {
  readonly turns: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly credits: number;
  /** US cents. */
  readonly costCents: number;
}

export type StoredAccount = Readonly<ReturnType<typeof accountFrom>>;

export interface SealedBearer {
  /** Readable by the vault only. */
  readonly sealed: string;
  readonly expiresAt: number;
}

export interface RefreshFailure {
  /** A TokenFailure, or `interrupted`: the process died between the intent and the commit. */
  readonly failure: TokenFailure | 'interrupted';
  /** Never a secret. */
  readonly message: string;
  readonly at: number;
  readonly inARow: number;
  /** Before this time only a forced attempt is made; null when the account was given up. */
  readonly retryAt: number | null;
}

export interface Credential {
  readonly sealed: string;
  /** Keyed digest: the same credential twice is recognised without being readable. */
  readonly fingerprint: string;
  readonly hint: string;
}

export type StandingChange = Pick<StoredAccount, 'standing' | 'probe' | 'quota' | 'nextCheckAt'>;

export interface NewStoredAccount
  extends AccountSettings,
    StandingChange,
    Pick<StoredAccount, 'id' | 'provider' | 'source' | 'credentialKind'> {
  readonly credential: Credential;
  readonly sourceHandle?: string | undefined;
  /** For a refresh token that came with a bearer. Without one the account is lent after its first refresh. */
  readonly bearer?: SealedBearer;
  /** For a refresh token: when the refresher takes it up. */
  readonly nextRefreshAt?: number;
}

export interface ChangedAccount {
  readonly id: string;
  readonly provider: string;
  readonly state: AccountState;
  readonly free: boolean;
}

/** What is published: state changes, and whether a place may have come free. */
export interface Changes {
  readonly accounts: readonly ChangedAccount[];
  readonly hasFreed: boolean;
}

export type WithChanges<Answer> = Answer & { readonly changes: Changes };

export interface AccountFilter {
  readonly email?: string;
  readonly source?: string;
  readonly probe?: 'unproved' | 'proved';
  /** How the e-mail address or the label begins, in any case. */
  readonly begins?: string;
  readonly idBegins?: string;
  readonly ids?: readonly string[];
  readonly provider?: string;
  readonly state?: AccountState;
  readonly label?: string;
  readonly limit: number;
  readonly after?: number;
}

export interface AccountPage {
  readonly accounts: readonly StoredAccount[];
  readonly total: number;
  readonly nextAfter: number | null;
}

/**
 * Another credential of the same kind; bumps the token version, forgets the failure, drops the bearer. A refresh token that
 * comes without a bearer ends the account's leases.
 */
export interface NewCredential extends Credential {
  readonly bearer?: SealedBearer;
  readonly nextRefreshAt?: number;
}

export interface AccountChange {
  readonly settings?: Partial<AccountSettings>;
  readonly standing?: StandingChange;
  readonly credential?: NewCredential;
}

/** What a key rotation reads and writes. */
export interface SealedSecret {
  readonly accountId: string;
  readonly credential: string;
  readonly bearer: string | null;
}
