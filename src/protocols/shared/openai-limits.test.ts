import { describe, expect, it } from 'vitest';
import { readOpenaiLimits } from './openai-limits.ts';

const now = 1_000_000;
const tokens = (reset: string) => ({
  'x-ratelimit-limit-tokens': '150000',
  'x-ratelimit-remaining-tokens': '0',
  'x-ratelimit-reset-tokens': reset,
});

describe('limits in the headers of OpenAI', () => {
  it('are read as amounts and the time when some is left again', () => {
    const headers = {
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '57',
      'x-ratelimit-reset-requests': '3s',
      ...tokens('6m0s'),
    };
    expect(readOpenaiLimits(headers, now)).toEqual([
      { name: 'requests', limit: 60, remaining: 57, resetAt: now + 1_000 },
      { name: 'tokens', limit: 150_000, remaining: 0, resetAt: now + 360_000 },
    ]);
  });

  it.each([
    ['120ms', 120],
    ['8.64s', 8_640],
    ['1h2m3.5s', 3_723_500],
    ['2d', 172_800_000],
    ['20', 20_000],
  ])('take "%s" for %d ms', (reset, ms) => {
    expect(readOpenaiLimits(tokens(reset), now)[0]?.resetAt).toBe(now + ms);
  });

  it.each(['', 'soon', '-5s', '1s later', `${'9'.repeat(50)}s`])('have no time for "%s"', (reset) => {
    expect(readOpenaiLimits(tokens(reset), now)).toEqual([{ name: 'tokens', limit: 150_000, remaining: 0 }]);
  });

  it('are none without amounts', () => {
    expect(readOpenaiLimits({}, now)).toEqual([]);
    expect(readOpenaiLimits({ 'x-ratelimit-remaining-requests': 'many' }, now)).toEqual([]);
  });
});
