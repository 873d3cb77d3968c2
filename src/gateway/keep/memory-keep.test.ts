import { beforeEach, expect, it } from 'vitest';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { createMemoryKeep } from './memory-keep.ts';

let clock: ManualClock;
beforeEach(() => {
  clock = createManualClock();
});

const bytes = (length: number, fill = 1) => new Uint8Array(length).fill(fill);

it('keeps what it was given until it expires', async () => {
  const keep = createMemoryKeep(clock, 10_000);
  await keep.put('key', bytes(3), 1_000);
  expect(await keep.get('key')).toEqual(bytes(3));
  await clock.advance(999);
  expect(await keep.get('key')).toEqual(bytes(3));
  await clock.advance(1);
  expect(await keep.get('key')).toBeUndefined();
  expect(await keep.claim('key')).toBeUndefined();
});

it('gives a claimed entry to exactly one of many', async () => {
  const keep = createMemoryKeep(clock, 10_000);
  await keep.put('key', bytes(3), 1_000);
  const claims = await Promise.all(Array.from({ length: 50 }, () => keep.claim('key')));
  expect(claims.filter((claim) => claim !== undefined).length).toBe(1);
  expect(await keep.get('key')).toBeUndefined();
});

it('holds no more than its bytes, and lets go of what was not used for longest', async () => {
  const keep = createMemoryKeep(clock, 3 * 1_200);
  for (const key of ['a', 'b', 'c']) await keep.put(key, bytes(1_000), 1_000);
  await keep.get('a');
  await keep.put('d', bytes(1_000), 1_000);
  const found = await Promise.all(
    ['a', 'b', 'c', 'd'].map(async (key) => (await keep.get(key)) !== undefined),
  );
  expect(found).toEqual([true, false, true, true]);
});

it('counts a replaced entry once', async () => {
  const keep = createMemoryKeep(clock, 3_000);
  await keep.put('a', bytes(500), 1_000);
  for (let count = 0; count < 20; count += 1) await keep.put('b', bytes(1_000, count), 1_000);
  expect(await keep.get('a')).toBeDefined();
  expect(await keep.get('b')).toEqual(bytes(1_000, 19));
});

it('does not let one entry that is too large push all others out', async () => {
  const keep = createMemoryKeep(clock, 3_000);
  await keep.put('a', bytes(500), 1_000);
  await keep.put('huge', bytes(10_000), 1_000);
  expect(await keep.get('huge')).toBeUndefined();
  expect(await keep.get('a')).toBeDefined();
});

it('forgets everything when it closes', async () => {
  const keep = createMemoryKeep(clock, 3_000);
  await keep.put('a', bytes(500), 1_000);
  await keep.close();
  expect(await keep.get('a')).toBeUndefined();
});
