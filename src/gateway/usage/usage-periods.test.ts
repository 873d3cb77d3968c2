import { expect, it } from 'vitest';
import { type AskedPeriod, periodBefore, periodOf, timeZoneName } from './usage-periods.ts';

it.each([
  ['today', 'UTC', '2026-11-26T12:30:00Z', '2026-11-25T00:00', '2026-11-25T12:30'],
  ['today', 'UTC', '2026-11-26T01:30:00Z', '2026-11-25T00:00', '2026-11-25T01:30'],
  ['today', 'Asia/Kolkata', '2026-11-26T18:45:00Z', '2026-11-25T18:30', '2026-11-25T18:45'],
  ['7d', 'UTC', '2026-11-26T01:30:00Z', '2026-11-13T00:00', '2026-11-19T01:30'],
  ['month', 'UTC', '2026-12-01T00:30:00Z', '2026-11-30T00:00', '2026-11-30T00:30'],
  ['month', 'UTC', '2026-03-31T23:30:00Z', '2026-01-29T00:00', '2026-02-28T23:30'],
  // Days of 23 and 25 hours, as the whole period and as the one before.
  ['yesterday', 'Europe/Berlin', '2026-03-30T10:00:00Z', '2026-03-27T23:00', '2026-03-28T23:00'],
  ['yesterday', 'Europe/Berlin', '2026-03-31T10:00:00Z', '2026-03-28T23:00', '2026-03-29T22:00'],
  ['yesterday', 'Europe/Berlin', '2026-10-26T10:00:00Z', '2026-10-23T22:00', '2026-10-24T22:00'],
  ['yesterday', 'Europe/Berlin', '2026-10-27T10:00:00Z', '2026-10-24T22:00', '2026-10-25T23:00'],
  ['today', 'Europe/Berlin', '2026-10-25T22:30:00Z', '2026-10-23T22:00', '2026-10-24T22:00'],
  ['24h', 'UTC', '2026-11-26T01:30:00Z', '2026-11-24T01:30', '2026-11-25T01:30'],
] as const)('compares %s in %s at %s with as many days before it', (period, tz, now, from, to) => {
  const asked: AskedPeriod = { period, tz };
  const before = periodBefore(periodOf(asked, Date.parse(now)), tz);
  expect([before.from, before.to].map((at) => new Date(at).toISOString().slice(0, 16))).toEqual([from, to]);
});

it('takes the zone of a machine that names none for UTC', () => {
  expect(timeZoneName.parse('Etc/Unknown')).toBe('UTC');
  expect(timeZoneName.safeParse('No/Such').success).toBe(false);
});
