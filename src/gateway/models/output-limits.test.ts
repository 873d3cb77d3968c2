import { expect, it } from 'vitest';
import { createLineProvider } from '../testing/fake-upstream.ts';
import { createManualClock } from '../testing/manual-clock.ts';
import { OutputLimits } from './output-limits.ts';

it('holds a model to what its upstream said, for an hour, and raises nothing', async () => {
  const clock = createManualClock();
  await clock.advance(1);
  const limits = new OutputLimits(clock);
  const route = { provider: createLineProvider(() => ''), model: 'm' };
  expect(limits.below(32_000, route)).toBeUndefined();
  limits.note(route, 16_384);
  expect(limits.below(32_000, route)).toEqual({ tokens: 16_384, from: 'earlier_refusal' });
  expect(limits.below(32_000, { ...route, ownMaxOutput: 8_192 })).toEqual({
    tokens: 8_192,
    from: 'configured',
  });
  expect(limits.below(32_000, { ...route, ownMaxOutput: 20_000 })?.tokens).toBe(16_384);
  expect(limits.below(32_000, { ...route, model: 'other' })).toBeUndefined();
  expect([16_384, 1_000, undefined].map((asked) => limits.below(asked, route))).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  await clock.advance(60 * 60_000 + 1);
  expect(limits.below(32_000, route)).toBeUndefined();
});
