import { expect, it } from 'vitest';
import { EventLog } from './event-log.ts';

it('holds the latest events and says which are gone', () => {
  const log = new EventLog(100);
  for (let index = 0; index < 50; index += 1) log.append(`event ${index}`.padEnd(10));
  expect(log.next).toBe(50);
  expect(log.first).toBeGreaterThan(39);
  expect(log.at(log.first)).toContain(`event ${log.first}`);
  expect(log.at(49)).toContain('event 49');
});

it('keeps the last event however large it is', () => {
  const log = new EventLog(10);
  log.append('a');
  log.append('x'.repeat(1_000));
  expect(log.at(1)).toHaveLength(1_000);
});

it('holds more for somebody who is reading, but not without end', () => {
  const log = new EventLog(100);
  let next = 0;
  const unwatch = log.watch(
    () => {},
    () => next,
  );
  for (let index = 0; index < 30; index += 1) log.append('x'.repeat(10));
  expect(log.first).toBe(0);
  next = 20;
  log.append('x'.repeat(10));
  expect(log.first).toBe(20);
  for (let index = 0; index < 40; index += 1) log.append('x'.repeat(10));
  expect(log.first).toBeGreaterThan(20);
  next = log.first;
  for (let index = 0; index < 20; index += 1) log.append('x'.repeat(10));
  unwatch();
  expect(log.next - log.first).toBeLessThanOrEqual(10);
});

it('tells watchers of every event and of the end, until they look away', () => {
  const log = new EventLog(100);
  let told = 0;
  const unwatch = log.watch(() => {
    told += 1;
  });
  log.append('a');
  log.close();
  unwatch();
  log.append('b');
  expect(told).toBe(2);
  expect(log.isClosed).toBe(true);
});
