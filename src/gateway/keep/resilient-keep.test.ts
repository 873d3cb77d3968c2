import { beforeEach, expect, it, vi } from 'vitest';
import { DatabaseError } from '../../db/errors.ts';
import { createManualClock, type ManualClock, settled } from '../testing/manual-clock.ts';
import type { OpenKeep } from './keep.ts';
import { createMemoryKeep } from './memory-keep.ts';
import { openResilientKeep } from './resilient-keep.ts';

const value = new Uint8Array([1, 2, 3]);
const hour = 60 * 60_000;
const told = { onAway: vi.fn(), onBack: vi.fn(), onFailure: vi.fn() };
let clock: ManualClock;
let store: OpenKeep;
/** What the store does when it is asked. */
let mood: 'well' | 'broken' | 'silent';
let isReachable: boolean;
let canOpen: boolean;
let cannotOpen: Error;
let lose: (error: unknown) => void;
let calls: number;
beforeEach(() => {
  for (const tell of Object.values(told)) tell.mockClear();
  clock = createManualClock();
  store = createMemoryKeep(clock, 1_000_000);
  mood = 'well';
  isReachable = true;
  canOpen = true;
  cannotOpen = new Error('held by another');
  calls = 0;
});

function open() {
  const moody = async <T>(ask: () => Promise<T>): Promise<T> => {
    calls += 1;
    if (mood === 'broken') throw new Error('the disk is full');
    if (mood === 'silent') await new Promise(() => {});
    return ask();
  };
  return openResilientKeep({
    async open(onLost) {
      if (!canOpen) throw cannotOpen;
      lose = onLost;
      return {
        ...store,
        figures: () => ({ ...store.figures(), isReachable }),
        close: async () => {},
        get: (key) => moody(() => store.get(key)),
        put: (key, given, ttlMs) => moody(() => store.put(key, given, ttlMs)),
        claim: (key) => moody(() => store.claim(key)),
      };
    },
    clock,
    spareBytes: 10_000,
    ...told,
  });
}

it('keeps in its own memory what the store could not take', async () => {
  const keep = await open();
  mood = 'broken';
  await keep.put('key', value, hour);
  expect(told.onFailure).toHaveBeenCalledOnce();
  expect(await keep.get('key')).toEqual(value);
  expect(await keep.claim('key')).toEqual(value);
});

it('says so when it cannot know, and not that nothing is there', async () => {
  const keep = await open();
  expect(await keep.get('key')).toBeUndefined();
  mood = 'broken';
  await expect(keep.get('key')).rejects.toThrow('the disk is full');
  await expect(keep.claim('key')).rejects.toThrow('rests');
});

it('leaves a store alone for a while after it failed, and then asks it again', async () => {
  const keep = await open();
  await keep.put('key', value, hour);
  mood = 'broken';
  await keep.get('key').catch(() => {});
  const before = calls;
  for (let count = 0; count < 20; count += 1) await keep.get('key').catch(() => {});
  expect(calls).toBe(before);
  mood = 'well';
  await clock.advance(5_000);
  expect(await keep.get('key')).toEqual(value);
});

it('moves what it kept meanwhile to the store once that works again', async () => {
  const keep = await open();
  mood = 'broken';
  await keep.put('key', value, hour);
  await keep.put('other', value, hour);
  expect(keep.figures().unwritten).toBe(2);
  mood = 'well';
  await clock.advance(5_000);
  await keep.get('another');
  await settled();
  expect(keep.figures().unwritten).toBe(0);
  expect(await store.get('key')).toEqual(value);
  expect(await store.get('other')).toEqual(value);
});

it('moves it also when nobody calls, and counts as writable again then', async () => {
  const keep = await open();
  mood = 'broken';
  await keep.put('key', value, hour);
  await clock.advance(10_000);
  expect(keep.figures()).toMatchObject({ unwritten: 1, isWritable: false });
  mood = 'well';
  await clock.advance(10_000);
  expect(keep.figures()).toMatchObject({ unwritten: 0, isWritable: true });
  expect(await store.get('key')).toEqual(value);
});

it('does not wait long for a store that does not answer', async () => {
  const keep = await open();
  mood = 'silent';
  const asked = expect(keep.claim('key')).rejects.toThrow('did not answer');
  await clock.advance(1_000);
  await asked;
});

it('starts without a store, tells it once, and moves to the store when it is there', async () => {
  canOpen = false;
  const keep = await open();
  expect(keep.figures().isReachable).toBe(false);
  await keep.put('key', value, hour);
  await keep.put('over', value, 1_000);
  expect(await keep.get('key')).toEqual(value);
  expect(await keep.get('nothing')).toBeUndefined();
  await clock.advance(90_000);
  expect(told.onAway).toHaveBeenCalledOnce();
  canOpen = true;
  await clock.advance(30_000);
  expect(told.onBack).toHaveBeenCalledOnce();
  expect(keep.figures().isReachable).toBe(true);
  expect(await store.get('key')).toEqual(value);
  expect(await store.get('over')).toBeUndefined();
  expect(await keep.claim('key')).toEqual(value);
  expect(await keep.claim('key')).toBeUndefined();
});

it('says that it cannot know while a server may hold what is asked for, from the start', async () => {
  canOpen = false;
  cannotOpen = new DatabaseError('database_unreachable', 'connect ECONNREFUSED');
  const keep = await open();
  await keep.put('key', value, hour);
  expect(await keep.get('key')).toEqual(value);
  await expect(keep.get('other')).rejects.toThrow('rests');
  await expect(keep.claim('other')).rejects.toThrow('rests');
  canOpen = true;
  await clock.advance(5_000);
  expect(await keep.get('other')).toBeUndefined();
});

it('leaves a store alone that does not answer, and writes at its end what it kept meanwhile', async () => {
  const keep = await open();
  isReachable = false;
  await keep.put('key', value, hour);
  await expect(keep.get('other')).rejects.toThrow('rests');
  expect([calls, keep.figures().isReachable]).toEqual([0, false]);
  isReachable = true;
  await keep.close();
  expect(await store.get('key')).toEqual(value);
});

it('opens a store anew that was lost under it', async () => {
  const keep = await open();
  lose(new Error('the thread is gone'));
  expect(told.onAway).toHaveBeenCalledOnce();
  await keep.put('key', value, hour);
  expect(await store.get('key')).toBeUndefined();
  await clock.advance(30_000);
  expect(await store.get('key')).toEqual(value);
});

it('tries no more once it is closed', async () => {
  canOpen = false;
  const keep = await open();
  await keep.close();
  expect(clock.waiting).toBe(0);
  await settled();
});
