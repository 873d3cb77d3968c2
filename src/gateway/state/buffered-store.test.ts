import { pino } from 'pino';
import { beforeEach, describe, expect, it } from 'vitest';
import { DatabaseError } from '../../db/database.ts';
import { createManualClock, type ManualClock, settled } from '../testing/manual-clock.ts';
import { BufferedStore } from './buffered-store.ts';
import type { Entry, Storage } from './state-store.ts';

const value = new Uint8Array([1, 2, 3]);
const hour = 60 * 60_000;
let clock: ManualClock;
let lines: { level: number; msg: string }[];
/** What lies in the storage. */
let stored: Map<string, Entry>;
/** What the storage does when it is asked. */
let mood: 'well' | 'broken' | 'silent' | 'slow';
let hurry: () => void;
let isShared: boolean;
let isReachable: boolean;
let canOpen: boolean;
let cannotOpen: Error;
let lose: (error: unknown) => void;
let calls: number;
let writes: number;
beforeEach(() => {
  clock = createManualClock();
  lines = [];
  stored = new Map();
  mood = 'well';
  isShared = false;
  isReachable = true;
  canOpen = true;
  cannotOpen = new Error('held by another');
  calls = 0;
  writes = 0;
});

function open(): Promise<BufferedStore> {
  const moody = async <T>(task: () => T): Promise<T> => {
    calls += 1;
    if (mood === 'broken') throw new Error('the disk is full');
    if (mood === 'silent') await new Promise(() => {});
    if (mood === 'slow')
      await new Promise<void>((resolve) => {
        hurry = resolve;
      });
    return task();
  };
  const storage: Storage = {
    name: 'sqlite',
    isShared,
    get isReachable() {
      return isReachable;
    },
    get totals() {
      return { entries: stored.size, bytes: 0 };
    },
    maxEntryBytes: 1_000_000,
    read: (key) => moody(() => stored.get(key)?.value),
    take: (key) =>
      moody(() => {
        const entry = stored.get(key);
        stored.delete(key);
        return entry?.value;
      }),
    write: (changes) =>
      moody(() => {
        writes += changes.length;
        for (const [key, entry] of changes) {
          if (entry) stored.set(key, entry);
          else stored.delete(key);
        }
      }),
    close: async () => {},
  };
  return BufferedStore.open({
    clock,
    maxBytes: 1_000_000,
    storage: {
      async open({ onLost }) {
        if (!canOpen) throw cannotOpen;
        lose = onLost;
        return storage;
      },
      logger: pino({ base: null }, { write: (line) => void lines.push(JSON.parse(line)) }),
    },
  });
}

const said = (part: string) => lines.filter(({ msg }) => msg.includes(part)).length;
const onlyInMemory = 'kept in memory only';

it('holds in its own memory what the storage could not take', async () => {
  const store = await open();
  mood = 'broken';
  await store.put('key', value, hour);
  await clock.advance(1_000);
  // Once it is tried again soon, and then only after a while.
  expect([store.failures, said('the state storage failed')]).toEqual([2, 1]);
  expect(await store.get('key')).toEqual(value);
  expect(await store.claim('key')).toEqual(value);
  expect(await store.get('key')).toBeUndefined();
});

it('says so when it cannot know, and not that nothing is there', async () => {
  const store = await open();
  expect(await store.get('key')).toBeUndefined();
  mood = 'broken';
  await expect(store.get('key')).rejects.toThrow('the disk is full');
  await expect(store.claim('key')).rejects.toThrow('rests');
});

it('leaves a storage alone for a while after it failed, and then asks it again', async () => {
  const store = await open();
  await store.put('key', value, hour);
  await clock.advance(1_000);
  mood = 'broken';
  await store.get('key').catch(() => {});
  const before = calls;
  for (let count = 0; count < 20; count += 1) await store.get('key').catch(() => {});
  expect(calls).toBe(before);
  mood = 'well';
  await clock.advance(5_000);
  expect(await store.get('key')).toEqual(value);
});

it('writes what it held meanwhile once the storage works again, and counts as writable then', async () => {
  const store = await open();
  mood = 'broken';
  await store.put('key', value, hour);
  await store.put('other', value, hour);
  await clock.advance(10_000);
  expect(store.figures()).toMatchObject({ unwritten: 2, isWritable: false });
  mood = 'well';
  await clock.advance(10_000);
  expect(store.figures()).toMatchObject({ unwritten: 0, isWritable: true });
  expect([...stored.keys()]).toEqual(['key', 'other']);
});

it('reads go on where only writing fails', async () => {
  const store = await open();
  await store.put('key', value, hour);
  await clock.advance(1_000);
  mood = 'broken';
  await store.put('other', value, hour);
  await clock.advance(1_000);
  mood = 'well';
  expect(await store.get('key')).toEqual(value);
});

it('does not wait long for a storage that does not answer', async () => {
  const store = await open();
  mood = 'silent';
  const asked = expect(store.claim('key')).rejects.toThrow('did not answer');
  await clock.advance(1_000);
  await asked;
});

it('starts without a storage, says so once, and moves to it when it is there', async () => {
  canOpen = false;
  const store = await open();
  expect(store.figures().isReachable).toBe(false);
  await store.put('key', value, hour);
  await store.put('over', value, 1_000);
  expect(await store.get('key')).toEqual(value);
  expect(await store.get('nothing')).toBeUndefined();
  await clock.advance(90_000);
  expect(said(onlyInMemory)).toBe(1);
  canOpen = true;
  await clock.advance(30_000);
  expect(said('is open now')).toBe(1);
  expect(store.figures().isReachable).toBe(true);
  expect(stored.get('key')?.value).toEqual(value);
  expect(stored.has('over')).toBe(false);
  expect(await store.claim('key')).toEqual(value);
  expect(await store.claim('key')).toBeUndefined();
});

it('says that it cannot know while a server may hold what is asked for, from the start', async () => {
  canOpen = false;
  cannotOpen = new DatabaseError('database_unreachable', 'connect ECONNREFUSED');
  const store = await open();
  await store.put('key', value, hour);
  expect(await store.get('key')).toEqual(value);
  await expect(store.get('other')).rejects.toThrow('rests');
  await expect(store.claim('other')).rejects.toThrow('rests');
  canOpen = true;
  await clock.advance(5_000);
  expect(await store.get('other')).toBeUndefined();
});

it('tries a write again soon that failed once, since other instances wait for it', async () => {
  const store = await open();
  mood = 'broken';
  await store.put('key', value, hour);
  await clock.advance(200);
  expect([store.failures, stored.has('key')]).toEqual([1, false]);
  mood = 'well';
  await clock.advance(500);
  expect(stored.get('key')?.value).toEqual(value);
  expect(store.figures().isWritable).toBe(true);
});

it('leaves a storage alone that does not answer, and writes at its end what it held meanwhile', async () => {
  const store = await open();
  isReachable = false;
  await store.put('key', value, hour);
  await expect(store.get('other')).rejects.toThrow('rests');
  expect([calls, store.figures().isReachable]).toEqual([0, false]);
  isReachable = true;
  await store.close();
  expect(stored.get('key')?.value).toEqual(value);
});

it('opens a storage again that was lost', async () => {
  const store = await open();
  lose(new Error('the thread is gone'));
  expect(said(onlyInMemory)).toBe(1);
  await store.put('key', value, hour);
  expect(stored.size).toBe(0);
  await clock.advance(30_000);
  expect(stored.get('key')?.value).toEqual(value);
});

it('tries no more once it is closed', async () => {
  canOpen = false;
  const store = await open();
  await store.close();
  expect(clock.waiting).toBe(0);
  await settled();
});

it('forgets the oldest when more waits to be written than memory may hold', async () => {
  canOpen = false;
  const store = await open();
  for (let count = 0; count < 200; count += 1) await store.put(`key ${count}`, new Uint8Array(10_000), hour);
  expect(store.figures().bytes).toBeLessThanOrEqual(1_000_000);
  expect(await store.get('key 0')).toBeUndefined();
  expect(await store.get('key 199')).toBeDefined();
});

it('keeps no more memory than it counts', async () => {
  const store = new BufferedStore({ clock, maxBytes: 1_000_000 });
  await store.put('key', Buffer.from('a piece of a slab'), hour);
  const kept = await store.get('key');
  expect(kept?.buffer.byteLength).toBe('a piece of a slab'.length);
});

describe('memory that was given', () => {
  /** As its owners make it: what `slice` answers of a Buffer lies in the same memory. */
  const own = (): Uint8Array => Buffer.from(value.slice().buffer);

  it('goes back once it is written; what was read of it before stays', async () => {
    const store = await open();
    const given = own();
    await store.put('key', given, hour, { isGiven: true });
    const read = await store.get('key');
    expect([...given]).toEqual([...value]);
    await clock.advance(1_000);
    expect([writes, given.length]).toEqual([1, 0]);
    expect([...(read ?? [])]).toEqual([...value]);
  });

  it('stays where a write has failed, until the next one', async () => {
    const store = await open();
    const given = own();
    mood = 'broken';
    await store.put('key', given, hour, { isGiven: true });
    await clock.advance(1_000);
    expect([...((await store.get('key')) ?? [])]).toEqual([...value]);
    mood = 'well';
    await clock.advance(10_000);
    expect([writes, given.length]).toEqual([1, 0]);
  });

  it('is the claimant’s, also of an entry that is being written', async () => {
    const store = await open();
    await store.put('held', own(), hour, { isGiven: true });
    const held = await store.claim('held');
    mood = 'slow';
    await store.put('written', own(), hour, { isGiven: true });
    await clock.advance(1_000);
    const written = await store.claim('written');
    mood = 'well';
    hurry();
    await clock.advance(10_000);
    expect([held, written].map((claimed) => [...(claimed ?? [])])).toEqual([[...value], [...value]]);
    expect(stored.size).toBe(0);
  });
});

describe('a short-lived entry', () => {
  it('is written once it has waited some seconds, and at the end', async () => {
    const store = await open();
    await store.put('key', value, hour, { isShortLived: true });
    await clock.advance(3_000);
    expect(writes).toBe(0);
    await clock.advance(3_000);
    expect(stored.get('key')?.value).toEqual(value);
    await store.put('last', value, hour, { isShortLived: true });
    await store.close();
    expect(stored.has('last')).toBe(true);
  });

  it('that is claimed before is never written', async () => {
    const store = await open();
    for (let turn = 0; turn < 10; turn += 1) {
      await store.put(`turn ${turn}`, value, hour, { isShortLived: true });
      expect(await store.claim(`turn ${turn}`)).toEqual(value);
    }
    await clock.advance(10_000);
    expect([writes, store.figures().unwritten]).toEqual([0, 0]);
  });

  it('that is claimed while it is written is removed from the storage', async () => {
    const store = await open();
    await store.put('key', value, hour, { isShortLived: true });
    mood = 'silent';
    await clock.advance(6_000);
    expect(await store.claim('key')).toEqual(value);
    expect(await store.claim('key')).toBeUndefined();
    await store.put('key', value, hour, { isShortLived: true });
    expect(await store.claim('key')).toEqual(value);
    expect(store.figures().unwritten).toBe(2);
  });

  it('is written immediately where other instances read the storage', async () => {
    isShared = true;
    const store = await open();
    await store.put('key', value, hour, { isShortLived: true });
    expect(stored.get('key')?.value).toEqual(value);
  });
});

it('writes to a shared storage while an earlier write is slow, but the changes of one key in their order', async () => {
  isShared = true;
  const store = await open();
  mood = 'slow';
  const first = store.put('key', value, hour);
  mood = 'well';
  const second = store.put('key', new Uint8Array([2]), hour);
  const other = store.put('other', value, hour);
  await settled();
  expect([...stored.keys()]).toEqual(['other']);
  hurry();
  await Promise.all([first, second, other]);
  expect(stored.get('key')?.value).toEqual(new Uint8Array([2]));
  expect(store.figures().unwritten).toBe(0);
});

it('reads an entry once it is written, and waits for no other write', async () => {
  isShared = true;
  const store = await open();
  mood = 'slow';
  const other = store.put('other', value, hour);
  const hurryOther = hurry;
  const own = store.put('key', value, hour);
  mood = 'well';
  const read = store.get('key');
  await settled();
  expect(stored.size).toBe(0);
  hurry();
  await own;
  expect(await read).toEqual(value);
  expect(stored.has('other')).toBe(false);
  hurryOther();
  await other;
});

it('gives an entry on its way to a shared storage to one claimant only', async () => {
  isShared = true;
  const store = await open();
  const putting = store.put('key', value, hour);
  const claims = await Promise.all([store.claim('key'), store.claim('key')]);
  await putting;
  expect(claims.filter((claim) => claim !== undefined)).toEqual([value]);
  expect(stored.size).toBe(0);
});
