import type { TokenFailure } from '../../core/provider.ts';
import type { Clock } from '../../lib/clock.ts';
import type { AccountState, Shortage } from '../../pool-api/schema.ts';
import type { QuotaCause, QuotaFinding } from '../standing/account-state.ts';
import type { OutcomeSignal, Standing } from '../standing/standing.ts';
import type { KindCount } from './kinds.ts';

/** Times are milliseconds since 1970 by `Store.clock`. `now` comes from the caller, who reads that clock. */

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

export interface StoredAccount extends AccountSettings {
  readonly id: string;
  readonly provider: string;
  readonly standing: Standing;
  readonly probe: 'unproved' | 'proved';
  readonly source: string;
  readonly credentialKind: 'api_key' | 'refresh_token';
  /** Readable by the vault only: the API key, or the refresh token. */
  readonly sealedCredential: string;
  /** What was minted from a refresh token; null for an API key, and before the first refresh. */
  readonly bearer: SealedBearer | null;
  /** When the refresher looks at it next; null for an API key and an account out of service. */
  readonly nextRefreshAt: number | null;
  /** Why the last refresh failed; null after one that worked. */
  readonly refreshFailure: RefreshFailure | null;
  /** Names the credential to the source that made it; null where the source keeps no such thing. */
  readonly sourceHandle: string | null;
  /** Since when it has its present state. */
  readonly stateSince: number;
  readonly credentialHint: string;
  readonly slotsInUse: number;
  readonly holders: number;
  /** Its one holder has the whole account. */
  readonly isHeldExclusively: boolean;
  readonly tokenVersion: number;
  readonly useCount: number;
  readonly lastUsed: number | null;
  readonly lastRefreshTime: number | null;
  readonly quota: StoredQuota | null;
  readonly usage: Usage;
  readonly createdAt: number;
  readonly updatedAt: number;
}

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
  /** Failures in a row. */
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

export interface NewStoredAccount extends AccountSettings {
  readonly id: string;
  readonly provider: string;
  readonly source: string;
  readonly credentialKind: 'api_key' | 'refresh_token';
  readonly credential: Credential;
  readonly sourceHandle?: string;
  /** For a refresh token that came with a bearer. Without one the account is lent after its first refresh. */
  readonly bearer?: SealedBearer;
  /** For a refresh token: when the refresher takes it up. */
  readonly nextRefreshAt?: number;
  readonly standing: Standing;
  readonly probe: 'unproved' | 'proved';
  readonly quota: StoredQuota | null;
  /** When the housekeeper asks the provider about it; null for never. */
  readonly nextCheckAt: number | null;
}

export interface ChangedAccount {
  readonly id: string;
  readonly provider: string;
  readonly state: AccountState;
  readonly free: boolean;
}

/** What others must hear of: state changes, and whether a place may have come free. */
export interface Changes {
  readonly accounts: readonly ChangedAccount[];
  readonly hasFreed: boolean;
}

export interface AccountFilter {
  readonly email?: string;
  readonly source?: string;
  readonly probe?: 'unproved' | 'proved';
  /** How the e-mail address or the label begins, in any case. */
  readonly begins?: string;
  /** How the id begins. */
  readonly idBegins?: string;
  readonly provider?: string;
  readonly state?: AccountState;
  readonly label?: string;
  readonly limit: number;
  readonly after?: number;
}

/** A session that has not expired, and what it holds. */
export interface StoredSession {
  readonly id: string;
  readonly keyId: string;
  readonly isGateway: boolean;
  readonly isExclusive: boolean;
  readonly provider: string | null;
  readonly ttlMs: number;
  readonly expiresAt: number;
  readonly createdAt: number;
  readonly leases: readonly {
    readonly accountId: string;
    readonly email: string | null;
    readonly slots: number;
  }[];
}

export interface SessionPage {
  readonly sessions: readonly StoredSession[];
  readonly total: number;
  /** The id of the last one, where more follow. */
  readonly nextAfter: string | null;
}

export interface AccountPage {
  readonly accounts: readonly StoredAccount[];
  readonly total: number;
  readonly nextAfter: number | null;
}

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

/** An account that was passed over, and why. */
export interface Skip {
  readonly accountId: string;
  /** A state, or `rate_limited`, `leased`, `half_open`, `lend_gateway_only`, `free_quota_spent`, `too_few_slots`, `model`, `provider`, `excluded`. */
  readonly reason: string;
}

export type EnsureResult =
  | {
      readonly result: 'granted';
      /** This call made the session. */
      readonly created: boolean;
      readonly expiresAt: number;
      readonly leases: readonly Lease[];
      /** Those of `leases` that this call added: what to give back if the caller is gone. */
      readonly added: readonly { readonly id: string; readonly fence: number }[];
      /** Better placed accounts that were passed over; at most 20. */
      readonly skipped: readonly Skip[];
      readonly changes: Changes;
    }
  | { readonly result: 'mismatch'; readonly message: string; readonly changes: Changes }
  | {
      readonly result: 'short';
      readonly missing: number;
      readonly shortage: Shortage;
      /** Enough matching accounts may come free before `waitUntil`. */
      readonly couldServe: boolean;
      /** Earliest time at which something is known to come free. */
      readonly nextAt: number | null;
      /** Set when only refreshes that run within the next 15 s stand in the way: when the last of them runs. */
      readonly refreshBy: number | null;
      /** Accounts on which gateways' shared leases stand in the way; at most 100. */
      readonly gatewayHeld: readonly string[];
      /** What stood in the way, by account; at most 100. */
      readonly skipped: readonly Skip[];
      readonly changes: Changes;
    };

export interface ReleaseDemand {
  readonly sessionId: string;
  /** Null releases whoever's session it is. */
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

export interface ReportedResult {
  readonly reportId: string;
  readonly accountId: string;
  readonly result: 'applied' | 'stale' | 'unknown' | 'duplicate';
  readonly account: StoredAccount | null;
  /** The lease was live when the report came. */
  readonly isLive: boolean;
  readonly shouldCheckQuota: boolean;
  /** The present bearer was rejected, and a refresh token may give another one. */
  readonly shouldRefresh: boolean;
  /** A program claims what would end the account's service, and the provider can say whether it is so. */
  readonly shouldAskProvider: boolean;
}

export interface Stats {
  readonly total: number;
  readonly available: number;
  readonly inUse: number;
  readonly standby: number;
  readonly active: number;
  readonly cooldown: number;
  readonly exhausted: number;
  readonly reauthRequired: number;
  readonly disabled: number;
  readonly sessions: number;
  /** What usable accounts have left together, in their providers' units, of those that have figures. */
  readonly remaining: number;
  /** Usable accounts without a limit or without figures. */
  readonly unmetered: number;
  /** Spent during the last hour. */
  readonly lastHour: Usage;
  /** The accounts of each provider that has any. */
  readonly byProvider: readonly ProviderStats[];
  /** The same accounts by all that decides whether they can be lent. */
  readonly kinds: readonly KindCount[];
  /** Accounts that are not given up and are lent to gateways only. */
  readonly gatewayOnly: number;
  /** Providers with a free account whose quota is spent: none of their free accounts is lent. */
  readonly freeQuotaSpent: readonly string[];
}

export interface ProviderStats {
  readonly provider: string;
  readonly available: number;
  readonly inUse: number;
  readonly states: Readonly<Record<AccountState, number>>;
}

export interface Usage {
  readonly turns: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly credits: number;
  /** US cents. */
  readonly costCents: number;
}

/** A call to a token endpoint that the journal knows of. */
export interface RefreshClaim {
  readonly refreshId: string;
  /** When the intent was written: the ceiling counts from here. */
  readonly intentAt: number;
  readonly account: StoredAccount;
  /**
   * Since the last token of this credential an attempt was interrupted or ended `unknown`: a token may have been issued
   * that nobody has, and an `invalid_grant` may be its doing.
   */
  readonly followsInterruption: boolean;
  /** No other account of the provider is active, or rests until some time. */
  readonly isLastUsable: boolean;
}

export interface RefreshDemand {
  readonly accountId: string;
  /** Least time between two intents that count, milliseconds. */
  readonly minIntervalMs: number;
  /** How long the attempt may be under way before it counts as interrupted, milliseconds. */
  readonly limitMs: number;
  /** Passes the ceiling and the wait after a failure, which is audited; never a refresh under way. */
  readonly force: boolean;
  /** The process that asks: intents of a process that is gone are found by it. */
  readonly instance: string;
  readonly actor: string;
}

export type RefreshClaimResult = { readonly changes: Changes } & (
  | ({ readonly result: 'claimed' } & RefreshClaim)
  /** The ceiling, or the wait after a failure; `nextAt` is when it opens. */
  | { readonly result: 'too_early'; readonly reason: 'ceiling' | 'backoff'; readonly nextAt: number }
  /** Another caller or instance is at it. */
  | { readonly result: 'under_way'; readonly since: number }
  /** No such account, an API key, or out of service. */
  | { readonly result: 'not_refreshable'; readonly reason: string }
);

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

/** An attempt that ended without anybody knowing how. */
export interface InterruptedRefresh {
  readonly refreshId: string;
  readonly accountId: string;
  readonly intentAt: number;
}

/** What the instances on one database tell each other. */
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

export interface StandingChange {
  readonly standing: Standing;
  readonly probe: 'unproved' | 'proved';
  readonly quota: StoredQuota | null;
  readonly nextCheckAt: number | null;
}

/**
 * Where accounts, sessions and leases live. Every verb is one transaction. Before it answers, a verb that reads or
 * claims ends the sessions, cooldowns and exhaustions whose time has come.
 */
export interface StoreVerbs {
  addAccount(
    now: number,
    account: NewStoredAccount,
    actor: string,
  ): Promise<
    | { readonly result: 'added'; readonly account: StoredAccount; readonly changes: Changes }
    | { readonly result: 'duplicate'; readonly id: string }
  >;
  account(now: number, id: string): Promise<StoredAccount | null>;
  accountOfCredential(now: number, provider: string, fingerprint: string): Promise<StoredAccount | null>;
  accounts(now: number, filter: AccountFilter): Promise<AccountPage>;
  /** Null when there is no such account. */
  changeAccount(
    now: number,
    id: string,
    change: {
      readonly settings?: Partial<AccountSettings>;
      readonly standing?: StandingChange;
      /**
       * Another credential of the same kind; bumps the token version, forgets the failure, drops the bearer. A refresh
       * token that comes without a bearer ends the account's leases.
       */
      readonly credential?: Credential & { readonly bearer?: SealedBearer; readonly nextRefreshAt?: number };
    },
    audit: Omit<AuditEntry, 'accountId'>,
  ): Promise<{ readonly account: StoredAccount; readonly changes: Changes } | null>;
  removeAccount(
    now: number,
    id: string,
    actor: string,
  ): Promise<{ readonly account: StoredAccount; readonly changes: Changes } | null>;

  ensureLeases(now: number, demand: LeaseDemand): Promise<EnsureResult>;
  /** Null when there is no such session of that key. */
  release(
    now: number,
    demand: ReleaseDemand,
  ): Promise<{ readonly released: number; readonly changes: Changes } | null>;
  /** Null when the session is another key's. An unknown session makes every item stale. */
  report(
    now: number,
    demand: ReportDemand,
  ): Promise<{ readonly results: readonly ReportedResult[]; readonly changes: Changes } | null>;

  /** Sessions by their id, after `after`; all, or those that hold an account. */
  sessions(
    now: number,
    query: { readonly limit: number; readonly after?: string; readonly accountId?: string },
  ): Promise<SessionPage>;

  /** Applies what the provider answered about an account's quota. Null when the account is gone. */
  recordQuota(
    now: number,
    id: string,
    finding: QuotaFinding,
    cause: QuotaCause,
  ): Promise<{ readonly account: StoredAccount; readonly changes: Changes } | null>;
  /** Accounts whose quota check is due; each is handed out once, its next check is moved on. */
  claimQuotaChecks(now: number, limit: number): Promise<readonly StoredAccount[]>;
  /** Ends what is over, prunes what is old. */
  housekeep(now: number): Promise<Changes>;
  stats(now: number): Promise<Stats>;

  /**
   * Writes the intent to refresh, durably, before anybody calls the token endpoint; or answers why not. One at a time
   * for an account, and never two intents that count within `minIntervalMs`. An intent counts unless it ended as
   * `unsent` or `refused`, and goes on counting for its credentials when the account is removed and added again.
   * `too_early` moves the account's next refresh to that time if it was due before.
   */
  claimRefresh(now: number, demand: RefreshDemand): Promise<RefreshClaimResult>;
  /**
   * Stores what the token endpoint gave, durably, before anybody uses it. Raises the token version, ends a cooldown
   * that a missing, lapsed or rejected bearer caused, forgets the failure. An attempt that was taken for interrupted is
   * welcome as well, as long as no later one was begun. Null when nothing was stored: the account or the attempt is
   * gone, a later one was begun, or its owner has replaced the credential meanwhile.
   */
  commitRefresh(
    now: number,
    refreshId: string,
    refreshed: RefreshedCredential,
  ): Promise<{ readonly account: StoredAccount; readonly changes: Changes } | null>;
  /**
   * Ends an attempt that gave no token, durably. `isCurrent` is false when the credential that failed is no longer the
   * account's: then nothing else changes. Null when the account or the attempt is gone.
   */
  failRefresh(
    now: number,
    refreshId: string,
    failed: RefreshFailed,
  ): Promise<{
    readonly account: StoredAccount;
    readonly isCurrent: boolean;
    readonly changes: Changes;
  } | null>;
  /**
   * Marks attempts that can no longer end as interrupted, durably: those past their limit and, unless it is null, all
   * of `goneInstance`, which begins again now. Each is answered once, written to the audit trail, and set down as the
   * account's failure; the next attempt is due when the ceiling opens.
   */
  findInterruptedRefreshes(
    now: number,
    goneInstance: string | null,
  ): Promise<{ readonly interrupted: readonly InterruptedRefresh[]; readonly changes: Changes }>;
  /** Accounts whose `nextRefreshAt` has come and that have no attempt under way, the longest due first. */
  dueForRefresh(now: number, limit: number): Promise<readonly StoredAccount[]>;
  /** When the next account falls due, or an attempt passes its limit; null when neither will. */
  nextRefreshDue(now: number): Promise<number | null>;
  /** Moves an account's next refresh; earlier ones stay when `onlyEarlier`. Not for one out of service. */
  scheduleRefresh(now: number, id: string, at: number, onlyEarlier: boolean): Promise<Changes>;

  /** Accounts that have been `reauth_required` or `disabled` since before `deadSince`, at most `limit`. */
  deadAccounts(now: number, deadSince: number, limit: number): Promise<readonly StoredAccount[]>;

  note(now: number, entry: AuditEntry): Promise<void>;
  /** The newest first; `before` is the `seq` of the last one seen. */
  auditTrail(query: {
    readonly limit: number;
    readonly before?: number;
    readonly accountId?: string;
  }): Promise<readonly (AuditEntry & { readonly seq: number; readonly at: number })[]>;

  /** Small durable facts by name: the vault's key id, what was learned from the environment, logins under way. */
  remembered(name: string): Promise<string | null>;
  /** All facts whose name begins so, by name. */
  rememberedUnder(prefix: string): Promise<readonly { readonly name: string; readonly value: string }[]>;
  remember(name: string, value: string): Promise<void>;
  /** Writes a fact only if it still is what the caller saw (null: not there); null forgets it. False when it is not. */
  swapRemembered(name: string, expected: string | null, value: string | null): Promise<boolean>;

  /** Every account's sealed secrets, page by page: what a key rotation reads. */
  sealedSecrets(
    after: number,
    limit: number,
  ): Promise<{ readonly secrets: readonly SealedSecret[]; readonly nextAfter: number | null }>;
  /** Writes all of them, and the facts, in one durable transaction, or nothing. */
  replaceSealed(
    now: number,
    replaced: readonly SealedSecret[],
    facts: readonly { readonly name: string; readonly value: string }[],
    audit: AuditEntry,
  ): Promise<void>;

  close(): Promise<void>;
}

export interface Store extends StoreVerbs {
  /** The time of everything in it: the database server's where several processes may share it, else the machine's. */
  readonly clock: Clock;
  /** Several processes may work on it at once. */
  readonly isShared: boolean;
  /** False while its server does not answer. */
  readonly isReachable: boolean;
  /** The processes that have the database open now, this one too; none are told where only one can. */
  holders(): Promise<readonly string[]>;
  /** News of other instances on the same database; a database of one process has none. */
  listen(listener: (news: News) => void): void;
  /** Tells the other instances. Changes that a verb answered are told by the store itself. */
  tell(news: News): Promise<void>;
}

/** What a key rotation reads and writes. */
export interface SealedSecret {
  readonly accountId: string;
  readonly credential: string;
  readonly bearer: string | null;
}
