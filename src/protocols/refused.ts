import { AppError } from '../core/errors.ts';

/** A name that a client gave, in an error. */
export function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 64));
}

/** The error for what a request holds and cannot be honoured: its path, and what to do about it. */
export function refused(param: string, reason: string): AppError {
  return new AppError('invalid_request', `${param}: ${reason}.`, { param });
}
