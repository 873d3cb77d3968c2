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
