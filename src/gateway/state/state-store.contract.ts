import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import type { BufferedStore } from './buffered-store.ts';
import { maxEntryBytes } from './state-store.ts';

const bytes = (length: number, fill = 1) => new Uint8Array(length).fill(fill);
/** Stores answer one kind of byte array or another. */
const plain = (value: Uint8Array | undefined) => value && Uint8Array.from(value);
const hour = 60 * 60_000;

/** What every state store has to do. `open` makes an empty one that holds at most `maxBytes`. */
export function describeStateStore(
  name: string,
  open: (clock: ManualClock, maxBytes: number) => Promise<BufferedStore>,
): void {
  describe(name, () => {
    let clock: ManualClock;
    beforeEach(() => {
      clock = createManualClock();
    });

    /** Lets everything be written, by stores that take their own time. */
    const written = (store: BufferedStore) =>
      vi.waitFor(async () => {
        await clock.advance(200);
        expect(store.figures().unwritten).toBe(0);
      });

    async function storeOf(maxBytes = 1_000_000): Promise<BufferedStore> {
      const store = await open(clock, maxBytes);
      onTestFinished(() => store.close());
      return store;
    }

    it('keeps what it was given until it expires', async () => {
      const store = await storeOf();
      await store.put('key', bytes(3), 1_000);
      expect(plain(await store.get('key'))).toEqual(bytes(3));
      await clock.advance(999);
      expect(plain(await store.get('key'))).toEqual(bytes(3));
      await clock.advance(1);
      expect(await store.get('key')).toBeUndefined();
      expect(await store.claim('key')).toBeUndefined();
    });

    it('answers nothing for a key it never had', async () => {
      const store = await storeOf();
      expect([await store.get('key'), await store.claim('key')]).toEqual([undefined, undefined]);
    });

    it('gives a claimed entry to exactly one of many, and to none after', async () => {
      const store = await storeOf();
      await store.put('key', bytes(3), hour);
      const claims = await Promise.all(Array.from({ length: 50 }, () => store.claim('key')));
      expect(claims.filter((claim) => claim !== undefined).map(plain)).toEqual([bytes(3)]);
      await written(store);
      expect([await store.get('key'), await store.claim('key')]).toEqual([undefined, undefined]);
    });

    it('inserts for exactly one of many, and answers what is there to all others', async () => {
      const store = await storeOf();
      const found = await Promise.all(
        Array.from({ length: 20 }, (_, each) => store.insert('key', bytes(3, each), 1_000)),
      );
      const winner = found.indexOf(undefined);
      expect(found.filter((one) => one === undefined)).toHaveLength(1);
      expect(found.filter((one) => one !== undefined).map(plain)).toEqual(Array(19).fill(bytes(3, winner)));
      expect(store.figures().unwritten).toBe(0);
      expect(plain(await store.get('key'))).toEqual(bytes(3, winner));
      await clock.advance(1_000);
      expect(await store.insert('key', bytes(4), 1_000)).toBeUndefined();
      await store.claim('key');
      expect(await store.insert('key', bytes(5), 1_000)).toBeUndefined();
      expect(plain(await store.get('key'))).toEqual(bytes(5));
    });

    it('finds at once what is still being written', async () => {
      const store = await storeOf();
      const writing = store.put('key', bytes(3), hour);
      expect(plain(await store.get('key'))).toEqual(bytes(3));
      expect(plain(await store.claim('key'))).toEqual(bytes(3));
      await writing;
    });

    it('lets a claimed key be put again', async () => {
      const store = await storeOf();
      await store.put('key', bytes(3), hour);
      await store.claim('key');
      await store.put('key', bytes(4), hour);
      await written(store);
      expect(plain(await store.claim('key'))).toEqual(bytes(4));
    });

    it('replaces an entry whole and counts it once', async () => {
      const store = await storeOf(3_000);
      await store.put('a', bytes(500), hour);
      for (let count = 0; count < 20; count += 1) await store.put('b', bytes(1_000, count), hour);
      await written(store);
      expect(plain(await store.get('a'))).toEqual(bytes(500));
      expect(plain(await store.get('b'))).toEqual(bytes(1_000, 19));
    });

    it('holds no more than its bytes, and lets go of what was not used for longest', async () => {
      const store = await storeOf(3 * 1_250);
      for (const key of ['a', 'b', 'c']) {
        await store.put(key, bytes(1_000), hour);
        await written(store);
        await clock.advance(120_000);
      }
      await store.get('a');
      await written(store);
      await clock.advance(120_000);
      await store.put('d', bytes(1_000), hour);
      await written(store);
      const found = await Promise.all(
        ['a', 'b', 'c', 'd'].map(async (key) => (await store.get(key)) !== undefined),
      );
      expect(found).toEqual([true, false, true, true]);
    });

    it('stays within its bytes however much comes', async () => {
      const store = await storeOf(50_000);
      for (let count = 0; count < 200; count += 1) await store.put(`key ${count}`, bytes(1_000), hour);
      await written(store);
      await clock.advance(120_000);
      await vi.waitFor(() => {
        const { entries, bytes: held } = store.figures();
        expect(held).toBeLessThanOrEqual(50_000);
        expect(entries).toBeGreaterThan(30);
        expect(entries).toBeLessThanOrEqual(41);
      });
    });

    it('lets go of what has expired though nobody asks for it', async () => {
      const store = await storeOf();
      for (let count = 0; count < 20; count += 1) await store.put(`key ${count}`, bytes(100), 1_000);
      await clock.advance(2_000);
      for (let count = 0; count < 20; count += 1) await store.get(`key ${count}`);
      await store.put('other', bytes(100), hour);
      await written(store);
      await clock.advance(120_000);
      await vi.waitFor(() => expect(store.figures()).toMatchObject({ entries: 1, unwritten: 0 }));
    });

    it('does not keep an entry that is too large, and loses no other for it', async () => {
      const store = await storeOf(3_000);
      await store.put('a', bytes(500), hour);
      await store.put('huge', bytes(100), hour);
      await store.put('huge', bytes(10_000), hour);
      await written(store);
      expect(await store.get('huge')).toBeUndefined();
      expect(await store.get('a')).toBeDefined();
      const large = await storeOf(100_000_000);
      await large.put('huge', bytes(maxEntryBytes + 1), hour);
      expect(await large.get('huge')).toBeUndefined();
    });

    it('finds a short-lived entry immediately, once, and later as well', async () => {
      const store = await storeOf();
      await store.put('soon', bytes(3), hour, { isShortLived: true });
      await store.put('later', bytes(4), hour, { isShortLived: true });
      expect(plain(await store.claim('soon'))).toEqual(bytes(3));
      expect(await store.claim('soon')).toBeUndefined();
      await clock.advance(10_000);
      await written(store);
      expect(await store.get('soon')).toBeUndefined();
      expect(plain(await store.claim('later'))).toEqual(bytes(4));
      expect(await store.claim('later')).toBeUndefined();
      await store.put('later', bytes(5), hour, { isShortLived: true });
      expect(plain(await store.claim('later'))).toEqual(bytes(5));
      await clock.advance(10_000);
      expect(await store.claim('later')).toBeUndefined();
    });

    it('keeps an entry of some megabytes', async () => {
      const store = await storeOf(100_000_000);
      await store.put('large', bytes(5_000_000, 7), hour);
      await written(store);
      expect((await store.claim('large'))?.length).toBe(5_000_000);
    });
  });
}

/** For stores that outlive their process: `reopen` opens the same store again. */
export function describeLastingStateStore(
  name: string,
  open: (clock: ManualClock, maxBytes: number) => Promise<BufferedStore>,
  reopen: (clock: ManualClock, maxBytes: number) => Promise<BufferedStore>,
): void {
  describe(name, () => {
    it('has everything again after it was closed and opened', async () => {
      const clock = createManualClock();
      const before = await open(clock, 1_000_000);
      await before.put('kept', bytes(300, 9), hour);
      await before.put('claimed', bytes(3), hour);
      await before.put('replaced', bytes(3), hour);
      await clock.advance(500);
      await before.claim('claimed');
      await before.put('replaced', bytes(4), hour);
      await before.close();
      const after = await reopen(clock, 1_000_000);
      onTestFinished(() => after.close());
      expect(await after.claim('claimed')).toBeUndefined();
      expect(plain(await after.get('replaced'))).toEqual(bytes(4));
      expect(plain(await after.get('kept'))).toEqual(bytes(300, 9));
      const claims = await Promise.all(Array.from({ length: 20 }, () => after.claim('kept')));
      expect(claims.filter((claim) => claim !== undefined).map(plain)).toEqual([bytes(300, 9)]);
      await clock.advance(hour);
      expect(await after.get('replaced')).toBeUndefined();
    });

    it('lets go of the oldest when it is opened with less room', async () => {
      const clock = createManualClock();
      const before = await open(clock, 1_000_000);
      for (const key of ['a', 'b', 'c']) {
        await before.put(key, bytes(1_000), hour);
        await clock.advance(120_000);
      }
      await before.close();
      const after = await reopen(clock, 2_500);
      onTestFinished(() => after.close());
      await after.put('d', bytes(1_000), hour);
      await clock.advance(120_000);
      const found = await Promise.all(
        ['a', 'b', 'c', 'd'].map(async (key) => (await after.get(key)) !== undefined),
      );
      expect(found).toEqual([false, false, true, true]);
    });
  });
}
