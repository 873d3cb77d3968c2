import type { Clock } from '../clock.ts';

/**
 * Limits lines of a log: the first occurrence is reported immediately, then at most one a minute. `count` is how many there
 * were since the last report.
 */
export function onceAMinute<Facts extends readonly unknown[]>(
  clock: Pick<Clock, 'monotonic'>,
  report: (count: number, ...facts: Facts) => void,
): (...facts: Facts) => void {
  let count = 0;
  let quietUntil = Number.NEGATIVE_INFINITY;
  return (...facts) => {
    count += 1;
    if (clock.monotonic() < quietUntil) return;
    report(count, ...facts);
    count = 0;
    quietUntil = clock.monotonic() + 60_000;
  };
}
