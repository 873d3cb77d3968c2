import { setImmediate } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { ReportQueue } from './report-queue.ts';
import { reportItem } from './schema.ts';

const item = reportItem.parse({
  report_id: 'r',
  account_id: 'a',
  fence: 1,
  token_version: 1,
  outcome: 'success',
  at: '2030-01-01T00:00:00Z',
});

it('sessions whose reports were dropped leave nothing behind', async () => {
  let isReachable = false;
  const queue = new ReportQueue({
    timing: { now: () => 0, monotonic: () => 0, elapsed: () => 0, after: () => () => {} },
    send: () => Promise.resolve(isReachable ? [] : undefined),
    onDropped: () => {},
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

it('nothing is added to a report that was dropped as soon as it came', async () => {
  let isReachable = false;
  let sent = 0;
  let dropped = 0;
  const queue = new ReportQueue({
    timing: { now: () => 0, monotonic: () => 0, elapsed: () => 0, after: () => () => {} },
    async send(_sessionId, _items, count) {
      if (!isReachable) return undefined;
      sent += count;
      return [];
    },
    onDropped: (count) => {
      dropped += count;
    },
  });
  for (let count = 0; count < 1_000; count++) await queue.send('s', { ...item, outcome: 'unavailable' });
  for (let count = 0; count < 10; count++) void queue.queue('s', item);
  expect(queue.pending).toBe(1_000);
  isReachable = true;
  await queue.flush();
  expect([queue.pending, sent, dropped]).toEqual([0, 1_000, 10]);
});

it('goes on after a flush that found nothing, as a second after an incident that was sent at once', async () => {
  const sent: string[] = [];
  let ring = (): void => {};
  const queue = new ReportQueue({
    timing: {
      now: () => 0,
      monotonic: () => 0,
      elapsed: () => 0,
      after(_ms, callback) {
        ring = callback;
        return () => {};
      },
    },
    async send(_sessionId, items) {
      sent.push(...items.map(({ outcome }) => outcome));
      return [];
    },
    onDropped: () => {},
  });
  await queue.send('s', { ...item, outcome: 'rate_limited' });
  ring();
  await setImmediate();
  for (let count = 0; count < 3; count += 1) {
    void queue.queue('s', item);
    ring();
    await setImmediate();
  }
  expect(sent).toEqual(['rate_limited', 'success', 'success', 'success']);
  expect(queue.pending).toBe(0);
});
