import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outcomes } from '../../core/outcome.ts';
import { applyOutcome, applyQuota, freshStanding, nextQuotaCheck, softened } from './account-state.ts';
import {
  type OutcomeSignal,
  type Standing,
  type Surroundings,
  settle,
  settleToken,
  type TokenTimes,
  withDeadToken,
  withFreshToken,
} from './standing.ts';

const now = Date.UTC(2026, 0, 1);
const second = 1000;
const minute = 60_000;
const hour = 60 * minute;
const around: Surroundings = {
  tokenVersion: 1,
  token: null,
  isLastUsable: false,
  concurrentTurns: 1,
};
const standingAfter = (
  standing: Standing,
  outcome: OutcomeSignal['outcome'],
  change: Partial<OutcomeSignal> = {},
  surroundings: Partial<Surroundings> = {},
  at = now,
): Standing =>
  applyOutcome(standing, { outcome, tokenVersion: 1, ...change }, { ...around, ...surroundings }, at)
    .standing;
const restOf = (standing: Standing, at = now) => (standing.until === null ? null : standing.until - at);

describe('a rate limit', () => {
  it('rests the account until the time the provider gave, an hour at most', () => {
    expect(restOf(standingAfter(freshStanding, 'rate_limited', { retryAfterMs: 7000 }))).toBe(7000);
    expect(restOf(standingAfter(freshStanding, 'rate_limited', { retryAfterMs: 86_400_000 }))).toBe(
      60 * minute,
    );
  });

  it('rests it for 5 s doubling to 5 min where no time is given', () => {
    let standing = freshStanding;
    const rests: (number | null)[] = [];
    for (let turn = 0; turn < 8; turn += 1) {
      standing = standingAfter(standing, 'rate_limited');
      rests.push(restOf(standing));
    }
    expect(rests).toEqual([5, 10, 20, 40, 80, 160, 300, 300].map((seconds) => seconds * second));
  });

  it('counts the turns that were under way together as one bad moment', () => {
    let standing = freshStanding;
    for (let turn = 0; turn < 16; turn += 1)
      standing = standingAfter(standing, 'rate_limited', {}, { concurrentTurns: 16 });
    expect(restOf(standing)).toBe(5 * second);
  });

  it('starts from 5 s again after a success, which does not reopen the account early', () => {
    const twice = standingAfter(standingAfter(freshStanding, 'rate_limited'), 'rate_limited');
    const calm = standingAfter(twice, 'success');
    expect(calm.state).toBe('cooldown');
    expect(
      restOf(standingAfter(settle(calm, now + minute), 'rate_limited', {}, {}, now + minute), now + minute),
    ).toBe(5000);
  });
});

describe('a refusal', () => {
  it('rests the account for 15 min, on trial afterwards, and disables it at the third in a row', () => {
    const once = standingAfter(freshStanding, 'refused');
    expect(once).toMatchObject({ state: 'cooldown', halfOpen: true, until: now + 15 * minute });
    expect(settle(once, now + 15 * minute)).toMatchObject({ state: 'active', halfOpen: true });
    const thrice = standingAfter(standingAfter(once, 'refused'), 'refused');
    expect(thrice).toMatchObject({
      state: 'disabled',
      reason: 'refused_repeatedly',
      evidence: { in_a_row: 3 },
    });
  });

  it('is forgotten after a success', () => {
    const tried = settle(
      standingAfter(standingAfter(freshStanding, 'refused'), 'refused'),
      now + 15 * minute,
    );
    expect(standingAfter(tried, 'success')).toEqual(freshStanding);
  });
});

describe('upstream failures', () => {
  it('do nothing until three in a row, then rest the account for 10 s doubling to 2 min', () => {
    let standing = standingAfter(standingAfter(freshStanding, 'unavailable'), 'timeout');
    expect(standing.state).toBe('active');
    const rests: (number | null)[] = [];
    for (let turn = 0; turn < 5; turn += 1) {
      standing = standingAfter(standing, 'protocol');
      rests.push(restOf(standing));
    }
    expect(rests).toEqual([10, 20, 40, 80, 120].map((seconds) => seconds * second));
    expect(standingAfter(standing, 'success')).toEqual(freshStanding);
  });

  it('never rest the last usable account', () => {
    let standing = freshStanding;
    for (let turn = 0; turn < 9; turn += 1)
      standing = standingAfter(standing, 'unavailable', {}, { isLastUsable: true });
    expect(standing.state).toBe('active');
  });
});

describe('a quota signal', () => {
  const signalled = standingAfter(freshStanding, 'quota_exhausted');
  const none = { isUnlimited: false, limit: 10, used: 10, remaining: 0 };
  const some = { isUnlimited: false, limit: 10, used: 1, remaining: 9 };

  it('rests the account for 5 s while the provider is asked', () => {
    expect(
      applyOutcome(freshStanding, { outcome: 'quota_exhausted', tokenVersion: 1 }, around, now),
    ).toMatchObject({
      shouldCheckQuota: true,
      standing: { state: 'cooldown', until: now + 5000, quotaSpent: true },
    });
  });

  it('exhausts the account until its reset when nothing is left, and reopens it when credits are back', () => {
    const resetAt = new Date(now + 60 * minute);
    const spent = applyQuota(signalled, { type: 'answer', answer: { ...none, resetAt } }, 'signal', now);
    expect(spent).toMatchObject({ state: 'exhausted', until: now + 60 * minute, reason: 'quota_exhausted' });
    expect(settle(spent, now + 60 * minute).state).toBe('active');
    expect(applyQuota(spent, { type: 'answer', answer: some }, 'recheck', now + minute).state).toBe('active');
    expect(standingAfter(spent, 'rate_limited')).toMatchObject({
      state: 'exhausted',
      until: now + 60 * minute,
    });
  });

  it('has an account without a known reset asked again every 15 min', () => {
    const spent = applyQuota(signalled, { type: 'answer', answer: none }, 'signal', now);
    expect(spent).toMatchObject({ state: 'exhausted', until: null });
    expect([0, 1, 5].map((checks) => nextQuotaCheck(spent, checks, 0))).toEqual([
      15 * minute,
      15 * minute,
      15 * minute,
    ]);
    const dated = { ...spent, until: now + 600 * minute };
    expect([0, 1, 2, 3].map((checks) => nextQuotaCheck(dated, checks, 0))).toEqual(
      [15, 30, 60, 60].map((minutes) => minutes * minute),
    );
  });

  it('has accounts in service asked after 15 min, doubling to 4 h, each a little off the others', () => {
    const atMinutes = (checks: number, spread: number) =>
      (nextQuotaCheck(freshStanding, checks, 0, spread) ?? 0) / minute;
    expect([0, 1, 2, 3, 4, 9].map((checks) => atMinutes(checks, 0))).toEqual([15, 30, 60, 120, 240, 240]);
    expect([0.2, 0.6, 1].map((spread) => atMinutes(0, spread))).toEqual([15.75, 17.25, 18.75]);
    expect(nextQuotaCheck({ ...freshStanding, state: 'disabled' }, 0, 0)).toBeNull();
    expect(nextQuotaCheck({ ...freshStanding, state: 'standby' }, 0, 0)).toBeNull();
  });

  it('rests the account for 5 s when something is left, and longer each time nobody can say', () => {
    const left = applyQuota(signalled, { type: 'answer', answer: some }, 'signal', now);
    expect(left).toMatchObject({
      state: 'cooldown',
      reason: 'quota_left',
      until: now + 5000,
      quotaSpent: false,
    });
    const failure = { type: 'failure' as const, code: 'upstream_timeout', message: 'no answer' };
    const once = applyQuota(signalled, failure, 'signal', now);
    const twice = applyQuota(once, failure, 'signal', now);
    expect([restOf(once), restOf(twice)]).toEqual([5000, 10_000]);
    expect(twice.evidence).toMatchObject({ quota_query: { code: 'upstream_timeout' } });
  });
});

describe('a spent quota without figures', () => {
  const failure = { type: 'failure' as const, code: 'upstream_timeout', message: 'no answer' };
  function signals(count: number, finding: Parameters<typeof applyQuota>[1], resetAt?: number): Standing {
    let standing = freshStanding;
    for (let at = now, index = 0; index < count; index += 1, at += minute) {
      const change = resetAt === undefined ? {} : { resetAt };
      standing = applyQuota(
        standingAfter(standing, 'quota_exhausted', change, {}, at),
        finding,
        'signal',
        at,
      );
    }
    return standing;
  }

  it('is believed at the third signal in a row, until the reset that the signal names, or the next check', () => {
    expect(signals(2, failure)).toMatchObject({ state: 'cooldown', reason: 'quota_unknown' });
    expect(signals(3, failure)).toMatchObject({
      state: 'exhausted',
      reason: 'quota_unconfirmed',
      until: null,
    });
    expect(signals(3, failure, now + hour)).toMatchObject({ state: 'exhausted', until: now + hour });
  });

  it('is doubted where several accounts are in the same doubt', () => {
    expect(signals(9, { ...failure, isWidespread: true })).toMatchObject({
      state: 'cooldown',
      reason: 'quota_unknown',
    });
  });

  it('counts turns that ran together as one signal', () => {
    let standing = freshStanding;
    for (let index = 0; index < 9; index += 1) {
      const effect = applyOutcome(standing, { outcome: 'quota_exhausted', tokenVersion: 1 }, around, now);
      expect(effect.shouldCheckQuota).toBe(index === 0);
      standing = effect.standing;
    }
  });
});

describe('a question about a new account that something on the way answers', () => {
  it.each(['upstream_refused', 'upstream_unauthorized'])('with %s says nothing about it', (code) => {
    const finding = { type: 'failure', code, fault: 'network', message: 'a page' } as const;
    expect(applyQuota(freshStanding, finding, 'proof', now)).toEqual(freshStanding);
    expect(applyQuota(freshStanding, { ...finding, fault: 'account' }, 'proof', now).state).toBe(
      'reauth_required',
    );
  });
});

describe('a rejected credential', () => {
  it('ends an account only when the token is the present one', () => {
    expect(standingAfter(freshStanding, 'unauthorized', { tokenVersion: 0 })).toEqual(freshStanding);
    expect(standingAfter(freshStanding, 'unauthorized')).toMatchObject({
      state: 'reauth_required',
      reason: 'api_key_rejected',
    });
  });
});

describe('any run of outcomes', () => {
  const step = fc.record({
    outcome: fc.constantFrom(...outcomes),
    retryAfterMs: fc.option(fc.integer({ min: 0, max: 31 * 86_400_000 }), { nil: undefined }),
    passMs: fc.integer({ min: 0, max: 30 * minute }),
    isLastUsable: fc.boolean(),
    concurrentTurns: fc.integer({ min: 1, max: 16 }),
  });
  const severity = { standby: 0, active: 0, cooldown: 1, exhausted: 2, reauth_required: 3, disabled: 3 };

  it('leaves no account out for ever, shortens no worse state and touches none on a cancel', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let standing = freshStanding;
        let time = now;
        for (const { outcome, retryAfterMs, passMs, ...surroundings } of steps) {
          time += passMs;
          const before = settle(standing, time);
          const signal = retryAfterMs === undefined ? {} : { retryAfterMs };
          standing = standingAfter(before, outcome, signal, surroundings, time);
          if (outcome === 'cancelled') expect(standing).toEqual(before);
          if (outcome !== 'success') {
            expect(severity[standing.state]).toBeGreaterThanOrEqual(severity[before.state]);
            if (standing.state === before.state && before.until !== null) {
              expect(standing.until).toBeGreaterThanOrEqual(before.until);
            }
          }
          if (standing.state === 'cooldown') {
            expect(standing.until).toBeGreaterThan(time);
            expect(standing.until).toBeLessThanOrEqual(time + 60 * minute);
          }
          if (standing.state !== 'active') expect(standing.reason).not.toBeNull();
          const soft = softened(standing, 5000, time);
          expect(settle(soft, time + 5000).state).toBe('active');
        }
      }),
    );
  });
});

describe('a bearer', () => {
  const token = (expiresAt: number | null, refreshAt: number | null = now + 30 * minute): TokenTimes => ({
    expiresAt,
    refreshAt,
  });
  const rejected = (at = now): Standing =>
    standingAfter(freshStanding, 'unauthorized', {}, { token: token(now + minute) }, at);

  it('keeps an account active until ten seconds before it expires', () => {
    expect(settleToken(freshStanding, token(now + 10 * second + 1), now)).toEqual(freshStanding);
    expect(settleToken(freshStanding, token(now + 10 * second), now)).toMatchObject({
      state: 'cooldown',
      reason: 'token_expired',
      until: now + 30 * minute,
    });
    expect(settleToken(freshStanding, null, now)).toEqual(freshStanding);
  });

  it('that is missing or lapsed is waited for anew when its time came and brought nothing', () => {
    const pending = settleToken(freshStanding, token(null), now);
    expect(pending).toMatchObject({ reason: 'token_pending', until: now + 30 * minute });
    const later = settleToken(pending, token(null), now + 30 * minute);
    expect(later).toMatchObject({ state: 'cooldown', reason: 'token_pending' });
    expect(restOf(later, now + 30 * minute)).toBeGreaterThan(0);
    expect(settleToken(later, token(null, now + hour), now + 30 * minute).until).toBe(now + hour);
  });

  it('that lapses takes nothing from an account that is out for another reason', () => {
    for (const state of ['exhausted', 'standby', 'disabled', 'reauth_required'] as const) {
      const standing = { ...freshStanding, state, reason: 'test' };
      expect(settleToken(standing, token(null), now)).toEqual(standing);
    }
  });

  it('that is rejected rests the account of a refresh token and ends that of an API key', () => {
    expect(rejected()).toMatchObject({ state: 'cooldown', reason: 'token_rejected' });
    expect(standingAfter(freshStanding, 'unauthorized')).toMatchObject({
      state: 'reauth_required',
      reason: 'api_key_rejected',
    });
    const old = standingAfter(freshStanding, 'unauthorized', { tokenVersion: 0 }, { token: token(null) });
    expect(old).toEqual(freshStanding);
  });

  it('that is fresh ends a rest for want of one, and no other', () => {
    expect(withFreshToken(rejected(), now)).toMatchObject({ state: 'active', reason: null });
    const limited = standingAfter(freshStanding, 'rate_limited', { retryAfterMs: minute });
    expect(withFreshToken(limited, now)).toEqual(limited);
  });

  it('whose refresh token is dead ends the account, but not what its owner disabled', () => {
    expect(withDeadToken(freshStanding, 'invalid_grant', {})).toMatchObject({
      state: 'reauth_required',
      reason: 'invalid_grant',
    });
    const disabled = { ...freshStanding, state: 'disabled' as const };
    expect(withDeadToken(disabled, 'invalid_grant', {})).toEqual(disabled);
  });
});
