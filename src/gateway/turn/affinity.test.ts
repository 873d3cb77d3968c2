import { beforeEach, describe, expect, it } from 'vitest';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { Affinity, affinityKeyOf } from './affinity.ts';

const minute = 60_000;
let clock: ManualClock;
let affinity: Affinity;
beforeEach(() => {
  clock = createManualClock();
  affinity = new Affinity(clock.monotonic, 30_000);
});
const session = (key = 'key', client = 'me', provider = 'warp') => affinity.sessionOf(client, provider, key);
const preferred = () => session().preferred();
const sought = (accountId: string) => session().answeredBy(accountId, 'sought');

describe('a session', () => {
  it('prefers the account that answered it', () => {
    expect(preferred()).toBeUndefined();
    sought('one');
    expect(preferred()).toBe('one');
  });

  it('is its own client’s, its own provider’s and goes by its whole key', () => {
    sought('one');
    for (const other of [session('ke'), session('key', 'you'), session('key', 'me', 'oz')]) {
      expect(other.preferred()).toBeUndefined();
    }
  });

  it('ends after an idle hour', async () => {
    sought('one');
    await clock.advance(59 * minute);
    session().answeredBy('one', 'remembered');
    await clock.advance(59 * minute);
    expect(preferred()).toBe('one');
    await clock.advance(minute);
    expect(preferred()).toBeUndefined();
  });

  it('keeps to one stand-in while its account is away, and returns to it', async () => {
    sought('one');
    sought('two');
    expect(preferred()).toBe('two');
    await clock.advance(minute);
    expect(preferred()).toBe('one');
    sought('one');
    expect(preferred()).toBe('one');
  });

  it('tries its account again every minute, and moves only after ten', async () => {
    sought('one');
    for (let minutes = 0; minutes < 10; minutes += 1) {
      sought('two');
      expect(preferred()).toBe('two');
      await clock.advance(minute);
      expect(preferred()).toBe('one');
    }
    sought('two');
    await clock.advance(5 * minute);
    expect(preferred()).toBe('two');
  });

  it('does not move for a turn that only found no place, or whose conversation is elsewhere', async () => {
    sought('one');
    session().answeredBy('two', 'full');
    session().answeredBy('three', 'remembered');
    expect(preferred()).toBe('one');
  });

  it('does not prefer an account that is slow, and prefers it again once it is not', async () => {
    sought('one');
    affinity.latency.note('one', 31_000);
    expect(preferred()).toBe('one');
    affinity.latency.note('one', 31_000);
    expect(preferred()).toBeUndefined();
    sought('two');
    expect(preferred()).toBe('two');
    for (const ms of [1_000, 1_000]) affinity.latency.note('one', ms);
    await clock.advance(minute);
    expect(preferred()).toBe('one');
  });

  it('forgets how slow an account was of which nothing is heard', async () => {
    sought('one');
    for (const ms of [90_000, 90_000]) affinity.latency.note('one', ms);
    expect(preferred()).toBeUndefined();
    await clock.advance(10 * minute);
    expect(preferred()).toBe('one');
  });

  it('never minds slowness where that is switched off', () => {
    affinity = new Affinity(clock.monotonic, 0);
    sought('one');
    for (const ms of [900_000, 900_000]) affinity.latency.note('one', ms);
    expect(preferred()).toBe('one');
  });

  it('is one of ten thousand at most, those used last', () => {
    sought('one');
    session('other').answeredBy('two', 'sought');
    for (let count = 0; count < 9_999; count += 1) {
      session().preferred();
      session(`key ${count}`).answeredBy('three', 'sought');
    }
    expect(preferred()).toBe('one');
    expect(session('other').preferred()).toBeUndefined();
  });
});

it.each(['x-session-id', 'x-session-affinity', 'session_id', 'session-id', 'x-claude-code-session-id'])(
  'the header %s names a session',
  (name) => {
    expect(affinityKeyOf({ [name]: 'abc' })).toBe('abc');
    expect(affinityKeyOf({ [name]: '' })).toBeUndefined();
  },
);

it('of several headers the first of our list counts', () => {
  expect(affinityKeyOf({ session_id: 'b', 'x-session-id': 'a' })).toBe('a');
  expect(affinityKeyOf({ 'x-request-id': 'a' })).toBeUndefined();
});
