import { beforeEach, expect, it, vi } from 'vitest';
import { createManualClock } from '../testing/manual-clock.ts';
import { maxEntryBytes } from './keep.ts';
import { createMemoryKeep } from './memory-keep.ts';
import { createSealedKeep } from './sealed-keep.ts';

const secret = 'conversation:what only its client knows';
const value = Buffer.from('the words of a conversation');
const onUnreadable = vi.fn();
beforeEach(() => onUnreadable.mockClear());

/** A keep whose store can be looked into. */
function storeInView() {
  const store = createMemoryKeep(createManualClock(), 1_000_000);
  const written: { key: string; value: Uint8Array }[] = [];
  const keep = createSealedKeep(
    {
      ...store,
      async put(key, sealed, ttlMs) {
        written.push({ key, value: sealed });
        await store.put(key, sealed, ttlMs);
      },
    },
    onUnreadable,
  );
  return { store, keep, written };
}

it('gives back what was put to whoever knows the secret, once when it is claimed', async () => {
  const { keep } = storeInView();
  for (const kept of [value, Buffer.alloc(0), Buffer.alloc(300_000, 5)]) {
    await keep.put(secret, kept, 1_000);
    expect(Buffer.from((await keep.get(secret)) ?? []).equals(kept)).toBe(true);
    expect(Buffer.from((await keep.claim(secret)) ?? []).equals(kept)).toBe(true);
    expect(await keep.claim(secret)).toBeUndefined();
  }
  expect(onUnreadable).not.toHaveBeenCalled();
});

it('seals nothing that no store takes, and forgets what stood in its place', async () => {
  const { keep, written } = storeInView();
  await keep.put(secret, value, 1_000);
  await keep.put(secret, Buffer.alloc(maxEntryBytes + 1), 1_000);
  expect(written).toHaveLength(1);
  expect(await keep.get(secret)).toBeUndefined();
});

it('lets the store know neither the secret nor a word', async () => {
  const { keep, written } = storeInView();
  await keep.put(secret, value, 1_000);
  await keep.put(secret, value, 1_000);
  const [one, other] = written;
  expect(one?.key).not.toContain(secret);
  expect(Buffer.from(one?.value ?? []).includes('conversation')).toBe(false);
  expect(one?.key).toBe(other?.key);
  expect(one?.value).not.toEqual(other?.value);
});

it('finds nothing with another secret, the name of a place included', async () => {
  const { keep, written } = storeInView();
  await keep.put(secret, value, 1_000);
  for (const guess of [`${secret} `, 'conversation:', String(written[0]?.key)]) {
    expect(await keep.get(guess)).toBeUndefined();
  }
});

it('takes an entry that was changed or moved for one that is not there', async () => {
  const { keep, store, written } = storeInView();
  await keep.put(secret, value, 1_000);
  await keep.put('other', value, 1_000);
  const [mine, others] = written;
  const changed = Uint8Array.from(mine?.value ?? []);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  for (const forged of [changed, others?.value ?? changed, new Uint8Array(3), new Uint8Array(100)]) {
    await store.put(mine?.key ?? '', forged, 1_000);
    expect(await keep.get(secret)).toBeUndefined();
  }
  expect(onUnreadable).toHaveBeenCalledTimes(4);
});

it('hands the store memory of its own, not a piece of a larger one', async () => {
  const { keep, written } = storeInView();
  await keep.put(secret, value, 1_000);
  expect(written[0]?.value.buffer.byteLength).toBe(written[0]?.value.byteLength);
});
