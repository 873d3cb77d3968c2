import { describe, expect, it } from 'vitest';
import { judge, judgePool, judgeProvider, type Readiness } from './readiness.ts';

const served = ['warp', 'oz'];
const reasonOf = (accounts: Readiness): string | undefined => {
  const verdict = judge(accounts, served);
  return verdict.isReady ? undefined : verdict.reason;
};

describe('accounts are ready', () => {
  it.each<Readiness>([
    { warp: { open: 1, disabled: 5 } },
    { oz: { open_for_models: 1 } },
    { warp: { disabled: 1 }, oz: { open: 1 } },
  ])('with one that is open: %j', (accounts) => {
    expect(judge(accounts, served)).toEqual({ isReady: true });
  });
});

describe('the reason', () => {
  it('names what is in the way of each, and what to do, first what takes a person', () => {
    expect(reasonOf({ warp: { cooldown: 2, reauth_required: 1 }, oz: { reauth_required: 1 } })).toBe(
      'No account can answer: 2 need a new key or login (give it with "warp2api account replace" or "warp2api account login"), 2 are resting (that ends without your doing). "warp2api account list" shows each with its reason.',
    );
  });

  it('says a word it does not know as it is', () => {
    expect(reasonOf({ warp: { on_holiday: 1 } })).toContain('No account can answer: 1 on holiday.');
  });

  it.each<[Readiness, RegExp]>([
    [{}, /^There is no account in the pool: add one/],
    [{ openai: { open: 2 }, corp: { disabled: 1 } }, /warp and oz only.*\(but 2 of openai, 1 of corp, for/],
    [{ warp: { lend_gateway_only: 1 } }, /set the same GATEWAY_KEY/],
    [{ warp: { useless_models: 1 } }, /limited to models that it does not have/],
    [{ warp: { free_quota_spent: 1 } }, /on a free plan and stands still while another/],
  ])('of %j', (accounts, reason) => {
    expect(reasonOf(accounts)).toMatch(reason);
  });

  it('tells what passes from what does not', () => {
    const isPassing = (accounts: Readiness) => {
      const verdict = judge(accounts, served);
      return !verdict.isReady && verdict.isPassing;
    };
    expect([{ warp: { cooldown: 1, disabled: 1 } }, { warp: { leased: 1 } }].map(isPassing)).toEqual([
      true,
      true,
    ]);
    expect([{}, { warp: { disabled: 1 } }, { warp: { exhausted: 1 } }].map(isPassing)).toEqual([
      false,
      false,
      false,
    ]);
  });

  it('of one provider says that others may serve', () => {
    expect(judgeProvider({ warp: { open: 1 } }, 'oz')).toMatchObject({
      reason: expect.stringMatching(/no account of oz: add one with .*--provider oz.*another provider/),
    });
    expect(judgeProvider({ oz: { disabled: 1 } }, 'oz')).toMatchObject({
      reason: expect.stringMatching(/1 is disabled/),
    });
  });
});

it('the pool does its work with accounts that are lent, or are for gateways only', () => {
  for (const accounts of [
    { warp: { leased: 1 } },
    { warp: { lend_gateway_only: 1 } },
    { openai: { open: 1 } },
  ]) {
    expect(judgePool(accounts)).toEqual({ isReady: true });
  }
  expect(judgePool({ openai: { disabled: 1 } })).toMatchObject({ isReady: false });
});
