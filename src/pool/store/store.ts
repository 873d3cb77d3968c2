import type { Clock } from '../../lib/clock.ts';
import type { AccountState } from '../../pool-api/schema.ts';
import type { QuotaCause, QuotaFinding } from '../standing/account-state.ts';
import type {
  EnsureResult,
  LeaseDemand,
  ReleaseDemand,
  ReportDemand,
  ReportedResult,
  SessionPage,
} from './leases.ts';
import type {
  InterruptedRefresh,
  RefreshClaimResult,
  RefreshDemand,
  RefreshedCredential,
  RefreshFailed,
} from './refresh-journal.ts';
import type { KindCount } from './rules/kinds.ts';
import type {
  AccountChange,
  AccountFilter,
  AccountPage,
  Changes,
  NewStoredAccount,
  SealedSecret,
  StoredAccount,
  Usage,
  WithChanges,
} from './stored-account.ts';

/** Times are milliseconds since 1970 by `Store.clock`. `now` comes from the caller, who reads that clock. */

export type * from './leases.ts';
export type * from './refresh-journal.ts';
export type * from './stored-account.ts';

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
 * claims ends the sessions, cooldowns and exhaustions whose time has come.
 */
export interface StoreVerbs {
  addAccount(
    now: number,
    account: NewStoredAccount,
    actor: string,
  ): Promise<
    WithChanges<
      | { readonly result: 'added'; readonly account: StoredAccount }
      | { readonly result: 'duplicate'; readonly id: string }
    >
  >;
  account(now: number, id: string): Promise<StoredAccount | null>;
  accountOfCredential(now: number, provider: string, fingerprint: string): Promise<StoredAccount | null>;
  accounts(now: number, filter: AccountFilter): Promise<AccountPage>;
  /** Null when there is no such account. */
  changeAccount(
    now: number,
    id: string,
    change: AccountChange,
    audit: Omit<AuditEntry, 'accountId'>,
  ): Promise<WithChanges<{ readonly account: StoredAccount }> | null>;
  removeAccount(
    now: number,
    id: string,
    actor: string,
  ): Promise<WithChanges<{ readonly account: StoredAccount }> | null>;

  ensureLeases(now: number, demand: LeaseDemand): Promise<WithChanges<EnsureResult>>;
  /** Null when there is no such session of that key. */
  release(now: number, demand: ReleaseDemand): Promise<WithChanges<{ readonly released: number }> | null>;
  /** Null when the session is another key's. An unknown session makes every item stale. */
  report(
    now: number,
    demand: ReportDemand,
  ): Promise<WithChanges<{ readonly results: readonly ReportedResult[] }> | null>;

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
  ): Promise<WithChanges<{ readonly account: StoredAccount }> | null>;
  /** Accounts whose quota check is due; each is handed out once, its next check is moved on. */
  claimQuotaChecks(now: number, limit: number): Promise<readonly StoredAccount[]>;
  /** Ends what is over, prunes what is old. */
  housekeep(now: number): Promise<WithChanges<object>>;
  stats(now: number): Promise<Stats>;

  /**
   * Writes the intent to refresh, durably, before the token endpoint is called; or answers why not. One at a time
   * for an account, and never two intents that count within `minIntervalMs`. An intent counts unless it ended as
   * `unsent` or `refused`, and goes on counting for its credentials when the account is removed and added again.
   * `too_early` moves the account's next refresh to that time if it was due before.
   */
  claimRefresh(now: number, demand: RefreshDemand): Promise<WithChanges<RefreshClaimResult>>;
  /**
   * Stores what the token endpoint gave, durably, before it is used. Raises the token version, ends a cooldown
   * that a missing, lapsed or rejected bearer caused, forgets the failure. An attempt that was taken for interrupted is
   * welcome as well, as long as no later one was begun. Null when nothing was stored: the account or the attempt is
   * gone, a later one was begun, or its owner has replaced the credential meanwhile.
   */
  commitRefresh(
    now: number,
    refreshId: string,
    refreshed: RefreshedCredential,
  ): Promise<WithChanges<{ readonly account: StoredAccount }> | null>;
  /**
   * Ends an attempt that gave no token, durably. `isCurrent` is false when the credential that failed is no longer the
   * account's: then nothing else changes. Null when the account or the attempt is gone.
   */
  failRefresh(
    now: number,
    refreshId: string,
    failed: RefreshFailed,
  ): Promise<WithChanges<{ readonly account: StoredAccount; readonly isCurrent: boolean }> | null>;
  /**
   * Marks attempts that can no longer end as interrupted, durably: those past their limit and, unless it is null, all
   * of `goneInstance`, which begins again now. Each is answered once, written to the audit trail, and set down as the
   * account's failure; the next attempt is due when the ceiling opens.
   */
  findInterruptedRefreshes(
    now: number,
    goneInstance: string | null,
  ): Promise<WithChanges<{ readonly interrupted: readonly InterruptedRefresh[] }>>;
  /** Accounts whose `nextRefreshAt` has come and that have no attempt under way, the longest due first. */
  dueForRefresh(now: number, limit: number): Promise<readonly StoredAccount[]>;
  /** When the next account falls due, or an attempt passes its limit; null when neither will. */
  nextRefreshDue(now: number): Promise<number | null>;
  /** Moves an account's next refresh; earlier ones stay when `onlyEarlier`. Not for one out of service. */
  scheduleRefresh(now: number, id: string, at: number, onlyEarlier: boolean): Promise<WithChanges<object>>;

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
  ): Promise<WithChanges<object>>;

  close(): Promise<void>;
}

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
