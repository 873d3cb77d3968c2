import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { maxEntryBytes, type OpenKeep } from './keep.ts';

const bytes = (length: number, fill = 1) => new Uint8Array(length).fill(fill);
/** Stores answer one kind of byte array or another. */
const plain = (value: Uint8Array | undefined) => value && Uint8Array.from(value);
const hour = 60 * 60_000;

/** What every keep has to do. `open` makes an empty one that holds at most `maxBytes`. */
export function describeKeep(
  name: string,
  open: (clock: ManualClock, maxBytes: number) => Promise<OpenKeep>,
): void {
  describe(name, () => {
    let clock: ManualClock;
    beforeEach(() => {
      clock = createManualClock();
    });

    /** Lets everything be written, by stores that take their own time. */
    const written = (keep: OpenKeep) =>
      vi.waitFor(async () => {
        await clock.advance(200);
        expect(keep.figures().unwritten).toBe(0);
      });

    async function keepOf(maxBytes = 1_000_000): Promise<OpenKeep> {
      const keep = await open(clock, maxBytes);
      onTestFinished(() => keep.close());
      return keep;
    }

    it('keeps what it was given until it expires', async () => {
      const keep = await keepOf();
      await keep.put('key', bytes(3), 1_000);
      expect(plain(await keep.get('key'))).toEqual(bytes(3));
      await clock.advance(999);
      expect(plain(await keep.get('key'))).toEqual(bytes(3));
      await clock.advance(1);
      expect(await keep.get('key')).toBeUndefined();
      expect(await keep.claim('key')).toBeUndefined();
    });

    it('answers nothing for a key it never had', async () => {
      const keep = await keepOf();
      expect([await keep.get('key'), await keep.claim('key')]).toEqual([undefined, undefined]);
    });

    it('gives a claimed entry to exactly one of many, and to none after', async () => {
      const keep = await keepOf();
      await keep.put('key', bytes(3), hour);
      const claims = await Promise.all(Array.from({ length: 50 }, () => keep.claim('key')));
      expect(claims.filter((claim) => claim !== undefined).map(plain)).toEqual([bytes(3)]);
      await written(keep);
      expect([await keep.get('key'), await keep.claim('key')]).toEqual([undefined, undefined]);
    });

    it('finds at once what is still being written', async () => {
      const keep = await keepOf();
      const writing = keep.put('key', bytes(3), hour);
      expect(plain(await keep.get('key'))).toEqual(bytes(3));
      expect(plain(await keep.claim('key'))).toEqual(bytes(3));
      await writing;
    });

    it('lets a claimed key be put again', async () => {
      const keep = await keepOf();
      await keep.put('key', bytes(3), hour);
      await keep.claim('key');
      await keep.put('key', bytes(4), hour);
      await written(keep);
      expect(plain(await keep.claim('key'))).toEqual(bytes(4));
    });

    it('replaces an entry whole and counts it once', async () => {
      const keep = await keepOf(3_000);
      await keep.put('a', bytes(500), hour);
      for (let count = 0; count < 20; count += 1) await keep.put('b', bytes(1_000, count), hour);
      await written(keep);
      expect(plain(await keep.get('a'))).toEqual(bytes(500));
      expect(plain(await keep.get('b'))).toEqual(bytes(1_000, 19));
    });

    it('holds no more than its bytes, and lets go of what was not used for longest', async () => {
      const keep = await keepOf(3 * 1_200);
      for (const key of ['a', 'b', 'c']) {
        await keep.put(key, bytes(1_000), hour);
        await written(keep);
        await clock.advance(120_000);
      }
      await keep.get('a');
      await written(keep);
      await clock.advance(120_000);
      await keep.put('d', bytes(1_000), hour);
      await written(keep);
      const found = await Promise.all(
        ['a', 'b', 'c', 'd'].map(async (key) => (await keep.get(key)) !== undefined),
      );
      expect(found).toEqual([true, false, true, true]);
    });

    it('stays within its bytes however much comes', async () => {
      const keep = await keepOf(50_000);
      for (let count = 0; count < 200; count += 1) await keep.put(`key ${count}`, bytes(1_000), hour);
      await written(keep);
      await clock.advance(120_000);
      await vi.waitFor(() => {
        const { entries, bytes: held } = keep.figures();
        expect(held).toBeLessThanOrEqual(50_000);
        expect(entries).toBeGreaterThan(30);
        expect(entries).toBeLessThanOrEqual(41);
      });
    });

    it('lets go of what has expired though nobody asks for it', async () => {
      const keep = await keepOf();
      for (let count = 0; count < 20; count += 1) await keep.put(`key ${count}`, bytes(100), 1_000);
      await clock.advance(2_000);
      for (let count = 0; count < 20; count += 1) await keep.get(`key ${count}`);
      await keep.put('other', bytes(100), hour);
      await written(keep);
      await clock.advance(120_000);
      await vi.waitFor(() => expect(keep.figures()).toMatchObject({ entries: 1, unwritten: 0 }));
    });

    it('does not keep an entry that is too large, and loses no other for it', async () => {
      const keep = await keepOf(3_000);
      await keep.put('a', bytes(500), hour);
      await keep.put('huge', bytes(100), hour);
      await keep.put('huge', bytes(10_000), hour);
      await written(keep);
      expect(await keep.get('huge')).toBeUndefined();
      expect(await keep.get('a')).toBeDefined();
      const large = await keepOf(100_000_000);
      await large.put('huge', bytes(maxEntryBytes + 1), hour);
      expect(await large.get('huge')).toBeUndefined();
    });

    it('keeps an entry of some megabytes', async () => {
      const keep = await keepOf(100_000_000);
      await keep.put('large', bytes(5_000_000, 7), hour);
      await written(keep);
      expect((await keep.claim('large'))?.length).toBe(5_000_000);
    });
  });
}

/** For keeps that outlive their process: `reopen` opens the same store again. */
export function describeLastingKeep(
  name: string,
  open: (clock: ManualClock, maxBytes: number) => Promise<OpenKeep>,
  reopen: (clock: ManualClock, maxBytes: number) => Promise<OpenKeep>,
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
