import { AppError } from '../../core/errors.ts';
import { HttpFault, type HttpFaultKind } from '../../lib/http/http-fault.ts';
import { httpFaultFrom } from '../../lib/http/http-server.ts';
import { PoolError, type PoolErrorCode } from '../../pool-api/errors.ts';
import type { ErrorAnswer } from '../../pool-api/schema.ts';
import { isDatabaseAway, poolUnavailable } from '../base/failures.ts';

const faultCodes: Record<HttpFaultKind, PoolErrorCode> = {
  foreign_host: 'host_not_allowed',
  foreign_origin: 'origin_not_allowed',
  invalid_key: 'invalid_key',
  too_many_attempts: 'too_many_attempts',
  invalid_request: 'invalid_request',
  invalid_body: 'invalid_json',
  client_left: 'invalid_request',
  too_large: 'too_large',
  overloaded: 'overloaded',
  unsupported_encoding: 'unsupported_media_type',
  not_found: 'not_found',
  method_not_allowed: 'method_not_allowed',
};

/**
 * Whatever a route threw, as the error its caller sees. An unknown error keeps its message to the log; which database server
 * does not answer is shown on the owner's routes.
 */
export function poolErrorFrom(thrown: unknown, isOwners = false): PoolError {
  const error = httpFaultFrom(thrown);
  if (error instanceof PoolError) return error;
  if (error instanceof HttpFault) {
    const { kind, message, retryAfterMs } = error;
    return new PoolError(faultCodes[kind], message, { retryAfterMs });
  }
  if (error instanceof AppError && error.code === 'invalid_request') {
    return new PoolError('invalid_request', error.message, { param: error.param });
  }
  if (isDatabaseAway(error)) return poolUnavailable(error, isOwners);
  if (isClientFault(error)) return new PoolError('invalid_request', error.message);
  return new PoolError('internal', 'The pool met an internal error; its log has the details.', {
    cause: error,
  });
}

export function errorBody({ code, message, param, shortage }: PoolError): ErrorAnswer {
  return { success: false, error: { code, message, param, shortage } };
}

/** The same for a client of the gateway that came here by mistake: readable in OpenAI's, Anthropic's and our own words. */
export function strangersBody(error: PoolError): object {
  const { code, message } = error;
  const type = code === 'not_found' ? 'not_found_error' : 'invalid_request_error';
  return { ...errorBody(error), type: 'error', error: { type, code, message, param: null } };
}

/** A fault the HTTP library found in the request, such as a broken percent-encoding. */
function isClientFault(error: unknown): error is Error {
  return (
    error instanceof Error &&
    'statusCode' in error &&
    typeof error.statusCode === 'number' &&
    error.statusCode >= 400 &&
    error.statusCode < 500
  );
}
