import { backoffMs } from '../../lib/backoff.ts';
import {
  failuresUntilRest,
  iso,
  minute,
  type OutcomeEffect,
  type OutcomeSignal,
  quotaLeftRestMs,
  reopened,
  rest,
  type Standing,
  type Surroundings,
  second,
  unchanged,
} from './standing.ts';

/** What reports of programs do to an account: they are claims, and only the provider's own answer counts for more. */

/** The longest rest for a claim; with the pause after it an account rests for claims at most half of the time. */
const longestClaimRestMs = 2 * minute;

/**
 * A claim is counted, and leads to a short rest at most. It neither proves an account nor ends its service, and undoes nothing
 * that the provider's own answers caused.
 */
export function applyClaim(
  standing: Standing,
  signal: OutcomeSignal,
  around: Surroundings,
  now: number,
): OutcomeEffect {
  const claims = (standing.streaks.claims ?? 0) + 1;
  const counted = { ...standing, streaks: { ...standing.streaks, claims } };
  const rested = (reason: string, restMs: number): Standing =>
    claimRest(counted, signal, reason, restMs, around, now);
  switch (signal.outcome) {
    case 'success':
      return unchanged(afterClaimedSuccess(standing));
    case 'cancelled':
      return unchanged(standing);
    case 'unauthorized':
      if (signal.tokenVersion !== around.tokenVersion) return unchanged(standing);
      return { ...unchanged(standing), shouldAskProvider: true };
    case 'refused': {
      const restMs = backoffMs(claims - 1, 5 * second, longestClaimRestMs);
      return { ...unchanged(rested('refused', restMs)), shouldAskProvider: true };
    }
    case 'quota_exhausted': {
      if (standing.state === 'exhausted') return unchanged(standing);
      const restMs = backoffMs(claims - 1, quotaLeftRestMs, longestClaimRestMs);
      return { ...unchanged(rested('quota_check', restMs)), shouldCheckQuota: true };
    }
    case 'rate_limited': {
      const asked = signal.retryAfterMs ?? 0;
      const restMs = asked > 0 ? asked : backoffMs(claims - 1, 5 * second, longestClaimRestMs);
      return unchanged(rested('rate_limited', restMs));
    }
    case 'unavailable':
    case 'timeout':
    case 'protocol': {
      if (claims < failuresUntilRest) return unchanged(counted);
      const restMs = backoffMs(claims - failuresUntilRest, 10 * second, longestClaimRestMs);
      return unchanged(rested('upstream_failures', restMs));
    }
  }
}

function afterClaimedSuccess(standing: Standing): Standing {
  const calm = { ...standing, streaks: { ...standing.streaks, claims: 0 } };
  // The holder of an account on trial has tried it; earlier refusals stay counted.
  if (standing.state === 'active') return { ...calm, halfOpen: false };
  const isDisproved = isClaimed(standing) && standing.reason === 'upstream_failures';
  return isDisproved ? reopened(calm) : calm;
}

/** After a claimed quota signal for which the provider gave no figures: the rest continues and its reason says so. */
export function afterUncheckedClaim(standing: Standing, failure: Readonly<Record<string, string>>): Standing {
  if (!isClaimed(standing) || standing.reason !== 'quota_check') return standing;
  return { ...standing, reason: 'quota_unknown', evidence: { ...standing.evidence, quota_query: failure } };
}

/**
 * A rest for a claim alone: short, followed by an equal time in which no claim causes another, and never of a provider's last
 * usable account, so that a program cannot stop all others by claims about all accounts.
 */
function claimRest(
  standing: Standing,
  { outcome, retryAfterMs }: OutcomeSignal,
  reason: string,
  wantedMs: number,
  { isLastUsable }: Surroundings,
  now: number,
): Standing {
  if (isLastUsable || now < (standing.streaks.claimsRestAgainAt ?? 0)) return standing;
  const restMs = Math.min(wantedMs, longestClaimRestMs);
  const evidence = {
    outcome,
    claimed: true,
    ...(retryAfterMs !== undefined && { retry_after_ms: retryAfterMs }),
    in_a_row: standing.streaks.claims ?? 0,
    at: iso(now),
  };
  const rested = rest(standing, reason, now + restMs, evidence);
  if (rested === standing) return standing;
  return { ...rested, streaks: { ...standing.streaks, claimsRestAgainAt: now + 2 * restMs } };
}

export function isClaimed({ state, evidence }: Standing): boolean {
  return state === 'cooldown' && evidence?.['claimed'] === true;
}
