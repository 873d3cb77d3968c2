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
