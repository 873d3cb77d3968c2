import { setTimeout as delay } from 'node:timers/promises';
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

test('the failure of a task that comes too late is not left unhandled', async () => {
  const failing = delay(5).then(() => Promise.reject(new Error('late failure')));
  expect(await within(failing, systemClock, 1)).toBeUndefined();
  await delay(10);
});
