import { AppError, type AppErrorOptions, type ErrorCode } from '../../core/errors.ts';
import { HttpFault, type HttpFaultKind, httpFaultFrom } from '../../lib/http/http-fault.ts';
import { NoAnswerError, NotPoolError, PoolError, QueueFullError } from '../../pool-api/errors.ts';
import { hindranceSentence, type Verdict } from '../../pool-api/readiness.ts';
import type { Route } from '../models/route.ts';

export const keyNotAccepted =
  'The account pool does not accept the key of this gateway: GATEWAY_KEY, or POOL_API_KEY where none is set, must be the same for both services.';

/** Whether what the pool has no account for speaks of any but those a turn has tried already. */
export function isAboutOthers(error: unknown): boolean {
  return error instanceof PoolError && error.code === 'no_account_available' && standingOf(error) !== 'none';
}

/** What a client hears when the pool has no account for its turn; `verdict` is about the accounts of the route's provider. */
export function appErrorFromPool(
  error: unknown,
  route?: Pick<Route, 'model' | 'barred' | 'labels'>,
  verdict?: Verdict,
): AppError {
  if (!(error instanceof PoolError)) return AppError.from(error);
  const options = {
    cause: error,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
  };
  if (error instanceof QueueFullError) return queueFull(error, options);
  if (error.code === 'no_account_available') {
    if (route && isOnlyForModel(error, route, verdict)) return noAccountMayUse(route, error);
    return shortageError(error, options, verdict);
  }
  // The pool itself says that it is to be asked again.
  const isBusy = !(error instanceof NoAnswerError) && error.retryAfterMs !== undefined;
  const known =
    error instanceof NotPoolError
      ? notThePool
      : error.code === 'pool_unavailable' && isBusy
        ? busyPool
        : poolFaults[error.code];
  if (!known) return AppError.from(error);
  const [code, retryAfterMs, message] = known;
  return new AppError(code, message, { retryAfterMs, ...options });
}

type PoolFault = readonly [code: ErrorCode, retryAfterMs: number, message: string];

const notThePool: PoolFault = [
  'pool_unavailable',
  60_000,
  'What answers at POOL_SERVICE_URL is not the account pool: set it to the address of the pool, without a path unless the pool is behind one.',
];
const busyPool: PoolFault = [
  'pool_unavailable',
  5_000,
  'The account pool cannot lend an account at the moment; try again in a few seconds. If it lasts, the log of the pool says why.',
];
/** What the pool says of anything but its accounts. */
const poolFaults: Readonly<Partial<Record<PoolError['code'], PoolFault>>> = {
  pool_unavailable: [
    'pool_unavailable',
    5_000,
    'The account pool cannot be reached; try again in a moment. If it lasts, start the pool or correct POOL_SERVICE_URL of the gateway.',
  ],
  // Of a path that has too much before it.
  not_found: notThePool,
  method_not_allowed: notThePool,
  shutting_down: ['shutting_down', 5_000, 'The service is stopping; try again in a moment.'],
  invalid_key: ['pool_unavailable', 60_000, keyNotAccepted],
  forbidden: ['pool_unavailable', 60_000, keyNotAccepted],
  host_not_allowed: [
    'pool_unavailable',
    60_000,
    'The account pool does not answer to the host in POOL_SERVICE_URL: add that host to ALLOWED_HOSTS of the pool, or set ADMIN_KEY for the pool and GATEWAY_KEY for both services.',
  ],
};

function queueFull({ isOwnShare }: QueueFullError, options: AppErrorOptions): AppError {
  const until = 'try again after the time in Retry-After.';
  return isOwnShare
    ? new AppError(
        'key_rate_limited',
        `Too many requests of this key wait for an account already; send fewer at a time, or ${until}`,
        options,
      )
    : new AppError('overloaded', `Too many requests wait for an account already; ${until}`, options);
}

/**
 * Whether accounts stand ready and none of them may use the model. None is out for a reason; and that there are any is known
 * where some are barred from the model, or from what the pool says of its accounts.
 */
function isOnlyForModel(
  { shortage }: PoolError,
  { barred }: Pick<Route, 'barred'>,
  verdict: Verdict | undefined,
): boolean {
  if (!shortage || Object.keys(shortage.reasons).length > 0) return false;
  return barred !== undefined || (shortage.matching === 0 && verdict?.isReady === true);
}

function noAccountMayUse({ model, labels }: Pick<Route, 'model' | 'labels'>, cause: PoolError): AppError {
  const message = labels?.length
    ? `No account labelled ${labels.join(' or ')} may use the model "${model}": label one ("warp2api account set ID --label"), or change the labels of the route or key.`
    : `No account in the pool may use the model "${model}"; choose another one, or add an account whose plan includes it.`;
  return new AppError('model_not_found', message, { param: 'model', cause });
}

function standingOf({ shortage }: PoolError): 'spent' | 'limited' | 'busy' | 'resting' | 'none' {
  const reasons = shortage?.reasons ?? {};
  const has = (...names: string[]) => names.some((name) => (reasons[name] ?? 0) > 0);
  if (has('rate_limited')) return 'limited';
  if (has('leased', 'too_few_slots', 'half_open')) return 'busy';
  if (has('cooldown')) return 'resting';
  return has('exhausted', 'free_quota_spent') ? 'spent' : 'none';
}

const shortages: Readonly<
  Record<Exclude<ReturnType<typeof standingOf>, 'none'>, readonly [ErrorCode, string]>
> = {
  limited: [
    'upstream_rate_limited',
    'The accounts that could answer are rate limited for the moment; try again after the time in Retry-After.',
  ],
  busy: ['no_account_available', 'All accounts are in use; try again in a moment.'],
  resting: [
    'no_account_available',
    'The accounts that could answer are resting after a failure or until their token is renewed; try again after the time in Retry-After.',
  ],
  spent: [
    'upstream_quota_exhausted',
    'Every account that could answer has used up its quota; wait for its reset or add an account.',
  ],
};

function shortageError(error: PoolError, options: AppErrorOptions, verdict: Verdict | undefined): AppError {
  const standing = standingOf(error);
  const [code, message] =
    standing === 'none' ? (['no_account_available', unusable(error, verdict)] as const) : shortages[standing];
  return new AppError(code, message, standing === 'spent' ? options : { retryAfterMs: 5_000, ...options });
}

function unusable({ shortage }: PoolError, verdict: Verdict | undefined): string {
  if (verdict?.isReady === false) return verdict.reason;
  const reasons = shortage?.reasons ?? {};
  return Object.keys(reasons).length > 0
    ? hindranceSentence(reasons)
    : 'No usable account is in the pool; its owner has to add one or mend one.';
}

const faultCodes: Readonly<Record<HttpFaultKind, ErrorCode>> = {
  foreign_host: 'host_not_allowed',
  foreign_origin: 'origin_not_allowed',
  invalid_key: 'invalid_key',
  too_many_attempts: 'key_rate_limited',
  invalid_request: 'invalid_request',
  invalid_body: 'invalid_request',
  client_left: 'cancelled',
  too_large: 'too_large',
  overloaded: 'overloaded',
  unsupported_encoding: 'unsupported_media_type',
  not_found: 'not_found',
  method_not_allowed: 'method_not_allowed',
};

/** Whatever was thrown about a request, as the error its client sees. */
export function appErrorFrom(error: unknown): AppError {
  const fault = httpFaultFrom(error);
  if (!(fault instanceof HttpFault)) return AppError.from(fault);
  const { kind, message, retryAfterMs } = fault;
  return new AppError(faultCodes[kind], message, retryAfterMs === undefined ? {} : { retryAfterMs });
}
