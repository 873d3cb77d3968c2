import { expect, it } from 'vitest';
import { openaiEffort } from './openai-models.ts';
import {
  askedBudget,
  askedEffort,
  budgetOf,
  effortOf,
  holdsOurSignature,
  ownSignature,
} from './reasoning.ts';

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

it.each([
  ['o3', 'low low medium high high high low'],
  ['gpt-5', 'minimal low medium high high high minimal'],
  ['gpt-5-mini-2025-08-07', 'minimal low medium high high high minimal'],
  ['gpt-5-codex', 'low low medium high high high low'],
  ['gpt-5-pro', 'high high high high high high high'],
  ['gpt-5-chat-latest', '- - - - - - -'],
  ['gpt-5.1', 'none low medium high high high none'],
  ['gpt-5.1-codex-max', 'low low medium high xhigh xhigh low'],
  ['gpt-5.2-chat-latest', 'medium medium medium medium medium medium medium'],
  ['gpt-5.2', 'none low medium high xhigh xhigh none'],
  ['gpt-5.3-codex', 'low low medium high xhigh xhigh low'],
  ['gpt-5.4-pro', 'medium medium medium high xhigh xhigh medium'],
  ['gpt-5.6-terra', 'none low medium high xhigh max none'],
  ['gpt-6', 'none low medium high xhigh max none'],
  ['openai/gpt-5.1', 'none low medium high high high none'],
  ['my-own', 'minimal low medium high xhigh xhigh none'],
])('the efforts that %s takes', (model, taken) => {
  const asked = ['minimal', 'low', 'medium', 'high', 'xhigh', 'max', 'none'];
  expect(asked.map((effort) => openaiEffort(model, { effort }) ?? '-').join(' ')).toBe(taken);
  expect(openaiEffort(model, { effort: 'newest' })).toBe('newest');
  expect(openaiEffort(model, {})).toBeUndefined();
  expect(openaiEffort(model, { budgetTokens: 0 }) ?? '-').toBe(
    model === 'my-own' ? '-' : taken.split(' ').at(-1),
  );
});

it('a signature of ours is found in the text of a request, and no other is taken for one', () => {
  const signature = ownSignature('some reasoning');
  const bodyWith = (text: string) => JSON.stringify({ messages: [{ thinking: 'so', signature: text }] });
  const found = [signature, signature.slice(2), 'EqQBCkYIBxgCKkA', ''].map((text) =>
    holdsOurSignature(bodyWith(text)),
  );
  expect(found).toEqual([true, false, false, false]);
});
