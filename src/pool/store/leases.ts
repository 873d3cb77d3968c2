import type { Shortage } from '../../pool-api/schema.ts';
import type { OutcomeSignal } from '../standing/standing.ts';
import type { StoredAccount, Usage } from './stored-account.ts';
import type { sessions } from './verbs/sessions.ts';

/** What sessions ask of a store, and what it answers. */

export type SessionPage = Awaited<ReturnType<typeof sessions>>;
/** A session that has not expired, and what it holds. */
export type StoredSession = SessionPage['sessions'][number];

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
    }
  | { readonly result: 'mismatch'; readonly message: string }
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
    };

export type Granted = Extract<EnsureResult, { result: 'granted' }>;
export type Short = Extract<EnsureResult, { result: 'short' }>;

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
