import { expect, it } from 'vitest';
import { askedBudget, askedEffort, budgetOf, effortOf } from './reasoning-effort.ts';

it('every effort is worth a budget that is worth the effort', () => {
  const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'];
  expect(efforts.map((effort) => effortOf(budgetOf(effort) ?? Number.NaN))).toEqual(efforts);
});

it('a budget between two efforts is worth the nearer, and one beyond all the greatest', () => {
  expect([1, 2_048, 10_000, 31_999, 500_000].map(effortOf)).toEqual([
    'minimal',
    'low',
    'medium',
    'high',
    'max',
  ]);
});

it('what is not known or is left to the model stays open', () => {
  expect([effortOf(-1), budgetOf('huge'), budgetOf('constructor')]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

it('what the client said itself counts before what it is worth', () => {
  const both = { effort: 'low', budgetTokens: 9_000 };
  expect([askedEffort(both), askedBudget(both)]).toEqual(['low', 9_000]);
  expect([askedEffort({ budgetTokens: 9_000 }), askedBudget({ effort: 'low' })]).toEqual(['medium', 1_024]);
  expect([askedEffort({}), askedBudget({})]).toEqual([undefined, undefined]);
});
