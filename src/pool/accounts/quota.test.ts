import { expect, it } from 'vitest';
import { createTestClock } from '../testing/test-pool.ts';
import { QuotaDoubt } from './quota.ts';

const failure = { type: 'failure', code: 'upstream_unavailable', message: 'down' } as const;
const of = (id: string, provider = 'warp') => ({ id, provider });

it('three accounts of a provider without figures within minutes are the doubt of the provider', () => {
  const clock = createTestClock();
  const doubt = new QuotaDoubt(clock);
  const isWidespread = (id: string, provider?: string) =>
    (doubt.judged(of(id, provider), failure) as { isWidespread?: boolean }).isWidespread;
  expect([isWidespread('a'), isWidespread('a'), isWidespread('b'), isWidespread('x', 'other')]).toEqual([
    false,
    false,
    false,
    false,
  ]);
  expect(isWidespread('c')).toBe(true);
  doubt.judged(of('c'), { type: 'answer', answer: { isUnlimited: true } });
  expect(isWidespread('a')).toBe(false);
  expect(isWidespread('c')).toBe(true);
  clock.advance(11 * 60_000);
  expect(isWidespread('c')).toBe(false);
});
