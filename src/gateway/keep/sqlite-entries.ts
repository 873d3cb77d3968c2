import type { Migration } from '../../db/migrate.ts';
import { openSqlite } from '../../db/sqlite.ts';
import { type Entry, maxEntryBytes, sizeOf } from './keep.ts';

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
  /** Writes a batch in one transaction, and lets go of what is over or too much. `used` are keys that were read elsewhere. */
  apply(now: number, changes: readonly Change[], used: readonly string[]): Totals;
  close(): void;
}

const mostExpired = 500;
const mostOldest = 100;

interface Row {
  readonly value: Uint8Array;
  readonly size: number;
  readonly expires_at: number;
}

/** Throws DatabaseError. */
export function openSqliteEntries(
  path: string,
  now: number,
  maxBytes: number,
  command?: string,
): SqliteEntries {
  const db = openSqlite(path, migrations, now, command);
  // The file is this process's alone, so that what it holds is counted once.
  let { entries, bytes } = db.get<Totals>(
    'SELECT COUNT(*) AS entries, COALESCE(SUM(size), 0) AS bytes FROM entries',
  ) ?? { entries: 0, bytes: 0 };

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

  function insert(key: string, entry: Entry, at: number): boolean {
    const size = sizeOf(entry.value);
    const inserted = db.run(
      `INSERT INTO entries (key, size, used_at, expires_at, value) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (key) DO NOTHING`,
      key,
      size,
      at,
      entry.expiresAt,
      entry.value,
    );
    entries += inserted;
    bytes += inserted * size;
    return inserted === 1;
  }

  function change([key, entry]: Change, at: number): void {
    if (entry === null || sizeOf(entry.value) > maxBytes || entry.value.length > maxEntryBytes) {
      drop(key);
    } else if (!insert(key, entry, at)) {
      drop(key);
      insert(key, entry, at);
    }
  }

  function tidy(at: number): void {
    forget(
      db.all<{ size: number }>(
        `DELETE FROM entries WHERE rowid IN
           (SELECT rowid FROM entries WHERE expires_at <= ? ORDER BY expires_at LIMIT ${mostExpired})
         RETURNING size`,
        at,
      ),
    );
    while (bytes > maxBytes) {
      const oldest = db.all<{ rowid: number; size: number }>(
        `SELECT rowid, size FROM entries ORDER BY used_at, rowid LIMIT ${mostOldest}`,
      );
      if (oldest.length === 0) return;
      for (const row of oldest) {
        if (bytes <= maxBytes) return;
        db.run('DELETE FROM entries WHERE rowid = ?', row.rowid);
        forget([row]);
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

  return {
    read(at, key) {
      const row = db.get<Row>('SELECT value, size, expires_at FROM entries WHERE key = ?', key);
      return entryOf(row, at);
    },
    take: (at, key) => counted(() => entryOf(remove(key), at)),
    apply: (at, changes, used) =>
      counted(() => {
        for (const each of changes) change(each, at);
        for (const key of used) db.run('UPDATE entries SET used_at = ? WHERE key = ?', at, key);
        tidy(at);
        return { entries, bytes };
      }),
    close: () => db.close(),
  };
}
