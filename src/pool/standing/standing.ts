import type { Outcome } from '../../core/outcome.ts';
import type { Account } from '../../pool-api/account-schema.ts';
import type { AccountState } from '../../pool-api/schema.ts';

/** How an account stands: the part of it that outcomes change. Times are milliseconds since 1970. */
export interface Standing {
  readonly state: AccountState;
  /** When a cooldown or exhaustion ends without a further question; null when it does not. */
  readonly until: number | null;
  readonly reason: string | null;
  readonly evidence: Readonly<Record<string, unknown>> | null;
  /** Back on trial: one holder at a time until a success. */
  readonly halfOpen: boolean;
  /** The provider said the quota is spent, and nothing has said otherwise since. */
  readonly quotaSpent: boolean;
  readonly streaks: Streaks;
}

/** Outcomes in a row, each cleared by a success. */
export interface Streaks {
  readonly rateLimited: number;
  readonly refused: number;
  /** unavailable, timeout and protocol alike. */
  readonly failures: number;
  /** Quota signals that could not be checked. */
  readonly quotaUnknown: number;
  /** Signals that came since the present cooldown was last set or lengthened. */
  readonly sameIncident: number;
  /** Failures that programs claimed; a claimed success clears them too. */
  readonly claims?: number;
  /** Until then no claim makes the account rest: for as long after the last such rest as it took. */
  readonly claimsRestAgainAt?: number;
}

/** For a report that changes nothing but counts. */
export const noEffect = { shouldCheckQuota: false, isBearerRejected: false, shouldAskProvider: false };

export interface OutcomeSignal {
  readonly outcome: Outcome;
  readonly tokenVersion: number;
  readonly retryAfterMs?: number;
  readonly resetAt?: number;
  /** Reported by a program, not by a gateway, which reads the provider's answers itself and is believed. */
  readonly isClaim?: boolean;
  /** Reported with ADMIN_KEY, whose holder may change the account anyway. */
  readonly isOwners?: boolean;
}

export interface Surroundings {
  readonly tokenVersion: number;
  /** Null for an API key. */
  readonly token: TokenTimes | null;
  /** No other account of the provider is active. */
  readonly isLastUsable: boolean;
  /** Turns that may run on the account at a time: one bad moment can be reported that often. */
  readonly concurrentTurns: number;
}

export interface OutcomeEffect {
  readonly standing: Standing;
  /** Ask the provider now what is left. */
  readonly shouldCheckQuota: boolean;
  /** The bearer is of no more use: refresh as soon as that is allowed. */
  readonly isBearerRejected: boolean;
  /** A claim that would end the account's service: ask the provider whether it is so. */
  readonly shouldAskProvider: boolean;
}

/** What is known of a refresh-token account's bearer. */
export interface TokenTimes {
  /** When the bearer expires; null while there is none. */
  readonly expiresAt: number | null;
  /** When the next refresh may run; null when none will. */
  readonly refreshAt: number | null;
}

export const noStreaks: Streaks = {
  rateLimited: 0,
  refused: 0,
  failures: 0,
  quotaUnknown: 0,
  sameIncident: 0,
};

export const second = 1000;
export const minute = 60 * second;
export const failuresUntilRest = 3;
export const quotaLeftRestMs = 5 * second;

/** A cooldown until `until`, unless the account is already out for longer or for worse. */
export function rest(
  standing: Standing,
  reason: string,
  until: number,
  evidence: Readonly<Record<string, unknown>>,
): Standing {
  if (standing.state === 'exhausted') return standing;
  if (standing.state === 'cooldown' && standing.until !== null && standing.until > until) return standing;
  return { ...standing, state: 'cooldown', until, reason, evidence };
}

export function reopened(standing: Standing): Standing {
  return {
    ...standing,
    state: 'active',
    until: null,
    reason: null,
    evidence: null,
    halfOpen: false,
    quotaSpent: false,
  };
}

/** Out of service until a person does something. */
export function givenUp(
  standing: Standing,
  state: 'reauth_required' | 'disabled',
  reason: string,
  evidence: Readonly<Record<string, unknown>>,
): Standing {
  return { ...standing, state, until: null, reason, evidence, halfOpen: false };
}

/** Only a person can bring it back. */
export function isOutOfService({ state }: Pick<Standing, 'state'>): boolean {
  return state === 'disabled' || state === 'reauth_required';
}

export function unchanged(standing: Standing): OutcomeEffect {
  return { standing, ...noEffect };
}

/** Rests that end with another bearer. */
export const tokenReasons = ['token_pending', 'token_expired', 'token_rejected'] as const;

export function isTokenReason(reason: string | null): boolean {
  return tokenReasons.some((one) => one === reason);
}

export function iso(time: number): string {
  return new Date(time).toISOString();
}

/** Ends a cooldown or exhaustion whose time has come. */
export function settle(standing: Standing, now: number): Standing {
  const isOver =
    (standing.state === 'cooldown' || standing.state === 'exhausted') &&
    standing.until !== null &&
    standing.until <= now;
  return isOver ? { ...reopened(standing), halfOpen: standing.halfOpen } : standing;
}

/** The rules for bearers: an account without one that can be lent is never active. */

/** Bearers are lent until so long before they expire. */
export const lendMarginMs = 10 * second;
/** How long after its time a refresh is given before the account is looked at again. */
export const refreshTakesMs = 15 * second;

export function isLendable(token: TokenTimes, now: number): boolean {
  return token.expiresAt !== null && token.expiresAt - lendMarginMs > now;
}

/**
 * `settle`, and the rule for bearers: an account whose bearer is missing or lapsed is never active. It rests until its
 * next refresh, and goes on resting while that has brought nothing.
 */
export function settleToken(standing: Standing, token: TokenTimes | null, now: number): Standing {
  if (token === null || isLendable(token, now)) return settle(standing, now);
  const until = token.refreshAt !== null && token.refreshAt > now ? token.refreshAt : now + refreshTakesMs;
  if (standing.state === 'cooldown' && isTokenReason(standing.reason)) {
    const isAhead = standing.until !== null && standing.until > now;
    const isUnderWay = token.refreshAt === null || token.refreshAt <= now;
    return isAhead && isUnderWay ? standing : { ...standing, until };
  }
  const settled = settle(standing, now);
  if (settled.state !== 'active') return settled;
  return token.expiresAt === null
    ? rest(settled, 'token_pending', until, { bearer: 'none yet' })
    : rest(settled, 'token_expired', until, { bearer_expires_at: iso(token.expiresAt) });
}

/** The standing after a refresh gave a bearer: only a rest for want of one ends. */
export function withFreshToken(before: Standing, now: number): Standing {
  const standing = settle(before, now);
  if (standing.state !== 'cooldown' || !isTokenReason(standing.reason)) return standing;
  return { ...reopened(standing), halfOpen: standing.halfOpen };
}

export function withDeadToken(
  standing: Standing,
  reason: string,
  evidence: Readonly<Record<string, unknown>>,
): Standing {
  if (standing.state === 'disabled') return standing;
  return givenUp(standing, 'reauth_required', reason, evidence);
}

type StatusEnd = Omit<NonNullable<Account['status_end']>, 'at'> & { readonly at: number | null };

/** What ends a status, and what its owner can do about it; null for an account that is active. */
export function statusEnd(
  { state, reason, until }: Pick<Standing, 'state' | 'reason' | 'until'>,
  due: { readonly nextCheckAt: number | null; readonly nextRefreshAt: number | null },
): StatusEnd | null {
  switch (state) {
    case 'active':
      return null;
    case 'standby':
      return { by: 'replenishing', at: null, action: 'enable' };
    case 'cooldown':
      if (isTokenReason(reason)) return { by: 'refresh', at: due.nextRefreshAt ?? until, action: null };
      return { by: 'time', at: until, action: null };
    case 'exhausted':
      if (until !== null) return { by: 'time', at: until, action: null };
      return { by: 'check', at: due.nextCheckAt, action: null };
    case 'reauth_required':
      return { by: 'owner', at: null, action: reason === 'account_gone' ? 'remove' : 'replace_credential' };
    case 'disabled':
      return { by: 'owner', at: null, action: 'enable' };
  }
}
