import {
  givenUp,
  iso,
  isTokenReason,
  reopened,
  rest,
  type Standing,
  second,
  settle,
  type TokenTimes,
} from './standing.ts';

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
