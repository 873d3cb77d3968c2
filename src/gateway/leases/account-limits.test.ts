import { beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { LimitReading, Outbound } from '../../core/protocol.ts';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { AccountLimits } from './account-limits.ts';

const day = 86_400_000;
let clock: ManualClock;
let limits: AccountLimits;
let readings: readonly LimitReading[];
const outbound = { readLimits: () => readings } as unknown as Outbound;
beforeEach(() => {
  clock = createManualClock();
  limits = new AccountLimits(clock);
});

function answered(model: string, reading: Omit<LimitReading, 'resetAt'>, resetInMs?: number, id = 'one') {
  readings = [{ ...reading, ...(resetInMs !== undefined && { resetAt: clock.now() + resetInMs }) }];
  limits.noteHead({ id, provider: 'openai' }, outbound, model, {});
}
const spent = (model: string) => [...(limits.spentFor('openai', outbound, model)?.keys() ?? [])];

describe('the limits of an account', () => {
  it('leave it out for the family whose limit is used up, until the reset', async () => {
    answered('gpt-5', { name: 'requests', limit: 60, remaining: 0 }, 30_000);
    expect(spent('gpt-5')).toEqual(['one']);
    expect(spent('gpt-5-2026-01-31')).toEqual(['one']);
    expect(spent('gpt-5-mini')).toEqual([]);
    expect(limits.spentFor('groq', outbound, 'gpt-5')).toBeUndefined();
    await clock.advance(29_999);
    expect(spent('gpt-5')).toEqual(['one']);
    await clock.advance(1);
    expect(limits.spentFor('openai', outbound, 'gpt-5')).toBeUndefined();
  });

  it('are forgotten where a later answer has some left', () => {
    answered('gpt-5', { name: 'requests', remaining: 0 }, 30_000);
    answered('gpt-5', { name: 'tokens', remaining: 0 }, 60_000);
    answered('gpt-5', { name: 'tokens', remaining: 10 }, 60_000);
    expect(limits.spentFor('openai', outbound, 'gpt-5')?.get('one')?.reading.name).toBe('requests');
    answered('gpt-5', { name: 'requests', remaining: 1 }, 30_000);
    expect(spent('gpt-5')).toEqual([]);
  });

  it('count a window as used up from 98 percent', () => {
    answered('m', { name: '5h', usedPercent: 97.9 }, day);
    expect(spent('m')).toEqual([]);
    answered('m', { name: '5h', usedPercent: 98 }, day);
    expect(spent('m')).toEqual(['one']);
  });

  it('hold for every model where they are the account’s', () => {
    answered('claude-opus', { name: '5h', usedPercent: 100, isOfAccount: true }, day);
    expect(spent('claude-haiku')).toEqual(['one']);
  });

  it('leave nothing out whose reset is unknown or has passed, and nothing for ever', async () => {
    answered('m', { name: 'requests', remaining: 0 });
    answered('m', { name: 'tokens', remaining: 0 }, -1);
    expect(spent('m')).toEqual([]);
    answered('m', { name: 'requests', remaining: 0 }, 4_000 * day);
    await clock.advance(8 * day);
    expect(spent('m')).toEqual([]);
  });

  describe('after a 429', () => {
    const account = { id: 'one', provider: 'openai', free: false };
    const limited = (retryAfterMs?: number) =>
      new AppError('upstream_rate_limited', 'x', retryAfterMs === undefined ? {} : { retryAfterMs });
    const judge = (error: AppError) => limits.judged(error, account, outbound, 'gpt-5');

    it('are those of the model where its headers say so, and bar it for a minute at most', () => {
      answered('gpt-5', { name: 'requests', limit: 60, remaining: 0 }, 20_000);
      const error = judge(limited(90_000));
      expect(error).toMatchObject({
        fault: 'model',
        modelLimit: 'requests',
        retryAfterMs: 90_000,
        outcome: undefined,
      });
      const noted = limits.spentFor('openai', outbound, 'gpt-5')?.get('one');
      expect(noted?.until).toBe(clock.now() + 90_000);
      expect(noted?.barredUntil).toBe(clock.now() + 60_000);
    });

    it('are those of the model where the error says so, unless they pass soon', () => {
      const told = (retryAfterMs: number) =>
        new AppError('upstream_rate_limited', 'x', {
          retryAfterMs,
          resetAt: new Date(clock.now() + retryAfterMs),
          fault: 'model',
          modelLimit: 'PerMinutePerModel',
        });
      expect(judge(told(5_000))).toMatchObject({
        fault: 'account',
        modelLimit: undefined,
        retryAfterMs: 5_000,
        outcome: 'rate_limited',
      });
      expect(spent('gpt-5')).toEqual([]);
      expect(judge(told(45_000))).toMatchObject({ modelLimit: 'PerMinutePerModel', outcome: undefined });
      expect(spent('gpt-5')).toEqual(['one']);
      expect(spent('gpt-4')).toEqual([]);
    });

    it.each([
      ['no limit is used up', () => answered('gpt-5', { name: 'requests', remaining: 1 }, 20_000)],
      ['it is that of another model', () => answered('gpt-4', { name: 'requests', remaining: 0 }, 20_000)],
      ['it ends soon', () => answered('gpt-5', { name: 'requests', remaining: 0 }, 10_000)],
      [
        "one of the account's is used up too",
        () => {
          answered('gpt-5', { name: 'requests', remaining: 0 }, 20_000);
          answered('gpt-5', { name: '5h', usedPercent: 100, isOfAccount: true }, 20_000);
        },
      ],
    ])("are the account's where %s", (_case, told) => {
      told();
      const error = limited(5_000);
      expect(judge(error)).toBe(error);
    });
  });

  it('are the whole account’s where it is free and its quota for a model is spent', () => {
    const resetAt = new Date(clock.now() + day);
    const ofModel = { resetAt, fault: 'model', modelLimit: 'PerDayPerModel-FreeTier' } as const;
    const error = new AppError('upstream_quota_exhausted', 'x', ofModel);
    const judged = (free: boolean) =>
      limits.judged(error, { id: 'one', provider: 'google', free }, outbound, 'gemini-3-pro');
    expect(judged(true)).toMatchObject({ fault: 'account', outcome: 'quota_exhausted', resetAt });
    expect(judged(false)).toBe(error);
  });

  it('are bounded, the oldest first', () => {
    for (let at = 0; at < 1_001; at += 1) {
      answered('m', { name: 'requests', remaining: 0 }, 30_000, `account-${at}`);
    }
    expect(spent('m')).toHaveLength(1_000);
    expect(spent('m')).not.toContain('account-0');
  });
});
