import { DatabaseError } from '../../db/database.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { PoolError } from '../../pool-api/errors.ts';

/** The database, or the disk below it, may recover at any time. */
export function isDatabaseAway(error: unknown): error is DatabaseError {
  return (
    error instanceof DatabaseError &&
    (error.code === 'database_unreachable' || error.code === 'database_unusable')
  );
}

/** An outage of the database server is logged once; what fails for it, over and over, adds nothing. */
export function logFailure(logger: Logger, error: unknown, message: string, facts: object = {}): void {
  const cause = error instanceof PoolError ? error.cause : error;
  const isOutage = cause instanceof DatabaseError && cause.code === 'database_unreachable';
  logger[isOutage ? 'debug' : 'error']({ err: error, ...facts }, message);
}

/** The database cannot be used; that may pass soon. No answer names a file of this machine. */
export function poolUnavailable(cause: DatabaseError, isOwners = false): PoolError {
  const why =
    cause.code === 'database_unreachable'
      ? `. ${cause.message}`
      : ': look whether its disk has space and whether the pool may write there. Its log names the place and says why.';
  return new PoolError(
    'pool_unavailable',
    `The pool cannot use its database${isOwners ? why : '; its log says why. Try again in a few seconds.'}`,
    { cause, retryAfterMs: 2000 },
  );
}

export function accountNotFound(id: string, param = 'id'): PoolError {
  return new PoolError('account_not_found', `There is no account "${id}".`, { param });
}

export function sessionNotFound(): PoolError {
  const message = 'There is no such session; it was released, or it expired.';
  return new PoolError('session_not_found', message, { param: 'session_id' });
}

export function shuttingDown(): PoolError {
  const message = 'The pool is shutting down; try again in a few seconds.';
  return new PoolError('shutting_down', message, { retryAfterMs: 5000 });
}
