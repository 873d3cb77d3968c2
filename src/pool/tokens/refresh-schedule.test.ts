import { describe, expect, it } from 'vitest';
import { leastInterval, nextRefreshAfter, retryAfter } from './refresh.ts';

const minute = 60_000;
const hour = 60 * minute;
const token = { issuedAt: 0, expiresAt: 3 * hour, opensAt: hour, isLastUsable: false, random: () => 0 };
const failed = {
  failure: 'refused' as const,
  now: 0,
  inARow: 1,
  retryAfterMs: undefined,
  isLastUsable: false,
  random: () => 0,
};

describe('the next refresh', () => {
  it('is due five minutes before the token expires, or later: never in step, never after it lapsed', () => {
    expect(nextRefreshAfter(token)).toBe(3 * hour - 5 * minute);
    const latest = nextRefreshAfter({ ...token, random: () => 1 });
    expect(latest).toBe(3 * hour - 3 * minute);
    const tight = { ...token, opensAt: 3 * hour - minute, random: () => 1 };
    expect(nextRefreshAfter(tight)).toBeLessThan(3 * hour - 10_000);
    expect(nextRefreshAfter(tight)).toBeGreaterThan(tight.opensAt);
  });

  it('of the last usable account is not put off', () => {
    expect(nextRefreshAfter({ ...token, isLastUsable: true, random: () => 1 })).toBe(3 * hour - 5 * minute);
  });

  it('is due the moment the ceiling opens where that is after the token has lapsed', () => {
    expect(nextRefreshAfter({ ...token, expiresAt: hour, random: () => 1 })).toBe(hour);
    expect(nextRefreshAfter({ ...token, expiresAt: minute, random: () => 1 })).toBe(hour);
  });

  it('of a short-lived token is due when three quarters of its life are over', () => {
    const short = { ...token, expiresAt: 2 * minute, opensAt: 1000, isLastUsable: true };
    expect(nextRefreshAfter(short)).toBe(1.5 * minute);
  });

  it('is an hour away at least, save where the token host is this machine', () => {
    expect(leastInterval(minute, false)).toBe(hour);
    expect(leastInterval(2 * hour, false)).toBe(2 * hour);
    expect(leastInterval(minute, true)).toBe(minute);
    expect(leastInterval(0, true)).toBe(1000);
  });
});

describe('the wait after a failure', () => {
  it('doubles from five minutes to six hours', () => {
    const waits = [1, 2, 3, 7, 8, 40].map((inARow) => retryAfter({ ...failed, inARow }) / minute);
    expect(waits).toEqual([5, 10, 20, 320, 360, 360]);
  });

  it('is as long as the answer asks for, a day at most', () => {
    expect(retryAfter({ ...failed, retryAfterMs: hour })).toBe(hour);
    expect(retryAfter({ ...failed, retryAfterMs: 1000 })).toBe(5 * minute);
    expect(retryAfter({ ...failed, retryAfterMs: 999 * hour })).toBe(24 * hour);
  });

  it('is short where nobody was asked', () => {
    const waits = [1, 2, 9].map((inARow) => retryAfter({ ...failed, failure: 'unsent', inARow }));
    expect(waits).toEqual([15_000, 30_000, 5 * minute]);
  });

  it('is spread forward, but not for the last usable account', () => {
    expect(retryAfter({ ...failed, random: () => 1 })).toBe(6.25 * minute);
    expect(retryAfter({ ...failed, random: () => 1, isLastUsable: true })).toBe(5 * minute);
  });
});
