import { AppError, type AppErrorOptions } from '../../core/errors.ts';
import type { Dialect, FailedResponse } from '../../core/protocol.ts';
import { readRetryAfter } from '../../lib/backoff.ts';
import { isJsonObject, type JsonObject, parseJson } from '../../lib/parse-json.ts';
import {
  accountRefused,
  answeredOnTheWay,
  contextTooLong,
  evidenceOf,
  failedBy,
  isOfTheWay,
  modelBarred,
  noTurn,
  notServed,
  outOfQuota,
  overloaded,
  rateLimited,
  readFailure,
  refusedRequest,
  tooLarge,
  unauthorized,
  withVendorAnswer,
} from '../shared/failed-answer.ts';
import { objectsIn, textIn } from '../shared/read-answer.ts';

const tooLong =
  /token count.*exceeds the maximum|exceeds the maximum number of (input )?tokens|(input|context|prompt) (is|was) too long|context (window|length)/i;
/** What a request names that is another project's, or is not there: "You do not have permission to access the File x or it may not exist." */
const notThere = /\bthe File\b|\bCachedContent\b/;
const tooManyBytes = /payload size exceeds|request (body )?(is )?too large/i;
/** What begins a message: further on it may quote the request, and no client may end another's account by its words. */
const badKey = /^api[_ ]key (not valid|expired|not found|is invalid)/i;
/** Of an account as a whole, where Google says that the request was refused. */
const badAccount = /free tier is not available|enable billing|billing (account|is)/i;
const badPlace = /location is not supported/i;
const spentMoney = /credits? .*depleted|prepayment|spend(ing)? (cap|limit)|billing account/i;

/** `google.rpc.Status`, by the names of its JSON. */
export interface RpcStatus {
  readonly code?: number | undefined;
  readonly status: string;
  readonly message: string;
  readonly details: readonly JsonObject[];
}

/** The error in a body, a chunk of a stream, or a list that holds one; undefined where there is none. */
export function errorIn(value: unknown): RpcStatus | undefined {
  const holder: unknown = Array.isArray(value) ? value[0] : value;
  const error = isJsonObject(holder) ? holder['error'] : undefined;
  if (!isJsonObject(error)) return undefined;
  const { code, status, message, details } = error;
  return {
    code: typeof code === 'number' ? code : undefined,
    status: textIn(status),
    message: textIn(message),
    details: objectsIn(details),
  };
}

/** What a response means that carries no turn. */
export function classifyFailure(
  response: FailedResponse,
  now: number,
  dialect: Dialect = 'gemini',
): AppError {
  const { status, headers } = response;
  const { answer, cause, options } = readFailure(response, readRetryAfter(headers, now));
  const { form, text } = answer;
  const error = errorIn(parseJson(text));
  if (!error) {
    if (isOfTheWay(response, form)) return answeredOnTheWay(options);
    const isTold = status >= 500 || status === 401 || status === 413 || status === 429;
    const known = isTold ? failedBy(status, options) : undefined;
    return known ?? noTurn(cause, status === 200 ? form : undefined);
  }
  const known = classifyStatus(error, { ...options, status, now });
  return withVendorAnswer(known, { dialect, status, body: text });
}

interface Circumstances extends AppErrorOptions {
  /** Of the response, where the error is all of it. */
  readonly status?: number;
  readonly now?: number;
}

/** What an error means, also one that came within a stream. */
export function classifyStatus(
  error: RpcStatus,
  { status, now = Date.now(), ...given }: Circumstances = {},
): AppError {
  const { message, details } = error;
  const cause = given.cause ?? evidenceOf(error);
  const retryAfterMs = retryDelayIn(details) ?? given.retryAfterMs;
  const options = { ...given, cause, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  const words = `${message} ${details.map(({ reason }) => reason).join(' ')}`;
  // Some servers give the number of gRPC there, and an error may come under any status.
  const code = [error.code, status].find((one = 0) => one >= 400) ?? 500;
  const isOfRequest = (code === 403 || code === 404) && notThere.test(message);
  if (isOfRequest) return refusedRequest({ message, param: fieldIn(details) }, options);
  switch (code) {
    case 400:
      if (badKey.test(message) || details.some(({ reason }) => reason === 'API_KEY_INVALID'))
        return unauthorized(options);
      if (tooLong.test(message)) return contextTooLong(message, options);
      if (tooManyBytes.test(message)) return tooLarge(options);
      if (error.status === 'FAILED_PRECONDITION' && badPlace.test(message)) return notServed(options);
      if (error.status === 'FAILED_PRECONDITION' && badAccount.test(message)) return accountRefused(options);
      break;
    case 403:
      // A project without the API, a key that leaked, or a model of another owner.
      if (/\bmodels?\b|tunedModel/i.test(words)) return modelBarred(options);
      break;
    case 429:
      return exhausted(words, details, now, options);
    case 503:
      return overloaded(options);
    case 504:
      return new AppError(
        'upstream_timeout',
        'The upstream did not finish its answer in time; try again.',
        options,
      );
    default:
  }
  return failedBy(code, options) ?? refusedRequest({ message, param: fieldIn(details) }, options);
}

/** One status says that the account is too fast, that its day is used up, or that its plan has none of this model. */
function exhausted(
  words: string,
  details: readonly JsonObject[],
  now: number,
  options: AppErrorOptions,
): AppError {
  const violations = details.flatMap((detail) => objectsIn(detail['violations']));
  const isNeverGiven = /\blimit: 0\b/.test(words) || violations.some(({ quotaValue }) => quotaValue === '0');
  if (isNeverGiven) return modelBarred(options);
  const { retryAfterMs, ...others } = options;
  const quotas = violations.map(({ quotaId }) => String(quotaId));
  const ofDay = quotas.find((id) => /PerDay/i.test(id));
  if (ofDay !== undefined)
    return outOfQuota({ ...others, resetAt: nextPacificMidnight(now), ...limitOf(ofDay) });
  if (retryAfterMs === undefined && spentMoney.test(words)) return outOfQuota(others);
  const [ofMinute] = quotas;
  if (retryAfterMs === undefined || !quotas.every(isOfModel)) return rateLimited(options);
  return rateLimited({ ...options, resetAt: new Date(now + retryAfterMs), ...limitOf(ofMinute) });
}

function isOfModel(quota: string): boolean {
  return /PerModel/i.test(quota);
}

/** Most quotas are of one model, and the account goes on with its others. */
function limitOf(quota = ''): AppErrorOptions {
  return isOfModel(quota) ? { modelLimit: quota, fault: 'model' } : {};
}

/** When quotas of a day are given again; an hour off in the two nights when clocks are changed. */
function nextPacificMidnight(now: number): Date {
  const parts = pacificTime.formatToParts(now).map(({ type, value }) => [type, Number(value)]);
  const { hour, minute, second } = Object.fromEntries(parts);
  const secondsSince = (hour * 60 + minute) * 60 + second;
  return new Date((Math.floor(now / 1_000) - secondsSince + 24 * 60 * 60) * 1_000);
}

const pacificTime = new Intl.DateTimeFormat('en-US', {
  timeZone: 'America/Los_Angeles',
  hourCycle: 'h23',
  hour: 'numeric',
  minute: 'numeric',
  second: 'numeric',
});

/** `RetryInfo`, in seconds: `"45.5s"`. */
function retryDelayIn(details: readonly JsonObject[]): number | undefined {
  const delay = details.find(({ retryDelay }) => typeof retryDelay === 'string')?.['retryDelay'];
  const [, seconds] = /^(\d+(?:\.\d+)?)s$/.exec(String(delay)) ?? [];
  return seconds === undefined ? undefined : Math.ceil(Number(seconds) * 1_000);
}

/** The field that `BadRequest` names. */
function fieldIn(details: readonly JsonObject[]): string | undefined {
  const field = textIn(details.flatMap((detail) => objectsIn(detail['fieldViolations']))[0]?.['field']);
  return field === '' ? undefined : field;
}
