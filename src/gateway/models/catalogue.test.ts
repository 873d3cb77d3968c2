import { describe, expect, it } from 'vitest';
import type { UpstreamProvider } from '../../core/provider.ts';
import { createLineProvider } from '../testing/fake-upstream.ts';
import { Catalogue, costOf } from './catalogue.ts';

const named = (name: string): UpstreamProvider => createLineProvider(() => '', name);
const anthropic = {
  ...named('anthropic'),
  outbound: { relay: { dialect: 'messages' } },
} as unknown as UpstreamProvider;
const known = new Catalogue({});

describe('what is known of a model', () => {
  it('is what the catalogue says, of its dated version too', () => {
    const facts = known.profileOf(named('openai'), 'gpt-5-mini');
    expect(facts).toMatchObject({
      contextWindow: 400_000,
      maxOutput: 128_000,
      tools: true,
      vision: true,
      reasoning: true,
      structuredOutput: true,
      price: { input: 0.25, output: 2, cacheRead: 0.025 },
    });
    expect(known.profileOf(named('openai'), 'gpt-5-mini-2025-08-07')).toEqual(facts);
    expect(known.profileOf(named('azure-openai'), 'gpt-5-mini')).toEqual(facts);
  });

  it('is nothing for another provider, and names that objects have a use for', () => {
    expect(known.profileOf(named('local'), 'gpt-5-mini')).toEqual({});
    expect(known.profileOf(named('openai'), 'constructor')).toEqual({});
    expect(known.profileOf(named('constructor'), 'name')).toEqual({});
  });

  it('is what the owner says first, the nearest name before patterns, then what the provider lists', () => {
    const own = new Catalogue({
      '*': { maxOutput: 1 },
      'gpt-5*': { maxOutput: 2, contextWindow: 3 },
      'openai/gpt-5-mini': { maxOutput: 4 },
    });
    expect(own.profileOf(named('openai'), 'gpt-5-mini')).toMatchObject({
      maxOutput: 4,
      contextWindow: 3,
      price: { input: 0.25 },
    });
    expect(own.profileOf(named('local'), 'gpt-5-mini')).toEqual({ maxOutput: 2, contextWindow: 3 });
    const listed = { id: 'gpt-5-mini', contextWindow: 7, hasVision: false };
    expect(known.profileOf(named('openai'), 'gpt-5-mini', listed)).toMatchObject({
      contextWindow: 7,
      vision: false,
    });
    expect(own.profileOf(named('openai'), 'gpt-5-mini', listed)).toMatchObject({ contextWindow: 3 });
  });

  it.each([
    ['claude-3-5-sonnet-20241022', true],
    ['claude-3-haiku-20240307', true],
    ['claude-sonnet-4-20250514', true],
    ['claude-opus-4-5-20251101', true],
    ['claude-haiku-4-5', true],
    ['claude-opus-4-6', false],
    ['claude-sonnet-4.6', false],
    ['claude-sonnet-5', false],
    ['claude-fable-5', false],
    ['another', undefined],
  ])('whether %s goes on with an answer that was begun: %s', (model, isTaken) => {
    expect(known.profileOf(anthropic, model).prefill).toBe(isTaken);
  });

  it('of no other dialect than Messages is a prefill, unless the owner says so', () => {
    expect(known.profileOf(named('openai'), 'gpt-5-mini').prefill).toBeUndefined();
    expect(new Catalogue({ 'local/*': { prefill: true } }).profileOf(named('local'), 'x')).toEqual({
      prefill: true,
    });
  });
});

describe('what a turn cost', () => {
  const price = { input: 2, output: 10, cacheRead: 0.5, above: { tokens: 200_000, input: 4, output: 20 } };

  it('is counted with what the cache gave and took', () => {
    const usage = { inputTokens: 1_000, outputTokens: 100, cachedInputTokens: 400, cacheWriteTokens: 100 };
    expect(costOf(usage, price)).toBeCloseTo((500 * 2 + 400 * 0.5 + 100 * 2 + 100 * 10) / 1e6, 12);
    expect(costOf({ inputTokens: 200_001, outputTokens: 0 }, price)).toBeCloseTo((200_001 * 4) / 1e6, 12);
  });

  it('is what the upstream said, and unknown where price or usage is', () => {
    expect(costOf({ inputTokens: 1, outputTokens: 1, costCents: 3 }, price)).toBe(0.03);
    expect(costOf({ inputTokens: 1, outputTokens: 1 }, undefined)).toBeUndefined();
    expect(costOf(undefined, price)).toBeUndefined();
  });
});
