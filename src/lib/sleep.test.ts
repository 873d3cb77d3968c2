import { expect, test, vi } from 'vitest';
import { systemClock } from './clock.ts';
import { sleep } from './sleep.ts';

test('a sleep ends with its time', async () => {
  const begun = performance.now();
  await sleep(systemClock, 20, undefined, true);
  expect(performance.now() - begun).toBeGreaterThan(15);
});

test('an abort ends it early and stops its timer', async () => {
  const abort = new AbortController();
  const cancel = vi.fn();
  const asleep = sleep({ after: () => cancel }, 60_000, abort.signal);
  abort.abort();
  await asleep;
  expect(cancel).toHaveBeenCalled();
  await sleep({ after: () => expect.fail('no timer') }, 60_000, abort.signal);
});
