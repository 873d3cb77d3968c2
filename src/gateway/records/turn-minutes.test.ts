import { expect, it } from 'vitest';
import { TurnMinutes } from './turn-minutes.ts';

const start = Date.UTC(2026, 10, 27, 12);
const minuteMs = 60_000;

it('counts every turn of the last half hour, and forgets those before', () => {
  const minutes = new TurnMinutes();
  for (let turn = 0; turn < 9_000; turn += 1) minutes.note('success', start + turn);
  minutes.note('upstream_timeout', start + minuteMs - 1);
  minutes.note('cancelled', start);
  minutes.note('success', start + minuteMs);
  const now = start + 29.5 * minuteMs;
  const latest = minutes.latest(now);
  expect(latest).toHaveLength(30);
  expect(latest.slice(0, 3).map(({ answered, failed }) => [answered, failed])).toEqual([
    [9_000, 1],
    [1, 0],
    [0, 0],
  ]);
  expect([latest[0]?.start, latest[29]?.start]).toEqual([
    '2026-11-27T12:00:00.000Z',
    '2026-11-27T12:29:00.000Z',
  ]);
  minutes.note('success', start + 30 * minuteMs);
  const later = minutes.latest(start + 30 * minuteMs);
  expect([later[0]?.answered, later[29]?.answered]).toEqual([1, 1]);
});
