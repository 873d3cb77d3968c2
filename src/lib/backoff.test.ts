import { expect, it, test } from 'vitest';
import { backoffMs, readRetryAfter, withJitter } from './backoff.ts';

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

const now = Date.UTC(2026, 0, 1, 12, 0, 0);
const day = 24 * 60 * 60_000;

it.each([
  ['7', 7_000],
  [' 7 ', 7_000],
  ['0', 0],
  ['0.25', 250],
  ['Thu, 01 Jan 2026 12:00:30 GMT', 30_000],
  ['Thu, 01 Jan 2026 11:00:00 GMT', 0],
  ['Thursday, 01-Jan-26 12:00:30 GMT', 30_000],
  ['9'.repeat(400), day],
  ['31536000', day],
  ['Fri, 01 Jan 2100 00:00:00 GMT', day],
  ['-5', undefined],
  ['soon', undefined],
  ['1e3', undefined],
  ['2100-01-01', undefined],
  ['', undefined],
])('reads %j as %s ms', (value, expected) => {
  expect(readRetryAfter({ 'retry-after': value }, now)).toBe(expected);
  expect(readRetryAfter({ 'retry-after': [value, '99'] }, now)).toBe(expected);
});

it('leaves a date alone where there is no clock to compare it with', () => {
  expect(readRetryAfter({ 'retry-after': 'Thu, 01 Jan 2026 12:00:30 GMT' })).toBeUndefined();
  expect(readRetryAfter({}, now)).toBeUndefined();
});

it('measures a date from the one the answer names', () => {
  const headers = { date: 'Thu, 01 Jan 2026 12:00:20 GMT', 'retry-after': 'Thu, 01 Jan 2026 12:00:30 GMT' };
  expect(readRetryAfter(headers, now)).toBe(10_000);
  expect(readRetryAfter({ ...headers, date: 'yesterday' }, now)).toBe(30_000);
});
