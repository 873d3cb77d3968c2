import type { Outcome } from '../../core/outcome.ts';
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
