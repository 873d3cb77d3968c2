import { closeSync, existsSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { backup, DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../lib/backoff.ts';
import { errorCode, errorMessage } from '../lib/errors.ts';
import { closeFile, makeFolder } from '../lib/files.ts';
import { DatabaseError, describeHolder, removeHolder, thisCommand, writeHolder } from './database.ts';
import { type Migration, migrate } from './migrate.ts';

/** How long a second opener waits for the lock; longer only delays the clear message. */
const lockWaitMs = 500;
/** The most disk that the write-ahead log keeps after a large transaction. */
const mostLogBytes = 16 * 1024 * 1024;
const reservedBytes = 1024 * 1024;
/** The log is written back before it needs more than its reserve. */
const pagesOfFullDisk = 200;
/** 400 KB: what waits for a step waits a few milliseconds. */
const pagesOfCopyStep = 100;
const mostCopyTries = 200;
/** SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN. */
const storageCodes = new Set([8, 10, 13, 14]);
/** SQLITE_CORRUPT, SQLITE_NOTADB. */
const damagedCodes = new Set([11, 26]);
/** What the file system says of a file or folder that this user may not use. */
const deniedCodes = new Set(['EACCES', 'EPERM', 'EROFS']);
/** What every database file begins with. */
const databaseStart = 'SQLite format 3\0';
const busyCode = 5;
const lockedCode = 6;

/** A synchronous SQLite database held by this process alone. Statements are prepared once and kept. */
export type Sqlite = ReturnType<typeof openSqlite>;

export interface OpenTransaction {
  commit(): void;
  /** Also after a commit that failed. Answers the error to throw. */
  rollBack(error: unknown): unknown;
}

export interface OpenSqliteOptions {
  /** What a second opener learns of this one. */
  readonly command?: string | undefined;
  /** Reserves some of the disk, so that a database that hardly grows keeps working when the disk is full. */
  readonly reserves?: boolean;
}

/**
 * Opens (or makes) the database, takes its lock for the life of the process and migrates it. Throws DatabaseError. `path` may be `:memory:`.
 */
export function openSqlite(
  path: string,
  migrations: readonly Migration[],
  now: number,
  { command = thisCommand(), reserves = false }: OpenSqliteOptions = {},
) {
  const isMemory = path === ':memory:';
  const database = openHeld(path, now, command, (opened) => {
    migrate(opened, migrations, now);
    if (!isMemory && reserves) reserve(opened);
  });
  const file = isMemory ? undefined : fileAt(path);
  const statements = new Map<string, StatementSync>();
  const prepared = (sql: string): StatementSync => {
    let statement = statements.get(sql);
    if (statement === undefined) {
      statement = database.prepare(sql);
      statements.set(sql, statement);
    }
    return statement;
  };

  /**
   * A transaction that is not over when this returns. Nothing else may be done meanwhile. `durable` waits for the disk, so
   * that a power cut cannot take the commit back.
   */
  const begin = (options?: { readonly durable?: boolean }): OpenTransaction => {
    const isDurable = options?.durable === true && !isMemory;
    if (isDurable && fileAt(path) !== file) throw removed(path);
    if (isDurable) database.exec('PRAGMA synchronous = FULL');
    const end = (): void => {
      if (isDurable) database.exec('PRAGMA synchronous = NORMAL');
    };
    const rollBack = (error: unknown): unknown => {
      if (database.isTransaction) database.exec('ROLLBACK');
      end();
      if (!isStorageFault(error)) return error;
      makeRoomInLog(database);
      return error instanceof DatabaseError ? error : unusable(path, error);
    };
    try {
      database.exec('BEGIN IMMEDIATE');
    } catch (error) {
      throw rollBack(error);
    }
    return {
      commit() {
        database.exec('COMMIT');
        end();
      },
      rollBack,
    };
  };

  return {
    get: <Row>(sql: string, ...values: SQLInputValue[]) => prepared(sql).get(...values) as Row | undefined,
    all: <Row>(sql: string, ...values: SQLInputValue[]) => prepared(sql).all(...values) as Row[],
    /** Rows one by one, so that the reader may stop early. Write nothing while iterating. */
    iterate: <Row>(sql: string, ...values: SQLInputValue[]) =>
      prepared(sql).iterate(...values) as IterableIterator<Row>,
    run(sql: string, ...values: SQLInputValue[]): number {
      try {
        return Number(prepared(sql).run(...values).changes);
      } catch (error) {
        throw isStorageFault(error) ? unusable(path, error) : error;
      }
    },
    /** Runs `task` in one immediate transaction; an error rolls back and passes on. */
    transaction<T>(task: () => T, options?: { readonly durable?: boolean }): T {
      const open = begin(options);
      try {
        const result = task();
        open.commit();
        return result;
      } catch (error) {
        throw open.rollBack(error);
      }
    },
    begin,
    /** Writes a copy of what is committed to a new file, in steps between which the database goes on working. */
    async copyTo(copy: string): Promise<void> {
      try {
        closeSync(openSync(copy, 'wx', 0o600));
        for (let tries = 1; ; tries += 1) {
          try {
            await backup(database, copy, { rate: pagesOfCopyStep });
            return;
          } catch (error) {
            // Its first step has met a transaction, which Node shows as an error without a code.
            const metTransaction = error instanceof Error && 'errcode' in error && error.errcode === 0;
            if (!metTransaction || tries === mostCopyTries) throw error;
            await sleep(backoffMs(tries, 1, 50));
          }
        }
      } catch (error) {
        rmSync(copy, { force: true });
        throw unusable(path, error);
      }
    },
    close(): void {
      database.close();
      if (!isMemory) removeHolder(path);
    },
  };
}

/**
 * Takes a database's lock without migrating it: no other process changes it meanwhile, and this one leaves it as it is.
 * Throws DatabaseError, `database_unusable` when there is none.
 */
export function holdSqlite(path: string, now: number) {
  if (!existsSync(path)) {
    throw new DatabaseError('database_unusable', `There is no database at ${path}.`);
  }
  const database = openHeld(path, now, thisCommand());
  return {
    copyTo: (copy: string): void => void database.prepare('VACUUM INTO ?').run(copy),
    close(): void {
      database.close();
      removeHolder(path);
    },
  };
}

/** Opens a file and takes its lock; one in memory has none. */
function openHeld(
  path: string,
  now: number,
  command: string,
  prepare: (database: DatabaseSync) => void = () => {},
): DatabaseSync {
  const isMemory = path === ':memory:';
  let database: DatabaseSync | undefined;
  try {
    if (!isMemory) makePrivate(path);
    database = new DatabaseSync(path, { timeout: lockWaitMs, enableForeignKeyConstraints: true });
    if (!isMemory) lock(database, path);
    prepare(database);
    if (!isMemory) writeHolder(path, command, now);
    return database;
  } catch (error) {
    database?.close();
    throw error instanceof DatabaseError ? error : unusable(path, error);
  }
}

/** Only its owner can read the file before anything is in it; SQLite gives the files beside it the same mode. */
function makePrivate(path: string): void {
  if (!existsSync(path)) {
    makeFolder(dirname(path));
    closeSync(openSync(path, 'a', 0o600));
  }
  if (isOtherFile(path)) return;
  for (const file of [path, `${path}-wal`, `${path}-shm`]) closeFile(file);
}

/** Something that is no database, and whose mode is others' affair: a path may be mistyped. */
function isOtherFile(path: string): boolean {
  const start = Buffer.alloc(databaseStart.length);
  const file = openSync(path, 'r');
  try {
    return readSync(file, start, 0, start.length, 0) > 0 && start.toString('latin1') !== databaseStart;
  } finally {
    closeSync(file);
  }
}

function lock(database: DatabaseSync, path: string): void {
  try {
    // Set before the first read, so that the lock is the operating system's and ends with the process.
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    database.exec('PRAGMA journal_mode = WAL');
    database.exec('BEGIN EXCLUSIVE; COMMIT');
    database.exec('PRAGMA synchronous = NORMAL');
    database.exec(`PRAGMA journal_size_limit = ${mostLogBytes}`);
  } catch (error) {
    const code = sqliteCodeOf(error);
    if (code !== busyCode && code !== lockedCode) throw error;
    throw new DatabaseError(
      'database_in_use',
      `The database ${path} is held by ${describeHolder(path)}. ` +
        'Stop that process first; two processes cannot share this file.',
      { cause: error },
    );
  }
}

/** The identity of the file at a path; undefined when there is none. */
function fileAt(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found && `${found.dev}:${found.ino}`;
}

/** What is written now would be lost when the process ends. */
function removed(path: string): DatabaseError {
  return new DatabaseError(
    'database_unusable',
    `The database ${path} was deleted, or replaced by another file, while this process uses it. Stop the process, put the file or a backup of it back, and start again.`,
  );
}

/** Fills pages of the database and of the log once and frees them: they stay allocated for later writes. */
function reserve(database: DatabaseSync): void {
  try {
    database.exec(`
      DROP TABLE IF EXISTS reserve;
      BEGIN; CREATE TABLE reserve (filler BLOB); INSERT INTO reserve VALUES (zeroblob(${reservedBytes})); COMMIT;
      DROP TABLE reserve;
      PRAGMA wal_checkpoint(PASSIVE);`);
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    if (!isStorageFault(error)) throw error;
    // The disk is full already: reading still works.
  }
}

/** On a full disk the log has room again once its content was written back to pages that already exist. */
function makeRoomInLog(database: DatabaseSync): void {
  try {
    database.exec(`PRAGMA wal_checkpoint(RESTART); PRAGMA wal_autocheckpoint = ${pagesOfFullDisk}`);
  } catch {
    // Then only more room on the disk helps.
  }
}

function unusable(path: string, cause: unknown): DatabaseError {
  const reason = errorMessage(cause).replace(/\.$/, '');
  return new DatabaseError(
    'database_unusable',
    `The database ${path} cannot be used: ${reason}.${adviceOn(cause)}`,
    { cause },
  );
}

function adviceOn(cause: unknown): string {
  if (damagedCodes.has(sqliteCodeOf(cause))) {
    return ' Stop the process and put a backup of the file back; or move it away, and begin without what was in it.';
  }
  if (!isStorageFault(cause) && !deniedCodes.has(errorCode(cause) ?? '')) return '';
  return ' Look whether its disk has space and whether this user may write to it and its folder.';
}

/** The place it lies in fails, and not what was asked of it. It may work again at any time. */
function isStorageFault(error: unknown): boolean {
  return storageCodes.has(sqliteCodeOf(error instanceof DatabaseError ? error.cause : error));
}

function sqliteCodeOf(fault: unknown): number {
  return fault instanceof Error && 'errcode' in fault ? Number(fault.errcode) & 0xff : 0;
}
