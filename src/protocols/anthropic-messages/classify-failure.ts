import type { AppError, AppErrorOptions } from '../../core/errors.ts';
import type { FailedResponse } from '../../core/protocol.ts';
import { readRetryAfter } from '../../lib/http/retry-after.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import {
  accountRefused,
  answeredOnTheWay,
  contextTooLong,
  evidenceOf,
  modelBarred,
  noTurn,
  notTaken,
  outOfQuota,
  overloaded,
  rateLimited,
  readFailure,
  refusedRequest,
  tooLarge,
  unauthorized,
  withVendorAnswer,
} from '../shared/failed-answer.ts';
import { spentUntil } from './limits.ts';

const tooLong =
  /prompt is too long|exceeds? (the )?context|context (window|limit|length)|too many total text bytes/i;
/** Anthropic says so under status 400. */
const spentCredit = /credit balance|usage limits?|billing/i;

/** What a response means that carries no turn, or an error event within one that began well. */
export function classifyFailure(response: FailedResponse, now: number): AppError {
  const { status, headers } = response;
  const { answer, cause, options } = readFailure(
    response,
    readRetryAfter(headers, now) ?? (status === 429 ? spentUntil(headers, now) : undefined),
  );
  if (answer.form === 'page' && status !== 429 && status !== 413) return answeredOnTheWay(options);
  const error = errorIn(parseJsonObject(answer.text));
  if (status === 200) return error ? classifyNamed(error, options) : noTurn(cause, answer.form);
  const known = classify(status, error ?? { message: answer.form === 'text' ? answer.text : '' }, options);
  if (answer.form !== 'json') return known;
  return withVendorAnswer(known, { dialect: 'messages', status, body: answer.text });
}

/** An error object of the dialect. */
export interface NamedError {
  readonly type?: string;
  readonly message: string;
}

export function errorIn(value: JsonObject | undefined): NamedError | undefined {
  const error = value?.['error'];
  if (typeof error === 'string') return { message: error };
  if (!isJsonObject(error)) return undefined;
  const { type, message } = error;
  return {
    message: typeof message === 'string' ? message : '',
    ...(typeof type === 'string' && { type }),
  };
}

/** Source: Anthropic's documentation, "Errors". */
const statuses: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  timeout_error: 504,
  overloaded_error: 529,
};

/** An error within an answer, where its name is all there is. */
export function classifyNamed(error: NamedError, options: AppErrorOptions = {}): AppError {
  const cause = options.cause ?? evidenceOf(error);
  return classify(statuses[error.type ?? ''] ?? 500, error, { ...options, cause });
}

function classify(status: number, error: NamedError, options: AppErrorOptions): AppError {
  const { message } = error;
  switch (status) {
    case 401:
      return unauthorized(options);
    case 402:
      return outOfQuota(options);
    case 403:
      return accountRefused(options);
    case 404:
      return /model/i.test(message) ? modelBarred(options) : noTurn(options.cause);
    case 413:
      return tooLarge(options);
    case 429:
      return rateLimited(options);
    case 408:
    case 409:
      return notTaken(options);
    case 529:
      return overloaded(options);
    default:
  }
  if (status >= 500) return notTaken(options);
  if (status < 400) return answeredOnTheWay(options);
  if (tooLong.test(message)) return contextTooLong(message, options);
  if (spentCredit.test(message)) return outOfQuota(options);
  return refusedRequest({ message }, options);
}
