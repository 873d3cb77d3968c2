import type { TokenFailure } from '../../core/provider.ts';
import type { Credential, SealedBearer, StoredAccount } from './stored-account.ts';

/** The journal of refreshes, as its callers see it. */

/** A call to a token endpoint that the journal knows of. */
export interface RefreshClaim {
  readonly refreshId: string;
  /** When the intent was written: the ceiling counts from here. */
  readonly intentAt: number;
  readonly account: StoredAccount;
  /**
   * Since the last token of this credential an attempt was interrupted or ended `unknown`: a token may have been issued
   * and lost, which would explain an `invalid_grant`.
   */
  readonly followsInterruption: boolean;
  /** No other account of the provider is active, or rests until some time. */
  readonly isLastUsable: boolean;
}

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

export type RefreshClaimResult =
  | ({ readonly result: 'claimed' } & RefreshClaim)
  /** The ceiling, or the wait after a failure; `nextAt` is when it opens. */
  | { readonly result: 'too_early'; readonly reason: 'ceiling' | 'backoff'; readonly nextAt: number }
  /** Another caller or instance is refreshing it. */
  | { readonly result: 'under_way'; readonly since: number }
  /** No such account, an API key, or out of service. */
  | { readonly result: 'not_refreshable'; readonly reason: string };

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

/** An attempt of unknown outcome. */
export interface InterruptedRefresh {
  readonly refreshId: string;
  readonly accountId: string;
  readonly intentAt: number;
}
