import { expect, test } from 'vitest';
import { backoffMs, withJitter } from './backoff.ts';

test('the wait doubles with each failure, up to its limit, however many there were', () => {
  expect([0, 1, 2, 3, 4].map((failures) => backoffMs(failures, 100, 1_000))).toEqual([
    100, 200, 400, 800, 1_000,
  ]);
  expect(backoffMs(100_000, 100, 1_000)).toBe(1_000);
  expect(backoffMs(-1, 100, 1_000)).toBe(100);
});

test('jitter stays between its bounds', () => {
  expect(withJitter(1_000, 0.5, 1, () => 0)).toBe(500);
  expect(withJitter(1_000, 0.5, 1, () => 0.5)).toBe(750);
  expect(withJitter(1_000, 1, 1.25, () => 1)).toBe(1_250);
});
