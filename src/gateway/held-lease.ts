import type { ProviderAccount } from '../core/provider.ts';
import type { LeasedAccount } from '../pool-api/schema.ts';

/** One turn's right to use an account. */
export interface TurnLease {
  readonly account: LeasedAccount;
  readonly sessionId: string;
  /** No other turn has used it: the pool has just lent the account. */
  readonly isFirst: boolean;
  /** Ends the turn's use; the account stays lent to this gateway for a while. Safe to call twice. */
  release(): void;
  /** No new turn here gets this account through this lease; given back when its last turn ends. */
  retire(): void;
  /** The pool named a newer bearer. */
  renewBearer(bearer: { idToken: string; tokenVersion: number; tokenExpiresAt: string | null }): void;
}

export interface LeaseDemand {
  readonly provider: string;
  /** The upstream model the account must be allowed to use; undefined: any account will do. */
  readonly model: string | undefined;
  readonly prefer?: string | undefined;
  /** The preference yields at once where that account is held and all its places are taken. */
  readonly isPreferenceSoft?: boolean;
  readonly exclude: ReadonlySet<string>;
  /** A free account ran out in this turn: no other free one may stand in for it. */
  readonly isFreeBarred?: boolean;
  /** Monotonic time until which waiting for a place makes sense. */
  readonly deadline: number;
  readonly signal: AbortSignal;
}

/** What is asked of an account, without how long to wait for it. */
export type AccountDemand = Omit<LeaseDemand, 'deadline' | 'signal'>;

/** A shared lease this gateway holds: a session of its own at the pool, with slots for several turns. */
export interface HeldLease {
  readonly sessionId: string;
  account: LeasedAccount;
  /** Monotonic time, as all times here; infinite for a bearer that does not expire. */
  tokenExpiresAt: number;
  slotsInUse: number;
  hasServed: boolean;
  isRetired: boolean;
  idleSince: number;
  /** At which the pool may take it back, counted from before the last call. */
  expiresAt: number;
  lastRenewedAt: number;
  /** One call about a lease at a time, so that no older answer overwrites a newer one. */
  renewing: Promise<void> | undefined;
  /** Its owner has changed the account: what it is now is being asked for. */
  changing: Promise<void> | undefined;
  /** Before which asking for more slots is in vain. */
  growAfter: number;
}

const tokenMarginMs = 10_000;
const leaseMarginMs = 2_000;

export function isLive(lease: HeldLease, now: number): boolean {
  return !lease.isRetired && lease.expiresAt - leaseMarginMs > now;
}

export function isTokenFresh(lease: HeldLease, now: number): boolean {
  return lease.tokenExpiresAt - tokenMarginMs > now;
}

export function isUsable(lease: HeldLease, now: number): boolean {
  return isLive(lease, now) && isTokenFresh(lease, now) && lease.changing === undefined;
}

export function suits({ account }: HeldLease, demand: AccountDemand): boolean {
  return (
    account.provider === demand.provider &&
    !demand.exclude.has(account.id) &&
    !(demand.isFreeBarred && account.free) &&
    (demand.model === undefined || account.models === null || account.models.includes(demand.model))
  );
}

/** A leased account as its provider needs it. */
export function providerAccountOf({ id_token, team_uid }: LeasedAccount): ProviderAccount {
  return { bearer: id_token, teamUid: team_uid ?? undefined };
}
