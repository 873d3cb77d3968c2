import { expect, test } from 'vitest';
import { onceAMinute } from './once-a-minute.ts';

test('the first occurrence is reported immediately, those of the next minute together with the one after it', () => {
  let now = 0;
  const reports: unknown[] = [];
  const report = onceAMinute({ monotonic: () => now }, (count, reason: string) =>
    reports.push([count, reason]),
  );
  report('first');
  now = 59_999;
  report('second');
  expect(reports).toEqual([[1, 'first']]);
  now = 60_000;
  report('third');
  expect(reports).toEqual([
    [1, 'first'],
    [2, 'third'],
  ]);
});
