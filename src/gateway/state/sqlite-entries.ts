import type { Migration } from '../../db/migrate.ts';
import { openSqlite } from '../../db/sqlite.ts';
import { type Change, type Entry, maxEntryBytes, sizeOf, type Totals } from './state-store.ts';

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

/** The entries of one SQLite file, beside the database: synchronous. */
export interface SqliteEntries {
  read(now: number, key: string): Uint8Array | undefined;
  /** Removes it and answers it. */
  take(now: number, key: string): Uint8Array | undefined;
  /** Writes a batch, and removes what has expired or is too much. A batch that failed may be applied again. */
  apply(now: number, changes: readonly Change[]): Totals;
  close(): void;
}

/** SQLite keeps that much of the file in memory: a batch and what its keys touch, or it writes pages more than once. */
const cacheKib = 4_096;
const mostExpired = 500;
const mostOldest = 100;
/** Uses within this time are one. */
const useMs = 60_000;

/** No database is smaller than that. */
const minFileBytes = 1024 * 1024;
/** Heads of the log's frames, and pages that a transaction touches beside those it is there for. */
const slackShare = 1 / 50;
const slackBytes = 64 * 1024;
/** What a transaction writes beside values: indexes, and pages that are only touched. */
const indexShare = 1.25;
const pagesPerTouch = 2;

/** How the room on disk is divided between the database file and its write-ahead log. */
function fileBoundsOf(maxBytes: number) {
  const all = Math.max(maxBytes, minFileBytes);
  const log = Math.min(all / 3, maxEntryBytes * 1.5);
  return {
    database: all - log - all * slackShare - slackBytes,
    /** The size at which the log is written back and begun again. */
    checkpoint: log / 4,
    /** What one transaction may add to the log. */
    transaction: (log * 3) / 4,
  };
}

/** One entry larger than this is not stored: for a while it lies both in the log and in the database. */
export function maxEntryBytesIn(maxBytes: number): number {
  return Math.min(maxBytes, maxEntryBytes, fileBoundsOf(maxBytes).transaction);
}

interface Row {
  readonly value: Uint8Array;
  readonly size: number;
  readonly used_at: number;
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
  const largest = maxEntryBytesIn(maxBytes);
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

  /** Runs a DELETE that returns the sizes of its rows. */
  function remove<Removed extends { readonly size: number }>(sql: string, ...values: (string | number)[]) {
    const rows = db.all<Removed>(sql, ...values);
    entries -= rows.length;
    for (const { size } of rows) bytes -= size;
    return rows;
  }

  function insert(key: string, entry: Entry, at: number): void {
    const size = sizeOf(entry.value);
    const { value, expiresAt } = entry;
    const sql = 'INSERT INTO entries (key, size, used_at, expires_at, value) VALUES (?, ?, ?, ?, ?)';
    db.run(sql, key, size, at, expiresAt, value);
    entries += 1;
    bytes += size;
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

  function removeExpired(at: number): void {
    const sql = `DELETE FROM entries WHERE rowid IN
       (SELECT rowid FROM entries WHERE expires_at <= ? ORDER BY expires_at LIMIT ?) RETURNING size`;
    for (let removed = 0; removed < mostExpired; removed += touches)
      if (counted(() => remove(sql, at, touches)).length < touches) return;
  }

  /** Removes what was not used for longest, until so many bytes more have room in the count and in the file. */
  function makeRoom(added: number): void {
    for (;;) {
      const excess = Math.max(bytes + added - maxBytes, usedBytes() + added * indexShare - bounds.database);
      if (excess <= 0) return;
      const oldest = db.all<{ rowid: number; size: number }>(
        `SELECT rowid, size FROM entries ORDER BY used_at, rowid LIMIT ${mostOldest}`,
      );
      if (oldest.length === 0) return;
      let freed = 0;
      for (const { rowid, size } of oldest) {
        if (freed >= excess) break;
        remove('DELETE FROM entries WHERE rowid = ? RETURNING size', rowid);
        freed += size;
      }
    }
  }

  const addedBy = ([, entry]: Change): number => {
    const size = entry ? sizeOf(entry.value) : 0;
    return size > largest ? 0 : size;
  };

  /** Changes that one transaction may write. */
  function* portions(changes: readonly Change[]): Generator<readonly Change[]> {
    let start = 0;
    let size = 0;
    for (const [index, change] of changes.entries()) {
      const added = addedBy(change);
      if (index - start === touches || size + added > bounds.transaction) {
        yield changes.slice(start, index);
        start = index;
        size = 0;
      }
      size += added;
    }
    yield changes.slice(start);
  }

  /** The file may come from a time when it could be larger. */
  function shrink(): void {
    while (entries > 0 && (bytes > maxBytes || usedBytes() > bounds.database)) counted(() => makeRoom(0));
    if (pragma('page_count') * pageBytes > bounds.database) db.run('VACUUM');
    pragma('wal_checkpoint(TRUNCATE)');
  }

  pragma(`wal_autocheckpoint = ${Math.floor(bounds.checkpoint / pageBytes)}`);
  pragma(`cache_size = -${cacheKib}`);
  pragma(`journal_size_limit = ${Math.floor(bounds.checkpoint)}`);
  try {
    shrink();
  } catch (error) {
    db.close();
    throw error;
  }

  return {
    read(at, key) {
      const row = db.get<Row>('SELECT value, used_at, expires_at FROM entries WHERE key = ?', key);
      if (!row || row.expires_at <= at) return undefined;
      if (at - row.used_at >= useMs) db.run('UPDATE entries SET used_at = ? WHERE key = ?', at, key);
      return row.value;
    },
    take(at, key) {
      const sql = 'DELETE FROM entries WHERE key = ? RETURNING value, size, expires_at';
      const [row] = counted(() => remove<Row>(sql, key));
      return row && row.expires_at > at ? row.value : undefined;
    },
    apply(at, changes) {
      removeExpired(at);
      for (const portion of portions(changes)) {
        counted(() => {
          const keys = JSON.stringify(portion.map(([key]) => key));
          remove('DELETE FROM entries WHERE key IN (SELECT value FROM json_each(?)) RETURNING size', keys);
          makeRoom(portion.reduce((sum, change) => sum + addedBy(change), 0));
          for (const change of portion) if (addedBy(change) > 0) insert(change[0], change[1] as Entry, at);
        });
      }
      return { entries, bytes };
    },
    close: () => db.close(),
  };
}
