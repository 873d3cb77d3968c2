import { expect, it } from 'vitest';
import { readRetryAfter } from './retry-after.ts';

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
