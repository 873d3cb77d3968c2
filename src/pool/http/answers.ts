import { AppError } from '../../core/errors.ts';
import type { Route } from '../../lib/api/api-routes.ts';
import { HttpFault, type HttpFaultKind, httpFaultFrom } from '../../lib/http/http-fault.ts';
import { type DiskHealth, logFault } from '../../lib/log/disk-health.ts';
import { PoolError, type PoolErrorCode } from '../../pool-api/errors.ts';
import type { PoolHealth } from '../../pool-api/pool.ts';
import { judgePool, storeFaults } from '../../pool-api/readiness.ts';
import type { ErrorAnswer } from '../../pool-api/schema.ts';
import { isDatabaseAway, poolUnavailable } from '../base/failures.ts';
import type { PoolService } from '../create-pool.ts';

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

/** What `/health` says to a caller with these keys, which can check them so. */
export function presentHealth(
  health: PoolHealth,
  { log, disk }: DiskHealth,
  caller: NonNullable<PoolHealth['caller']>,
  version: string,
) {
  const { isSandbox, providers, accounts, gatewayOnly } = health;
  const reasons = [...faultsOf(health), ...(log.writable ? [] : [logFault])];
  return {
    status: reasons.length === 0 ? 'ok' : 'degraded',
    ...(reasons.length > 0 && { reason: reasons.join(' ') }),
    sandbox: isSandbox,
    ...(providers && { providers }),
    ...(caller !== 'unknown' && accounts && { accounts }),
    caller,
    ...((caller === 'borrower' || caller === 'admin') && { gateway_only_accounts: gatewayOnly }),
    store: { reachable: health.lacksStore !== true, writable: health.isReadOnly !== true },
    log,
    disk,
    version,
  };
}

/** Why the pool cannot lend, each with what to do. */
function faultsOf({ isReachable, isReadOnly, isSandbox, accounts }: PoolHealth): string[] {
  if (!isReachable) return [storeFaults.unreachable];
  const verdict = isSandbox || accounts === undefined ? undefined : judgePool(accounts);
  return [
    ...(isReadOnly ? [storeFaults.readOnly] : []),
    ...(verdict?.isReady === false ? [verdict.reason] : []),
  ];
}

/** Lends, unless the client goes away before it has its answer: then all that was added goes back. */
export const allocate: Route<{ readonly pool: PoolService }>['handle'] = async ({ pool }, request, reply) => {
  const gone = new AbortController();
  let undo: (() => Promise<void>) | undefined;
  const onClose = (): void => {
    if (reply.raw.writableFinished) return;
    gone.abort(new Error('the client has gone'));
    undo?.().catch((error: unknown) => {
      request.log.error({ err: error, request_id: request.id }, 'leases could not be given back');
    });
  };
  if (reply.raw.closed) onClose();
  else reply.raw.once('close', onClose);
  try {
    const allocation = await pool.allocate(request.keyHolder, request.body, gone.signal);
    if (gone.signal.aborted) await allocation.undo();
    else undo = allocation.undo;
    return allocation.answer;
  } catch (error) {
    // The client has left; without a body there is nothing to fail on.
    if (gone.signal.aborted) return reply.hijack();
    throw error;
  }
};
