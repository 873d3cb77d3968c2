import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Clock } from '../lib/clock.ts';

/** What `$1`, `$2`, … of a statement may be. A list is for `= ANY ($1)`, `<> ALL ($1)` and `unnest($1)`. */
export type Value = string | number | boolean | null | Uint8Array | readonly (string | number | null)[];

/** Statements in PostgreSQL's words, prepared once. Whole numbers come as number, JSON as text. */
export interface Queries {
  all<Row>(sql: string, ...values: Value[]): Promise<Row[]>;
  get<Row>(sql: string, ...values: Value[]): Promise<Row | undefined>;
  /** Answers the number of rows changed. */
  run(sql: string, ...values: Value[]): Promise<number>;
}

/** One query interface for SQLite and PostgreSQL. */
export interface Database {
  /** Several connections may work on it at the same time. */
  readonly isShared: boolean;
  /** One statement that changes nothing. */
  readonly reading: Queries;
  /** One statement, a transaction of its own. */
  readonly writing: Queries;
  /**
   * Runs `task` in one transaction, which an error rolls back: alone in SQLite, read committed in PostgreSQL. There it may
   * be run again from its start, so it must do nothing but query. `durable` waits for the disk, so that a power cut
   * cannot take the commit back; PostgreSQL always does.
   */
  transaction<T>(
    task: (queries: Queries) => Promise<T>,
    options?: { readonly durable?: boolean },
  ): Promise<T>;
  close(): Promise<void>;
}

export type DatabaseErrorCode =
  /** Another process holds the database. */
  | 'database_in_use'
  /** A newer release has migrated the database. */
  | 'database_too_new'
  /** The file cannot be opened, read or written. */
  | 'database_unusable'
  /** The thread that owns the database is gone. */
  | 'database_lost'
  /** The database server does not answer at this moment; whether the last call took effect is not known. */
  | 'database_unreachable';

/** What is wrong with the database as a whole. The message may be shown to the operator. */
export class DatabaseError extends Error {
  readonly code: DatabaseErrorCode;

  constructor(code: DatabaseErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DatabaseError';
    this.code = code;
  }
}

/** Thrown by the task of a transaction that wants to be run again from its start. */
export class TryAgain extends Error {
  override readonly name = 'TryAgain';
}

/** A clock that shows a database server's time, so that all who use the database agree on what has expired. */
export interface DatabaseClock extends Clock {
  close(): void;
}

const measuredEveryMs = 30_000;
const samples = 3;
/** Clocks so close count as equal: the way to the database takes as long. */
const closeEnoughMs = 20;

/** Measures how far the database's clock is ahead of this machine's, now and every half minute. */
export async function openDatabaseClock(reading: Queries, machine: Clock): Promise<DatabaseClock> {
  let aheadMs = 0;
  const follow = async (): Promise<void> => {
    const measured = await measureAhead(reading, machine);
    if (Math.abs(measured - aheadMs) >= closeEnoughMs) aheadMs = measured;
  };
  await follow();
  // While the database is unreachable its clock will not have moved.
  const timer = setInterval(() => void follow().catch(() => {}), measuredEveryMs);
  timer.unref();
  return { ...machine, now: () => machine.now() + aheadMs, close: () => clearInterval(timer) };
}

/** Milliseconds, by the sample that took the least time. */
async function measureAhead(reading: Queries, machine: Clock): Promise<number> {
  let best = { tookMs: Number.POSITIVE_INFINITY, aheadMs: 0 };
  for (let sample = 0; sample < samples; sample += 1) {
    const sentAt = machine.now();
    const answer = await reading.get<{ now: number }>(
      'SELECT EXTRACT(EPOCH FROM clock_timestamp())::float8 * 1000 AS now',
    );
    const tookMs = machine.now() - sentAt;
    const aheadMs = Math.round((answer?.now ?? sentAt) - (sentAt + tookMs / 2));
    if (tookMs < best.tookMs) best = { tookMs, aheadMs };
  }
  return best.aheadMs;
}

/** The note beside a database that says which process holds it. The lock itself is the operating system's. */
interface Holder {
  readonly pid: number;
  /** ISO 8601 in UTC. */
  readonly since: string;
  readonly command: string;
}

const holderPath = (databasePath: string): string => `${databasePath}.holder`;

/** How this process was called, up to the first option: those may carry secrets. Call it on the main thread. */
export function thisCommand(): string {
  const given = process.argv.slice(2);
  const end = given.findIndex((word) => word.startsWith('-'));
  const words = (end < 0 ? given : given.slice(0, end)).filter((word) => /^[a-z][a-z-]{0,20}$/.test(word));
  return [basename(process.argv[1] ?? 'node'), ...words.slice(0, 3)].join(' ');
}

export function writeHolder(databasePath: string, command: string, now: number): void {
  const holder: Holder = { pid: process.pid, since: new Date(now).toISOString(), command };
  try {
    writeFileSync(holderPath(databasePath), `${JSON.stringify(holder)}\n`, { mode: 0o600 });
  } catch {
    // On a full disk a second opener gets a message with less detail.
  }
}

export function removeHolder(databasePath: string): void {
  rmSync(holderPath(databasePath), { force: true });
}

/** A phrase that names the holder, for an error message. */
export function describeHolder(databasePath: string): string {
  try {
    const { pid, since, command } = JSON.parse(readFileSync(holderPath(databasePath), 'utf8')) as Holder;
    return `process ${pid} (${command}), since ${since}`;
  } catch {
    return 'another process';
  }
}
