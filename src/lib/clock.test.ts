import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it, onTestFinished, test, vi } from 'vitest';
import { type Clock, createSteadyClock, ListeningTime, sleep, systemClock, within } from './clock.ts';

function machine() {
  let wall = Date.UTC(2026, 0, 1);
  let monotonic = 5_000;
  let slept = 0;
  const clock: Clock = {
    now: () => wall,
    monotonic: () => monotonic,
    elapsed: () => 900_000 + monotonic + slept,
    after: () => () => {},
  };
  return {
    clock,
    steady: createSteadyClock(clock),
    set: (ms: number) => {
      wall += ms;
    },
    pass: (ms: number) => {
      wall += ms;
      monotonic += ms;
    },
    sleep: (ms: number) => {
      wall += ms;
      slept += ms;
    },
  };
}

const hour = 3_600_000;

it('what was due before is done as soon as possible, and Node warns of nothing', async () => {
  const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
  onTestFinished(() => warned.mockRestore());
  await new Promise<void>((resolve) => {
    systemClock.after(-5, resolve, true);
  });
  expect(warned).not.toHaveBeenCalled();
});

it('the steady clock goes with the wall clock', () => {
  const { clock, steady, pass } = machine();
  for (let minute = 0; minute < 60; minute += 1) {
    pass(60_000);
    expect(steady.now()).toBe(clock.now());
  }
});

it.each([
  ['forward', 3 * hour],
  ['backward', -3 * hour],
])('a step of the wall clock %s is followed at a tenth of the speed of time', (_word, step) => {
  const { clock, steady, set, pass } = machine();
  const before = steady.now();
  set(step);
  expect(steady.now()).toBe(before);
  pass(10_000);
  expect(steady.now()).toBe(before + 10_000 + Math.sign(step) * 1_000);
  for (let minute = 0; minute < 31 * 60; minute += 1) {
    const last = steady.now();
    pass(60_000);
    expect(steady.now()).toBeGreaterThan(last);
  }
  expect(steady.now()).toBe(clock.now());
});

it.each([
  ['forward', 56 * 365 * 24 * hour],
  ['backward', -25 * hour],
])('a step of the wall clock %s of more than a day is taken over at once', (_word, step) => {
  const { clock, steady, set, pass } = machine();
  pass(30_000);
  steady.now();
  set(step);
  expect(steady.now()).toBe(clock.now());
});

it('the steady clock goes on while the machine sleeps', () => {
  const { clock, steady, sleep, pass } = machine();
  pass(5_000);
  steady.now();
  sleep(8 * hour);
  pass(2_000);
  expect(steady.now()).toBe(clock.now());
});

it('a pause of the process hardly counts as time in which data could arrive', () => {
  const { clock, pass } = machine();
  const listening = new ListeningTime(clock);
  for (let tick = 0; tick < 10; tick += 1) {
    pass(500);
    listening.tick();
  }
  expect(listening.now()).toBe(5_000);
  pass(600_000);
  // What is read before the next tick comes no earlier than what was read before the pause.
  expect(listening.now()).toBe(7_000);
  expect(listening.tick()).toBe(7_000);
  pass(500);
  expect(listening.now()).toBe(7_500);
});

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

test('a task in time answers, with whatever it answers', async () => {
  expect(await within(Promise.resolve('done'), systemClock, 1_000)).toBe('done');
  const fail = (): never => expect.fail('not late');
  expect(await within(Promise.resolve(undefined), systemClock, 1_000, fail)).toBeUndefined();
  await expect(within(Promise.reject(new Error('it failed')), systemClock, 1_000)).rejects.toThrow(
    'it failed',
  );
});

test('a late task is answered for by what the caller says', async () => {
  // One that ends some time might be in time where this process pauses.
  const never = new Promise<string>(() => {});
  expect(await within(never, systemClock, 1)).toBeUndefined();
  expect(await within(never, systemClock, 1, () => 'instead')).toBe('instead');
  const giveUp = (): never => {
    throw new Error('too late');
  };
  await expect(within(never, systemClock, 1, giveUp)).rejects.toThrow('too late');
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
