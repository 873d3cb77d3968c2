import { once } from 'node:events';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { systemClock } from './clock.ts';
import { within } from './within.ts';

test('a task in time answers, with whatever it answers', async () => {
  expect(await within(Promise.resolve('done'), systemClock, 1_000)).toBe('done');
  const fail = (): never => expect.fail('not late');
  expect(await within(Promise.resolve(undefined), systemClock, 1_000, fail)).toBeUndefined();
  await expect(within(Promise.reject(new Error('it failed')), systemClock, 1_000)).rejects.toThrow(
    'it failed',
  );
});

test('a late task is answered for by what the caller says', async () => {
  expect(await within(delay(1_000, 'late', { ref: false }), systemClock, 1)).toBeUndefined();
  expect(await within(delay(1_000, 'late', { ref: false }), systemClock, 1, () => 'instead')).toBe('instead');
  const giveUp = (): never => {
    throw new Error('too late');
  };
  await expect(within(delay(1_000, 0, { ref: false }), systemClock, 1, giveUp)).rejects.toThrow('too late');
});

test('a task whose answer came while this process paused is not late', async () => {
  const { port1, port2 } = new MessageChannel();
  const answered = once(port2, 'message').then(([message]) => message.data ?? message);
  // Timers that are due have their turn before what has arrived.
  await nextTurn();
  port1.postMessage('there');
  const answer = within(answered, systemClock, 1);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  expect(await answer).toBe('there');
  port1.close();
});

test('the failure of a task that comes too late is not left unhandled', async () => {
  const { promise, reject } = Promise.withResolvers<void>();
  expect(await within(promise, systemClock, 1)).toBeUndefined();
  reject(new Error('late failure'));
  await nextTurn();
});
