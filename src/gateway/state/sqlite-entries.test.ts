import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqliteEntries, type SqliteEntries } from './sqlite-entries.ts';
import type { Change, Entry } from './state-store.ts';

const megabyte = 1024 * 1024;
const limit = 8 * megabyte;
const expiresAt = 1_000_000;
let folder: string;
let path: string;
let opened: SqliteEntries | undefined;
let largest: number;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warp2api-entries-'));
  path = join(folder, 'state.db');
  largest = 0;
});
afterEach(() => {
  opened?.close();
  opened = undefined;
  rmSync(folder, { recursive: true });
});

function open(maxBytes = limit): SqliteEntries {
  opened?.close();
  opened = openSqliteEntries(path, 0, maxBytes);
  return opened;
}

/** Of the file and its log. */
function onDisk(): number {
  return ['', '-wal', '-shm', '-journal'].reduce(
    (sum, suffix) => sum + (statSync(path + suffix, { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

let lastKey = 0;
const entryOf = (size: number): Entry => ({ value: new Uint8Array(size).fill(7), expiresAt });
const changesOf = (count: number, size: number): Change[] =>
  Array.from({ length: count }, () => {
    lastKey += 1;
    return [`key-of-the-usual-length-${`${lastKey * 7919}`.padStart(19, '0')}`, entryOf(size)];
  });

function apply(entries: SqliteEntries, changes: readonly Change[]) {
  const totals = entries.apply(1, changes);
  largest = Math.max(largest, onDisk());
  return totals;
}

describe('what the file of the state store takes on disk', () => {
  it.each([
    ['many tiny entries', 2_500, 20, 20],
    ['small entries', 2_000, 1_000, 20],
    ['entries of some hundred kilobytes', 4, 300_000, 40],
    ['one large entry after another', 1, 1_900_000, 20],
    ['more in one batch than the whole may be', 40, 1_000_000, 3],
  ])('stays within its limit: %s', (_name, count, size, batches) => {
    const entries = open();
    let totals = { entries: 0, bytes: 0 };
    for (let batch = 0; batch < batches; batch += 1) totals = apply(entries, changesOf(count, size));
    expect(largest).toBeLessThanOrEqual(limit);
    // And the room is used.
    expect(totals.bytes).toBeGreaterThan(limit / 3);
  });

  it('stays within it as entries of all sizes come, are used, taken and go', () => {
    const entries = open();
    const keys: string[] = [];
    for (let round = 0; round < 50; round += 1) {
      const changes = changesOf(1 + ((round * 7) % 40), 100 + ((round * 40_009) % 400_000));
      keys.push(...changes.map(([key]) => key));
      apply(entries, changes);
      for (const key of keys.slice(-200)) entries.read(100_000, key);
      for (const key of keys.splice(0, round % 5)) entries.take(1, key);
    }
    expect(largest).toBeLessThanOrEqual(limit);
  });

  it('does not keep an entry that is larger than a quarter of it, and loses no other for it', () => {
    const entries = open();
    const [small, large] = [changesOf(1, 1_000), changesOf(1, limit / 4)].flat();
    apply(entries, [small, large] as Change[]);
    expect(entries.read(1, small?.[0] ?? '')).toBeDefined();
    expect(entries.read(1, large?.[0] ?? '')).toBeUndefined();
  });

  it('shrinks to a lower limit, as do files that an older version let grow', () => {
    const before = open(64 * megabyte);
    const changes = changesOf(60, 500_000);
    for (const change of changes) before.apply(1, [change]);
    expect(onDisk()).toBeGreaterThan(2 * limit);
    const after = open();
    expect(onDisk()).toBeLessThanOrEqual(limit);
    expect(after.read(1, changes.at(-1)?.[0] ?? '')).toBeDefined();
    expect(after.read(1, changes[0]?.[0] ?? '')).toBeUndefined();
    expect(after.apply(1, []).bytes).toBeGreaterThan(limit / 3);

    opened?.close();
    opened = undefined;
    const old = new DatabaseSync(path);
    old.exec("INSERT INTO entries VALUES ('x', 20000200, 1, 5, zeroblob(20000000))");
    old.exec("DELETE FROM entries WHERE key = 'x'");
    old.close();
    expect(onDisk()).toBeGreaterThan(limit);
    open();
    expect(onDisk()).toBeLessThanOrEqual(limit);
  });
});
