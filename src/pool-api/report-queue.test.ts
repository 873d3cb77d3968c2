import { expect, it } from 'vitest';
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

  // A flush takes a step for each session that it passes.
  let steps = 0;
  let isOver = false;
  const step = (): void => {
    steps += 1;
    if (!isOver) queueMicrotask(step);
  };
  queueMicrotask(step);
  await queue.flush();
  isOver = true;
  expect(steps).toBeLessThan(100);
});
