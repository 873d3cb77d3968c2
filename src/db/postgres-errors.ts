import { errorCode, errorMessage } from '../lib/errors.ts';
import { DatabaseError, TryAgain } from './database.ts';

const rolledBackForAnother = new Set(['40001', '40P01']);
/** The statement was planned for a schema that another release has changed since; a new connection plans anew. */
const planIsOld = '0A000';
const serverGoes = new Set(['57P01', '57P02', '57P03', '57P05', '25P03', '53300']);
const socketBroke = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'ENOTFOUND',
  'ENOENT',
]);
const clientLost =
  /^(Connection terminated|timeout exceeded when trying to connect|timeout expired|Query read timeout|Client has encountered a connection error|Client was closed and is not queryable|Cannot use a pool after)/;

/** The transaction was rolled back to let another go on: nothing happened, it may be run again. */
export function isRolledBack(error: unknown): boolean {
  return error instanceof TryAgain || rolledBackForAnother.has(codeOf(error));
}

export function isPlanOld(error: unknown): boolean {
  return codeOf(error) === planIsOld && error instanceof Error && error.message.startsWith('cached plan');
}

/** The server gave a statement up, or a lock was not to be had: nothing happened, and trying again would only add to it. */
export function isTooSlow(error: unknown): boolean {
  return codeOf(error) === '57014';
}

/** Its disk is full, it cannot write there, or it takes no changes: nothing happened, and it may work again at any time. */
export function isReadOnly(error: unknown): boolean {
  return ['53100', '58030', '25006'].includes(codeOf(error));
}

/** There is no connection any more, or none could be made. */
export function isConnectionLoss(error: unknown): boolean {
  const code = codeOf(error);
  if (serverGoes.has(code) || socketBroke.has(code) || code.startsWith('08')) return true;
  return error instanceof Error && clientLost.test(error.message);
}

/** The server itself says what is wrong. */
export function isAnswer(error: unknown): boolean {
  return /^[0-9A-Z]{5}$/.test(codeOf(error)) && !isConnectionLoss(error);
}

/** The connection was found broken before anything was sent. */
export function isNotSent(error: unknown): boolean {
  return error instanceof Error && error.message.endsWith('not queryable');
}

export function codeOf(error: unknown): string {
  return errorCode(error) ?? '';
}

export function takesNoChanges(place: string, cause: unknown): DatabaseError {
  return new DatabaseError(
    'database_unusable',
    `The database ${place} takes no changes: ${reasonOf(cause)}. Look whether its disk has space and whether it is a standby.`,
    { cause },
  );
}

/** `place` names the server without its password. */
export function unreachable(place: string, cause: unknown, setting = 'DATABASE_URL'): DatabaseError {
  return new DatabaseError(
    'database_unreachable',
    `The database ${place} cannot be reached: ${reasonOf(cause)}. ${adviceOn(cause, setting)}`,
    { cause },
  );
}

/** Why a database could not be opened, and what to do. */
export function cannotOpen(place: string, cause: unknown, setting = 'DATABASE_URL'): DatabaseError {
  return new DatabaseError(
    isConnectionLoss(cause) ? 'database_unreachable' : 'database_unusable',
    `Cannot open the database ${place}: ${reasonOf(cause)}. ${adviceOn(cause, setting)}`,
    { cause },
  );
}

function adviceOn(cause: unknown, setting: string): string {
  const advice: Record<string, string> = {
    '28P01': `Check the user and the password in ${setting}.`,
    '28000': `Check the user in ${setting} and the server’s pg_hba.conf.`,
    '3D000': `Create that database first (createdb), or name another one in ${setting}.`,
    '42501':
      'Grant that user the right to create tables in the schema (or make it the owner of the database).',
    '53300': 'The server has no connection left: raise its max_connections, or stop another program.',
    '57014': 'Look for what holds it up: locks of another program, or a disk that is too slow.',
  };
  return advice[codeOf(cause)] ?? `Check that the server runs and that ${setting} names its host and port.`;
}

function reasonOf(cause: unknown): string {
  // A host with several addresses fails with all of their errors and no message of its own.
  if (cause instanceof AggregateError && cause.errors[0] instanceof Error) return cause.errors[0].message;
  const message = errorMessage(cause);
  return message.replace(/\.$/, '') || codeOf(cause) || 'no reason given';
}
