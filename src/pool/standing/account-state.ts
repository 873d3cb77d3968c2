import type { Fault } from '../../core/errors.ts';
import type { Outcome } from '../../core/outcome.ts';
import type { QuotaAnswer } from '../../core/provider.ts';
import { backoffMs } from '../../lib/backoff.ts';
import { afterUncheckedClaim, applyClaim, isClaimed } from './account-claims.ts';
import {
  failuresUntilRest,
  givenUp,
  iso,
  minute,
  noStreaks,
  type OutcomeEffect,
  type OutcomeSignal,
  quotaLeftRestMs,
  refreshTakesMs,
  reopened,
  rest,
  type Standing,
  type Streaks,
  type Surroundings,
  second,
  settle,
  unchanged,
} from './standing.ts';

/** The longest rest but one for want of a bearer. */
export const longestRetryAfterMs = 60 * minute;
const refusedRestMs = 15 * minute;
const refusalsUntilDisabled = 3;
/** Quota signals in a row that are believed although no figures can be had. */
const signalsUntilExhausted = 3;
const firstRecheckMs = 15 * minute;
const longestRecheckMs = 60 * minute;
/** How often the figures of an account in use are asked for; doubles while they stay the same. */
export const inUseCheckMs = 15 * minute;
export const longestIdleCheckMs = 4 * 60 * minute;

/** The standing after a turn on a live lease. Pure; never throws. */
export function applyOutcome(
  before: Standing,
  signal: OutcomeSignal,
  around: Surroundings,
  now: number,
): OutcomeEffect {
  const standing = settle(before, now);
  if (!isInService(standing)) return unchanged(standing);
  if (signal.isClaim || wouldEndKey(signal, around)) return applyClaim(standing, signal, around, now);
  switch (signal.outcome) {
    case 'success':
      return unchanged(afterSuccess(standing));
    case 'rate_limited':
      return unchanged(afterRateLimit(standing, signal, around, now));
    case 'quota_exhausted':
      return afterQuotaSignal(standing, signal, now);
    case 'unauthorized':
      return afterUnauthorized(standing, signal, around, now);
    case 'refused':
      return unchanged(afterRefusal(standing, around, now));
    case 'unavailable':
    case 'timeout':
    case 'protocol':
      return unchanged(afterFailure(standing, signal.outcome, around, now));
    case 'cancelled':
      return unchanged(standing);
  }
}

export type QuotaFinding =
  | { readonly type: 'answer'; readonly answer: QuotaAnswer }
  | {
      readonly type: 'failure';
      readonly code: string;
      readonly fault?: Fault;
      /** Holds no secret. */
      readonly message: string;
      /** Other accounts of the provider are in the same doubt. */
      readonly isWidespread?: boolean;
    };

/** Whether a failed question was answered by the provider itself, about the account. */
export function isAboutAccount(finding: QuotaFinding): boolean {
  return finding.type === 'failure' && (finding.fault ?? 'account') === 'account';
}

/**
 * Why it is asked what is left: a `quota_exhausted` outcome (`signal`), the same from a program (`claim`), the housekeeper
 * about an account known to work (`recheck`), or to find out whether the credential works at all (`proof`).
 */
export type QuotaCause = 'signal' | 'claim' | 'recheck' | 'proof';

export function applyQuota(
  before: Standing,
  finding: QuotaFinding,
  cause: QuotaCause,
  now: number,
): Standing {
  const standing = settle(before, now);
  if (!isInService(standing)) return standing;
  const remaining = finding.type === 'answer' ? remainingOf(finding.answer) : undefined;
  if (finding.type === 'failure' || remaining === undefined) {
    const failure =
      finding.type === 'failure'
        ? { code: finding.code, message: finding.message }
        : { code: 'no_figures', message: 'the answer held no figures' };
    if (cause === 'proof') {
      return isAboutAccount(finding) ? afterProofFailure(standing, failure, now) : standing;
    }
    if (cause === 'recheck') {
      // Nothing but an answer would end it: back for one holder at a time, who finds out what the provider would not say.
      const isLockedOut = standing.state === 'exhausted' && standing.until === null;
      return isLockedOut ? { ...reopened(standing), halfOpen: true } : standing;
    }
    // A vendor that has already said "spent" is believed over a query that says nothing.
    if (standing.state === 'exhausted') return standing;
    if (cause === 'claim') return afterUncheckedClaim(standing, failure);
    const quotaUnknown = standing.streaks.quotaUnknown + 1;
    const told = reportedReset(standing);
    const evidence = {
      outcome: 'quota_exhausted',
      reset_at: told === undefined ? null : iso(told),
      in_a_row: quotaUnknown,
      quota_query: failure,
      at: iso(now),
    };
    const counted = { ...standing, streaks: { ...standing.streaks, quotaUnknown } };
    const isWidespread = finding.type === 'failure' && finding.isWidespread === true;
    if (quotaUnknown < signalsUntilExhausted || isWidespread) {
      const restMs = backoffMs(quotaUnknown - 1, 5 * second, 5 * minute);
      return rest(counted, 'quota_unknown', now + restMs, evidence);
    }
    const until = told !== undefined && told > now ? told : null;
    return { ...counted, state: 'exhausted', until, reason: 'quota_unconfirmed', evidence, quotaSpent: true };
  }
  const evidence = { quota_query: figuresOf(finding.answer), at: iso(now) };
  const streaks = { ...standing.streaks, quotaUnknown: 0 };
  if (remaining > 0) {
    if (standing.state === 'exhausted') return { ...reopened(standing), streaks };
    const settled = { ...standing, quotaSpent: false, streaks };
    const isQuotaRest = standing.state === 'cooldown' && isQuotaReason(standing.reason);
    if (cause !== 'signal' && !(cause === 'claim' && isQuotaRest)) return settled;
    return rest(isQuotaRest ? reopened(settled) : settled, 'quota_left', now + quotaLeftRestMs, evidence);
  }
  // A reset brings credits back; it pays no bill and lifts no other limit.
  const isDeniedOtherwise = !isSpent(finding.answer);
  const answered = finding.answer.resetAt?.getTime();
  const told = reportedReset(standing);
  const until = [answered, told].find((time) => time !== undefined && time > now) ?? null;
  return {
    ...standing,
    state: 'exhausted',
    until: isDeniedOtherwise ? null : until,
    reason: isDeniedOtherwise ? 'quota_denied' : 'quota_exhausted',
    evidence,
    quotaSpent: true,
    streaks,
  };
}

export const freshStanding: Standing = {
  state: 'active',
  until: null,
  reason: null,
  evidence: null,
  halfOpen: false,
  quotaSpent: false,
  streaks: noStreaks,
};

/** When an unproved account is asked again: gently, for an upstream without the query is no fault of the account. */
export function nextProof(checksSoFar: number, now: number): number {
  return now + backoffMs(checksSoFar, minute, longestRecheckMs);
}

/**
 * When an account's figures are asked for again; null for one that is not in use. An early reset is noticed even where the
 * reset is known. Accounts in service are asked less and less while nothing changes; `spread`, 0 to 1, keeps those that
 * came together from asking together.
 */
export function nextQuotaCheck(
  standing: Standing,
  checksSoFar: number,
  now: number,
  spread = 0,
): number | null {
  switch (standing.state) {
    case 'exhausted':
      if (standing.until === null) return now + firstRecheckMs;
      return now + backoffMs(checksSoFar, firstRecheckMs, longestRecheckMs);
    case 'active':
    case 'cooldown':
      return now + Math.round(backoffMs(checksSoFar, inUseCheckMs, longestIdleCheckMs) * (1 + spread / 4));
    default:
      return null;
  }
}

/** The standing with nothing worse than a rest of `longestRestMs`: for accounts that cannot be repaired. */
export function softened(standing: Standing, longestRestMs: number, now: number): Standing {
  const latest = now + longestRestMs;
  switch (standing.state) {
    case 'active':
    case 'standby':
      return { ...standing, halfOpen: false, quotaSpent: false };
    default:
      return {
        ...standing,
        state: 'cooldown',
        until: Math.min(standing.until ?? latest, latest),
        halfOpen: false,
        quotaSpent: false,
        streaks: noStreaks,
      };
  }
}

function afterProofFailure(
  standing: Standing,
  failure: { readonly code: string; readonly message: string },
  now: number,
): Standing {
  const reasons: Record<string, string> = {
    upstream_unauthorized: 'probe_unauthorized',
    upstream_refused: 'probe_refused',
  };
  const reason = reasons[failure.code];
  if (reason === undefined) return standing;
  const evidence = { quota_query: failure, at: iso(now) };
  return givenUp(standing, 'reauth_required', reason, evidence);
}

/** Even the owner's program may have misread a proxy's page, and only a person can bring a given-up key back. */
function wouldEndKey({ outcome, isOwners }: OutcomeSignal, { token }: Surroundings): boolean {
  return isOwners === true && outcome === 'unauthorized' && token === null;
}

function afterSuccess(standing: Standing): Standing {
  const { claimsRestAgainAt } = standing.streaks;
  const streaks = { ...noStreaks, ...(claimsRestAgainAt !== undefined && { claimsRestAgainAt }) };
  if (standing.state === 'active') return { ...reopened(standing), streaks };
  // A limit has its own end; one success disproves a run of failures or a mere claim.
  if (standing.state === 'cooldown' && (standing.reason === 'upstream_failures' || isClaimed(standing))) {
    return { ...reopened(standing), streaks };
  }
  return { ...standing, halfOpen: false, streaks };
}

function afterRateLimit(
  standing: Standing,
  signal: OutcomeSignal,
  around: Surroundings,
  now: number,
): Standing {
  const { isSame, streaks } = incident(standing, 'rate_limited', around);
  const rateLimited = isSame ? Math.max(1, streaks.rateLimited) : streaks.rateLimited + 1;
  const asked = signal.retryAfterMs;
  const restMs =
    asked !== undefined && asked > 0
      ? Math.min(asked, longestRetryAfterMs)
      : backoffMs(rateLimited - 1, 5 * second, 5 * minute);
  const evidence = {
    outcome: 'rate_limited',
    retry_after_ms: asked ?? null,
    in_a_row: rateLimited,
    at: iso(now),
  };
  return rest({ ...standing, streaks: { ...streaks, rateLimited } }, 'rate_limited', now + restMs, evidence);
}

function afterQuotaSignal(standing: Standing, signal: OutcomeSignal, now: number): OutcomeEffect {
  if (standing.state === 'exhausted') return unchanged(standing);
  // A turn that ran beside the one whose signal is being looked into: the same bad moment.
  const isBeingChecked = standing.state === 'cooldown' && isQuotaReason(standing.reason);
  if (isBeingChecked && !isClaimed(standing)) return unchanged(standing);
  const evidence = {
    outcome: 'quota_exhausted',
    reset_at: signal.resetAt === undefined ? null : iso(signal.resetAt),
    at: iso(now),
  };
  const resting = rest({ ...standing, quotaSpent: true }, 'quota_check', now + quotaLeftRestMs, evidence);
  return { ...unchanged(resting), shouldCheckQuota: true };
}

function afterUnauthorized(
  standing: Standing,
  signal: OutcomeSignal,
  around: Surroundings,
  now: number,
): OutcomeEffect {
  if (signal.tokenVersion !== around.tokenVersion) return unchanged(standing);
  const evidence = { outcome: 'unauthorized', token_version: signal.tokenVersion, at: iso(now) };
  if (around.token !== null) {
    // Revoked early, or lapsed: another bearer is to be had, so this is a rest and not the end.
    const resting = rest(standing, 'token_rejected', now + refreshTakesMs, evidence);
    return { ...unchanged(resting), isBearerRejected: true };
  }
  return unchanged(givenUp(standing, 'reauth_required', 'api_key_rejected', evidence));
}

function afterRefusal(standing: Standing, around: Surroundings, now: number): Standing {
  const { isSame, streaks } = incident(standing, 'refused', around);
  const refused = isSame ? Math.max(1, streaks.refused) : streaks.refused + 1;
  const evidence = { outcome: 'refused', in_a_row: refused, at: iso(now) };
  const counted = { ...standing, streaks: { ...streaks, refused } };
  if (refused >= refusalsUntilDisabled) return givenUp(counted, 'disabled', 'refused_repeatedly', evidence);
  return rest({ ...counted, halfOpen: true }, 'refused', now + refusedRestMs, evidence);
}

function afterFailure(standing: Standing, outcome: Outcome, around: Surroundings, now: number): Standing {
  const { isSame, streaks } = incident(standing, 'upstream_failures', around);
  const failures = isSame ? streaks.failures : streaks.failures + 1;
  const counted = { ...standing, streaks: { ...streaks, failures } };
  if (failures < failuresUntilRest || around.isLastUsable) return counted;
  const restMs = backoffMs(failures - failuresUntilRest, 10 * second, 2 * minute);
  return rest(counted, 'upstream_failures', now + restMs, { outcome, in_a_row: failures, at: iso(now) });
}

/**
 * Whether a signal belongs to the bad moment that set the present cooldown. A holder of one slot that reports again
 * has tried again; sixteen turns that ran together report one moment sixteen times.
 */
function incident(
  standing: Standing,
  reason: string,
  around: Surroundings,
): { readonly isSame: boolean; readonly streaks: Streaks } {
  const isSame =
    standing.state === 'cooldown' &&
    standing.reason === reason &&
    !isClaimed(standing) &&
    standing.streaks.sameIncident < around.concurrentTurns;
  const sameIncident = isSame ? standing.streaks.sameIncident + 1 : 1;
  return { isSame, streaks: { ...standing.streaks, sameIncident } };
}

function isInService(standing: Standing): boolean {
  return standing.state === 'active' || standing.state === 'cooldown' || standing.state === 'exhausted';
}

function isQuotaReason(reason: string | null): boolean {
  return reason === 'quota_check' || reason === 'quota_unknown';
}

function reportedReset(standing: Standing): number | undefined {
  const told = standing.evidence?.['reset_at'];
  return typeof told === 'string' ? Date.parse(told) : undefined;
}

/** What is left, or undefined where the answer does not say. */
function remainingOf(answer: QuotaAnswer): number | undefined {
  if (answer.isAvailable === false) return 0;
  const left = leftBy(answer);
  // It is let in though its allowance is spent: it pays as it goes, or draws on something the figures do not hold.
  return answer.isAvailable === true && !(left !== undefined && left > 0) ? Number.POSITIVE_INFINITY : left;
}

function leftBy(answer: QuotaAnswer): number | undefined {
  if (answer.isUnlimited) return Number.POSITIVE_INFINITY;
  if (answer.remaining !== undefined) return answer.remaining;
  if (answer.limit === undefined || answer.used === undefined) return undefined;
  return answer.limit - answer.used;
}

function isSpent(answer: QuotaAnswer): boolean {
  const left = leftBy(answer);
  return (left !== undefined && left <= 0) || answer.denialReason === 'OUT_OF_CREDITS';
}

function figuresOf(answer: QuotaAnswer): Record<string, unknown> {
  return {
    is_unlimited: answer.isUnlimited,
    limit: answer.limit ?? null,
    used: answer.used ?? null,
    remaining: answer.remaining ?? null,
    reset_at: answer.resetAt?.toISOString() ?? null,
    ...(answer.isAvailable === undefined ? {} : { is_available: answer.isAvailable }),
    ...(answer.denialReason === undefined ? {} : { denial_reason: answer.denialReason }),
  };
}
