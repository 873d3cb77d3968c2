import fc from 'fast-check';
import { expect, it } from 'vitest';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import { countedUsage, countTokens, estimateUsage, firstTokens, tokenPieces } from './token-count.ts';

it('counts as the o200k_base encoding does', () => {
  expect(countTokens('')).toBe(0);
  expect(countTokens('hello world')).toBe(2);
  expect(countTokens('The quick brown fox jumps over the lazy dog.')).toBe(10);
});

it('takes text that looks like a special token as text', () => {
  expect(countTokens('<|endoftext|>')).toBeGreaterThan(1);
  expect(firstTokens('a <|endoftext|> b', 3)).toBe('a <|');
});

it('cuts a text to its first tokens without breaking a character', () => {
  expect(firstTokens('hello world', 1)).toBe('hello');
  expect(firstTokens('hello world', 2)).toBe('hello world');
  expect(firstTokens('hello world', 9)).toBe('hello world');
  expect(firstTokens('hello', 0)).toBe('');
  for (let count = 0; count < 12; count += 1) {
    expect(firstTokens('🧿🪬𓂀', count).isWellFormed()).toBe(true);
  }
});

it('is not put out by an earlier cut in the middle of a character', () => {
  firstTokens('🧿🪬𓂀', 1);
  expect(firstTokens('hello world', 1)).toBe('hello');
});

it('makes every prefix of any text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), fc.nat(40), (text, count) => {
      const kept = firstTokens(text, count);
      expect(text.startsWith(kept)).toBe(true);
      if (countTokens(text) <= count) expect(kept).toBe(text);
    }),
  );
});

it('splits text into pieces of which only the last two may still change', () => {
  const unit = fc.constantFrom('a', 'B', ' ', '\n', "'", 's', '1', '.', '/', '\t', 'é', '你', '🧿', '\u0301');
  const text = fc.string({ unit, maxLength: 30 });
  fc.assert(
    fc.property(text, text, (before, after) => {
      const settled = tokenPieces(before).slice(0, -2);
      expect(tokenPieces(before + after).slice(0, settled.length)).toEqual(settled);
    }),
    { numRuns: 2_000 },
  );
});

it.each([
  ['spaces', ' '],
  ['letters', 'a'],
  ['ideographs', '你好'],
  ['dashes', '-'],
  ['slashes and lines', '/\n'],
])('counts a run of %s in time that does not grow with its square', (_name, part) => {
  // By the tokenizer alone each of these takes minutes.
  expect(countTokens(part.repeat(150_000 / part.length))).toBeGreaterThan(500);
});

it('estimates the usage of a turn, tools and calls included, images not', () => {
  const request = {
    ...plainTurn,
    messages: [
      { role: 'system', parts: [{ type: 'text', text: 'be brief' }] },
      {
        role: 'user',
        parts: [
          { type: 'text', text: 'hello world' },
          { type: 'image', mediaType: 'image/png', data: 'A'.repeat(10_000) },
        ],
      },
      { role: 'assistant', parts: [{ type: 'tool-call', id: 'c', name: 'read', arguments: '{}' }] },
    ],
    tools: [{ name: 'read', parameters: { type: 'object' } }],
  } as const;
  const estimate = estimateUsage(request, { text: 'hello world', reasoning: '', toolCalls: [] });
  expect(estimate).toMatchObject({ outputTokens: 2, isEstimated: true });
  expect(estimate.inputTokens).toBeGreaterThan(10);
  expect(estimate.inputTokens).toBeLessThan(60);
  const calls = [{ id: 'c', name: 'read', arguments: '{"path":"a"}' }];
  const refused = { text: '', refusal: 'hello world', reasoning: '', toolCalls: [] };
  expect(estimateUsage(request, refused).outputTokens).toBe(2);
  const thinking = estimateUsage(request, { text: '', reasoning: 'hello world', toolCalls: calls });
  expect(thinking).toMatchObject({ reasoningTokens: 2 });
  expect(thinking.outputTokens).toBeGreaterThan(6);
  const brought = { usage: undefined, characters: 8, passedCharacters: 0, end: undefined };
  expect(countedUsage(brought, { request, relayed: undefined }, false)).toMatchObject({
    outputTokens: 2,
    isEstimated: true,
  });
});

it("goes by an upstream's figures once the answer has ended, and before that by what came", () => {
  const usage = { inputTokens: 30, outputTokens: 1 };
  const asked = { request: { ...plainTurn, messages: [] }, relayed: { body: 'x'.repeat(400) } };
  const brought = { usage, characters: 20, passedCharacters: 60, end: { reason: 'stop' } } as const;
  expect(countedUsage(brought, asked, false)).toEqual(usage);
  const rough = { inputTokens: 30, outputTokens: 20, isEstimated: true };
  expect(countedUsage({ ...brought, end: undefined }, asked, false)).toEqual(rough);
  expect(countedUsage({ ...brought, usage: undefined }, asked, false)).toEqual({
    ...rough,
    inputTokens: 100,
  });
  const nothing = { usage: undefined, characters: 0, passedCharacters: 0, end: undefined };
  expect(countedUsage(nothing, asked, false)).toBeUndefined();
  const left = { inputTokens: 100, outputTokens: 0, isEstimated: true };
  expect(countedUsage(nothing, asked, true)).toEqual(left);
  expect(countedUsage({ ...nothing, usage }, asked, true)).toEqual(usage);
});
