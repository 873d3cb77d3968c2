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
