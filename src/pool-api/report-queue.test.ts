import { expect, it } from 'vitest';
import { cpuSecondsOf } from '../core/testing/cpu-time.ts';
import { ReportQueue } from './report-queue.ts';
import { reportItem } from './schema.ts';

it('sessions whose reports were dropped leave nothing behind', async () => {
  let isReachable = false;
  const queue = new ReportQueue({
    timing: { now: () => 0, monotonic: () => 0, after: () => () => {} },
    send: () => Promise.resolve(isReachable ? [] : undefined),
    onDropped: () => {},
  });
  const item = reportItem.parse({
    report_id: 'r',
    account_id: 'a',
    fence: 1,
    token_version: 1,
    outcome: 'success',
    at: '2030-01-01T00:00:00Z',
  });
  for (let count = 0; count < 20_000; count++) void queue.queue(`s${count}`, item);
  expect(queue.pending).toBe(1_000);
  isReachable = true;
  await queue.flush();
  expect(queue.pending).toBe(0);

  const seconds = await cpuSecondsOf(async () => {
    for (let count = 0; count < 600; count++) await queue.flush();
  });
  // Where each flush passes all those sessions, it takes seconds.
  expect(seconds).toBeLessThan(0.5);
});
