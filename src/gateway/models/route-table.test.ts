import { describe, expect, it } from 'vitest';
import type { ConfiguredCandidate, ConfiguredRoute } from '../../core/configured-routes.ts';
import { drawOrder, hindranceOf, RouteTable } from './configured-plans.ts';
import { matches } from './model-choice.ts';

const candidate = (provider: string, change: Partial<ConfiguredCandidate> = {}): ConfiguredCandidate => ({
  provider,
  model: 'm',
  tier: 1,
  weight: 1,
  when: {},
  labels: [],
  ...change,
});
const route = (model: string): ConfiguredRoute => ({
  model,
  candidates: [candidate('a')],
  delivery: 'stream',
  promptCache: 'auto',
});

describe('a pattern', () => {
  it.each([
    ['*', '', true],
    ['fast-*', 'fast-', true],
    ['fast-*', 'fas', false],
    ['*-mini', 'gpt-5-mini', true],
    ['a*a', 'a', false],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['*x*x', 'x', false],
    ['gpt-4.1', 'gpt-421', false],
    ['Fast-*', 'fast-1', false],
  ])('%s, asked for %s, fits: %s', (pattern, name, isFit) => {
    expect(matches(pattern, name)).toBe(isFit);
  });

  it('of many stars is compared in a moment', () => {
    expect(matches('*a'.repeat(128), `${'a'.repeat(100_000)}b`)).toBe(false);
  });
});

it('an exact name comes before patterns, and of these the one that says most', () => {
  const names = ['*', 'gpt-*', '*-mini', 'gpt-*-mini', 'g*t-*mini', 'gpt-5-mini'];
  const table = new RouteTable(names.map(route));
  const found = (name: string) => table.find(name)?.model;
  expect(['gpt-5-mini', 'gpt-6-mini', 'gpt-6', 'o9-mini', 'claude'].map(found)).toEqual([
    'gpt-5-mini',
    'gpt-*-mini',
    'gpt-*',
    '*-mini',
    '*',
  ]);
  expect(table.named.map(({ model }) => model)).toEqual(['gpt-5-mini']);
});

describe('the order of candidates', () => {
  it('is that of their tiers', () => {
    const three = [candidate('c', { tier: 3 }), candidate('a', { tier: 0.5 }), candidate('b', { tier: 2 })];
    expect(drawOrder(three, () => 0.5).map(({ provider }) => provider)).toEqual(['a', 'b', 'c']);
  });

  it('is drawn in a tier, each first as often as its weight says', () => {
    let seed = 1;
    const random = () => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed / 2_147_483_647;
    };
    const given = [candidate('often', { weight: 3 }), candidate('seldom'), candidate('last', { tier: 2 })];
    const counts: Record<string, number> = {};
    for (let turn = 0; turn < 4_000; turn += 1) {
      const order = drawOrder(given, random).map(({ provider }) => provider);
      expect(order.at(-1)).toBe('last');
      counts[order[0] ?? ''] = (counts[order[0] ?? ''] ?? 0) + 1;
    }
    expect(counts['often']).toBeGreaterThan(2_850);
    expect(counts['often']).toBeLessThan(3_150);
  });
});

it('a candidate says which of its conditions a request does not meet', () => {
  const traits = { hasTools: true, hasImages: false, tokens: 100, opening: undefined, isAnswered: false };
  const hindrance = (when: ConfiguredCandidate['when']) =>
    hindranceOf(candidate('a', { when }), () => traits);
  expect(hindrance({})).toBeUndefined();
  expect(hindrance({ tools: true, images: false, maxContext: 100 })).toBeUndefined();
  expect(hindrance({ tools: false })).toBe('tools');
  expect(hindrance({ images: true })).toBe('images');
  expect(hindrance({ maxContext: 99 })).toBe('context');
});
