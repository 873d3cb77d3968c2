import type { TokenFailure } from '../../core/provider.ts';
import type { DatabaseError } from '../../db/database.ts';
import type { Clock } from '../../lib/clock.ts';
import type { AccountState } from '../../pool-api/schema.ts';
import type { OutcomeSignal } from '../standing/standing.ts';
import type { accountFrom } from './rules/rows.ts';
import type { stats } from './verbs/counts.ts';
import type { sessions } from './verbs/leases.ts';
import type { claimRefresh } from './verbs/refreshes.ts';
import type { reportTurn } from './verbs/reports.ts';
import type { shortageOf } from './verbs/shortage.ts';
import type { storeVerbs } from './verbs/store-verbs.ts';

/** Times are milliseconds since 1970 by `Store.clock`. `now` comes from the caller, who reads that clock. */

export type * from './store.ts';

export type Stats = Awaited<ReturnType<typeof stats>>;

/** What the instances on one database notify each other of. */
export type News =
  | { readonly type: 'changes'; readonly changes: Changes }
  | { readonly type: 'removed'; readonly id: string; readonly provider: string }
  | { readonly type: 'wanted'; readonly accountIds: readonly string[] };

export interface AuditEntry {
  /** A key id, `housekeeper`, `environment`, … */
  readonly actor: string;
  readonly action: string;
  readonly accountId: string | null;
  /** Never a secret. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/**
 * Where accounts, sessions and leases live. Every verb is one transaction. Before it answers, a verb that reads or
 * claims ends the sessions, cooldowns and exhaustions whose time has come. What each does is said where it is written.
 */
export type StoreVerbs = ReturnType<typeof storeVerbs>;

export interface Store extends StoreVerbs {
  /** The time of everything in it: the database server's where several processes may share it, else the machine's. */
  readonly clock: Clock;
  /** Several processes may work on it at once. */
  readonly isShared: boolean;
  /** False while its server does not answer. */
  readonly isReachable: boolean;
  /** The processes that have the database open now, this one too; empty where only one can. */
  holders(): Promise<readonly string[]>;
  /** News of other instances on the same database; a database of one process has none. */
  listen(listener: (news: News) => void): void;
  /** Notifies the other instances. The store itself sends the changes that a verb answered. */
  tell(news: News): Promise<void>;
}

export type StoredSession = Awaited<ReturnType<typeof sessions>>['sessions'][number];

/** Who asks. A session belongs to the key that made it. */
interface Owner {
  readonly keyId: string;
  readonly isGateway: boolean;
}

export interface LeaseDemand {
  readonly sessionId: string;
  readonly owner: Owner;
  readonly count: number;
  readonly provider: string | null;
  readonly model: string | null;
  /** The account's label is one of these; null: any will do. */
  readonly labels: readonly string[] | null;
  readonly exclusive: boolean;
  readonly slots: number;
  /** Null keeps what the session has, or the default. */
  readonly ttlMs: number | null;
  readonly defaultTtlMs: number;
  readonly exclude: readonly string[];
  readonly prefer: string | null;
  /** Until when the caller would wait: its session is kept that long, and `couldServe` is judged by it. */
  readonly waitUntil: number;
}

export interface Lease {
  readonly account: StoredAccount;
  readonly fence: number;
  readonly slots: number;
}

export interface Skip {
  readonly accountId: string;
  /** A state, or `rate_limited`, `leased`, `half_open`, `lend_gateway_only`, `free_quota_spent`, `too_few_slots`, `model`, `label`, `provider`, `excluded`. */
  readonly reason: string;
}

export interface Granted {
  readonly result: 'granted';
  /** This call made the session. */
  readonly created: boolean;
  readonly expiresAt: number;
  readonly leases: readonly Lease[];
  /** Those of `leases` that this call added: what to give back if the caller is gone. */
  readonly added: readonly { readonly id: string; readonly fence: number }[];
  /** Better placed accounts that were passed over; at most 20. */
  readonly skipped: readonly Skip[];
}

export type Short = Awaited<ReturnType<typeof shortageOf>>;

export type EnsureResult = Granted | Short | { readonly result: 'mismatch'; readonly message: string };

export interface ReleaseDemand {
  readonly sessionId: string;
  /** Null releases the session of any key. */
  readonly keyId: string | null;
  /** Null ends the session. */
  readonly leases: readonly { readonly id: string; readonly fence: number }[] | null;
}

export interface ReportedTurn {
  readonly reportId: string;
  readonly accountId: string;
  readonly fence: number;
  readonly signal: OutcomeSignal;
  readonly usage: Usage;
}

export interface ReportDemand {
  readonly sessionId: string;
  readonly keyId: string;
  readonly turns: readonly ReportedTurn[];
}

export type ReportedResult = Awaited<ReturnType<typeof reportTurn>>;

export interface RefreshDemand {
  readonly accountId: string;
  /** Least time between two intents that count, milliseconds. */
  readonly minIntervalMs: number;
  /** How long the attempt may run before it counts as interrupted, milliseconds. */
  readonly limitMs: number;
  /** Passes the ceiling and the wait after a failure, which is audited; never a running refresh. */
  readonly force: boolean;
  /** The process that asks: intents of a process that is gone are found by it. */
  readonly instance: string;
  readonly actor: string;
}

export type RefreshClaimResult = Awaited<ReturnType<typeof claimRefresh>>;
/** A call to a token endpoint that the journal knows of. */
export type RefreshClaim = Extract<RefreshClaimResult, { readonly result: 'claimed' }>;

export interface RefreshedCredential {
  readonly bearer: SealedBearer;
  /** Absent when the refresh token did not change. */
  readonly credential?: Credential;
  readonly email?: string;
  readonly nextRefreshAt: number;
}

export interface RefreshFailed {
  readonly failure: TokenFailure;
  /** Never a secret. */
  readonly message: string;
  /** When the failure alone would let the next attempt be made; the ceiling may be later, and holds then. */
  readonly retryAt: number;
  /** The reason with which the account becomes `reauth_required`; null while there is hope. */
  readonly givenUp: string | null;
}

export interface OpenStoreOptions {
  readonly clock: Clock;
  /**
   * The whole database for this process alone, for as long as the store is open: fails with `database_in_use` while any
   * other has it open, and keeps others from opening it. A SQLite file always is.
   */
  readonly exclusive?: boolean;
  /** The store is beyond use: its thread died. The service cannot go on. */
  readonly onLost: (error: DatabaseError) => void;
  /** The database is, or was for a moment, unreachable, or another instance could not be notified. */
  readonly onTrouble?: (error: unknown) => void;
  readonly onBack?: (awayForMs: number) => void;
}

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
