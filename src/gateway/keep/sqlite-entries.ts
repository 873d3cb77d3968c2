import type { Migration } from '../../db/migrate.ts';
import { openSqlite } from '../../db/sqlite.ts';
import { fileBoundsOf, maxEntryBytesIn } from './file-bounds.ts';
import { type Entry, sizeOf } from './keep.ts';

/** The value comes last: the columns before it are read without walking through it. */
const migrations: readonly Migration[] = [
  {
    version: 1,
    name: 'entries',
    sql: `
      CREATE TABLE entries (
        key TEXT PRIMARY KEY, size INTEGER NOT NULL, used_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
        value BLOB NOT NULL
      ) STRICT;
      CREATE INDEX entries_by_expiry ON entries (expires_at);
      CREATE INDEX entries_by_use ON entries (used_at, size);`,
  },
];

/** A new entry for a key, or null: it is to go. */
export type Change = readonly [key: string, entry: Entry | null];

export interface Totals {
  readonly entries: number;
  readonly bytes: number;
}

/** The entries of one SQLite file, beside the database: synchronous. */
export interface SqliteEntries {
  read(now: number, key: string): Entry | null;
  /** Removes it and answers it. */
  take(now: number, key: string): Entry | null;
  /** Writes a batch, and lets go of what is over or too much; a batch that fails may be applied again. `used` are keys that were read elsewhere. */
  apply(now: number, changes: readonly Change[], used: readonly string[]): Totals;
  close(): void;
}

const mostExpired = 500;
const mostOldest = 100;

/** What a transaction writes beside values: indexes, and pages that are only touched. */
const indexShare = 1.25;
const pagesPerTouch = 2;

interface Row {
  readonly value: Uint8Array;
  readonly size: number;
  readonly expires_at: number;
}

/** The file and its log together stay within `maxBytes`, or a megabyte. Throws DatabaseError. */
export function openSqliteEntries(
  path: string,
  now: number,
  maxBytes: number,
  command?: string,
): SqliteEntries {
  const db = openSqlite(path, migrations, now, { command });
  const bounds = fileBoundsOf(maxBytes);
  const pageBytes = pragma('page_size');
  const touches = Math.floor(bounds.transaction / (pagesPerTouch * pageBytes));
  // The file is this process's alone, so that what it holds is counted once.
  let { entries, bytes } = db.get<Totals>(
    'SELECT COUNT(*) AS entries, COALESCE(SUM(size), 0) AS bytes FROM entries',
  ) ?? { entries: 0, bytes: 0 };

  function pragma(name: string): number {
    return Number(Object.values(db.get<Record<string, number>>(`PRAGMA ${name}`) ?? {})[0]);
  }

  /** Of the database file, without the pages that are free to be written again. */
  const usedBytes = (): number => (pragma('page_count') - pragma('freelist_count')) * pageBytes;

  const entryOf = (row: Row | undefined, at: number): Entry | null =>
    row !== undefined && row.expires_at > at ? { value: row.value, expiresAt: row.expires_at } : null;

  function forget(rows: readonly { readonly size: number }[]): void {
    entries -= rows.length;
    for (const { size } of rows) bytes -= size;
  }

  function remove(key: string): Row | undefined {
    const [row] = db.all<Row>('DELETE FROM entries WHERE key = ? RETURNING value, size, expires_at', key);
    if (row) forget([row]);
    return row;
  }

  function drop(key: string): void {
    forget(db.all<{ size: number }>('DELETE FROM entries WHERE key = ? RETURNING size', key));
  }

  function insert(key: string, entry: Entry, at: number): void {
    const size = sizeOf(entry.value);
    db.run(
      'INSERT INTO entries (key, size, used_at, expires_at, value) VALUES (?, ?, ?, ?, ?)',
      key,
      size,
      at,
      entry.expiresAt,
      entry.value,
    );
    entries += 1;
    bytes += size;
  }

  function dropExpired(at: number): void {
    for (let dropped = 0; dropped < mostExpired; dropped += touches) {
      const rows = counted(() => {
        const found = db.all<{ size: number }>(
          `DELETE FROM entries WHERE rowid IN
             (SELECT rowid FROM entries WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
           RETURNING size`,
          at,
          touches,
        );
        forget(found);
        return found.length;
      });
      if (rows < touches) return;
    }
  }

  /** Lets go of what was not used for longest, until so many bytes more have room in the count and in the file. */
  function makeRoom(added: number): void {
    for (;;) {
      const excess = Math.max(bytes + added - maxBytes, usedBytes() + added * indexShare - bounds.database);
      if (excess <= 0) return;
      const oldest = db.all<{ rowid: number; size: number }>(
        `SELECT rowid, size FROM entries ORDER BY used_at, rowid LIMIT ${mostOldest}`,
      );
      if (oldest.length === 0) return;
      let freed = 0;
      for (const row of oldest) {
        if (freed >= excess) break;
        db.run('DELETE FROM entries WHERE rowid = ?', row.rowid);
        forget([row]);
        freed += row.size;
      }
    }
  }

  /** A transaction that failed has changed nothing, and so counts nothing. */
  function counted<T>(task: () => T): T {
    const before = { entries, bytes };
    try {
      return db.transaction(task);
    } catch (error) {
      ({ entries, bytes } = before);
      throw error;
    }
  }

  /** Changes that one transaction may write. */
  function* portions(changes: readonly Change[]): Generator<readonly Change[]> {
    let portion: Change[] = [];
    let size = 0;
    for (const one of changes) {
      const added = addedBy(one);
      if (portion.length === touches || size + added > bounds.transaction) {
        yield portion;
        portion = [];
        size = 0;
      }
      portion.push(one);
      size += added;
    }
    if (portion.length > 0) yield portion;
  }

  const isTaken = (entry: Entry): boolean => sizeOf(entry.value) <= maxEntryBytesIn(maxBytes);
  const addedBy = ([, entry]: Change): number => (entry && isTaken(entry) ? sizeOf(entry.value) : 0);

  /** The file may come from a time when it could be larger. */
  function shrink(): void {
    while (entries > 0 && (bytes > maxBytes || usedBytes() > bounds.database)) {
      counted(() => makeRoom(0));
    }
    if (pragma('page_count') * pageBytes > bounds.database) db.run('VACUUM');
    pragma('wal_checkpoint(TRUNCATE)');
  }

  pragma(`wal_autocheckpoint = ${Math.floor(bounds.checkpoint / pageBytes)}`);
  pragma(`journal_size_limit = ${Math.floor(bounds.checkpoint)}`);
  try {
    shrink();
  } catch (error) {
    db.close();
    throw error;
  }

  return {
    read(at, key) {
      const row = db.get<Row>('SELECT value, size, expires_at FROM entries WHERE key = ?', key);
      return entryOf(row, at);
    },
    take: (at, key) => counted(() => entryOf(remove(key), at)),
    apply(at, changes, used) {
      dropExpired(at);
      for (const portion of portions(changes)) {
        counted(() => {
          for (const [key] of portion) drop(key);
          makeRoom(portion.reduce((sum, one) => sum + addedBy(one), 0));
          for (const [key, entry] of portion) if (entry && isTaken(entry)) insert(key, entry, at);
        });
      }
      for (let from = 0; from < used.length; from += touches) {
        counted(() => {
          for (const key of used.slice(from, from + touches))
            db.run('UPDATE entries SET used_at = ? WHERE key = ?', at, key);
        });
      }
      return { entries, bytes };
    },
    close: () => db.close(),
  };
}
