import type { AccountState, Shortage } from '../../pool-api/schema.ts';
import type { OutcomeSignal, QuotaCause, QuotaFinding, Standing } from '../account-state.ts';

/** Times are milliseconds since 1970. `now` comes from the caller, so that a store may put its own time in place. */

export interface StoredQuota {
  readonly isUnlimited: boolean;
  readonly limit: number | null;
  readonly used: number | null;
  readonly remaining: number | null;
  readonly resetAt: number | null;
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
}

export interface StoredAccount extends AccountSettings {
  readonly id: string;
  readonly provider: string;
  readonly standing: Standing;
  readonly probe: 'unproved' | 'proved';
  readonly source: string;
  readonly credentialKind: 'api_key' | 'refresh_token';
  /** Readable by the vault only. */
  readonly sealedCredential: string;
  readonly credentialHint: string;
  readonly slotsInUse: number;
  readonly holders: number;
  readonly tokenVersion: number;
  readonly useCount: number;
  readonly lastUsed: number | null;
  readonly lastRefreshTime: number | null;
  readonly quota: StoredQuota | null;
  readonly usage: {
    readonly turns: number;
    readonly inputTokens: number;
    readonly outputTokens: number;
    readonly credits: number;
  };
  readonly createdAt: number;
  readonly updatedAt: number;
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

export type EnsureResult =
  | {
      readonly result: 'granted';
      /** This call made the session. */
      readonly created: boolean;
      readonly expiresAt: number;
      readonly leases: readonly Lease[];
      /** Those of `leases` that this call added: what to give back if the caller is gone. */
      readonly added: readonly { readonly id: string; readonly fence: number }[];
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
      /** Accounts on which gateways' shared leases stand in the way; at most 100. */
      readonly gatewayHeld: readonly string[];
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
  readonly usage: {
    readonly turns: number;
    readonly inputTokens: number;
    readonly outputTokens: number;
    readonly credits: number;
  };
}

export interface ReportDemand {
  readonly sessionId: string;
  readonly keyId: string;
  /** May report into a session of any key. */
  readonly isAdmin: boolean;
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
}

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
export interface Store {
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
      readonly credential?: Credential;
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

  note(now: number, entry: AuditEntry): Promise<void>;
  auditTrail(limit: number): Promise<readonly (AuditEntry & { readonly at: number })[]>;
  /** Small durable facts by name: the vault's key id, what was learned from the environment. */
  remembered(name: string): Promise<string | null>;
  remember(name: string, value: string): Promise<void>;
  close(): Promise<void>;
}
