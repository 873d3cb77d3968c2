import { expect, it } from 'vitest';
import { AppError } from './errors.ts';

it.each([
  [undefined, 5],
  [0, 1],
  [2_000, 2],
  [10 * 60 * 60_000, 60],
])('tells clients when to come again after a rate limit of %s ms: in %i s', (retryAfterMs, seconds) => {
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  expect(new AppError('upstream_rate_limited', 'Slow down.', options).retryAfterSeconds).toBe(seconds);
});

it('tells clients to come again in 5 s where an overloaded upstream names no time', () => {
  expect(new AppError('model_unavailable', 'Overloaded.').retryAfterSeconds).toBe(5);
  expect(new AppError('model_unavailable', 'Overloaded.', { retryAfterMs: 9_000 }).retryAfterSeconds).toBe(9);
  expect(new AppError('upstream_unavailable', 'Broken.').retryAfterSeconds).toBeUndefined();
});
