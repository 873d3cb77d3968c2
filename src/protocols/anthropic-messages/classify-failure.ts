import type { AppError, AppErrorOptions } from '../../core/errors.ts';
import type { FailedResponse } from '../../core/protocol.ts';
import { readRetryAfter } from '../../lib/backoff.ts';
import {
  accountRefused,
  classifyResponse,
  classifyWithin,
  contextTooLong,
  type FailureWords,
  failedBy,
  failedByName,
  modelBarred,
  type NamedError,
  noTurn,
  outOfQuota,
  refusedRequest,
} from '../shared/failed-answer.ts';
import { spentUntil } from './limits.ts';

const tooLong =
  /prompt is too long|exceeds? (the )?context|context (window|limit|length)|too many total text bytes/i;
/** What a request names that another workspace has, or none. */
const notThere = /^(file|container|skill)\b/i;
/** Of a plan whose accounts take a shorter context: every one of them would rest for one long request. */
const longContext = /\blong context\b/i;
/** Anthropic says so under status 400, as it says of a field that it knows not: `billing: Extra inputs are not permitted`. */
const spentCredit = /^((your?|this|insufficient)\b[^:'"`]*)?\b(credit balance|usage limits?|billing)\b(?!:)/i;

/** Under status 400, too, and in full: a field that a client named so is not all of a message. */
const disabled = /^this organization has been disabled\.?$/i;

/** What a response means that carries no turn, or an error event within one that began well. */
export function classifyFailure(response: FailedResponse, now: number): AppError {
  const { status, headers } = response;
  const retryAfterMs =
    readRetryAfter(headers, now) ?? (status === 429 ? spentUntil(headers, now) : undefined);
  return classifyResponse(words, response, retryAfterMs, 'messages');
}

/** An error within an answer, where its name is all there is. */
export function classifyNamed(error: NamedError): AppError {
  return classifyWithin(words, error);
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

const words: FailureWords = {
  statusOf: ({ type = '' }) => statuses[type] ?? 500,
  classify(status, error, options) {
    const { message = '' } = error;
    const named = failedByName(error, options);
    if (named) return named;
    if (status === 404 && notThere.test(message)) return refusedRequest({ message }, options);
    if (status === 404 && !/model/i.test(message)) return noTurn(options.cause);
    // Of a plan or a key that has others.
    if (status === 403 && /\bmodel\b/i.test(message)) return modelBarred(options);
    if (status === 429 && longContext.test(message)) return contextTooLong(message, { cause: options.cause });
    return failedBy(status, options) ?? refusedFor(message, options);
  },
};

function refusedFor(message: string, options: AppErrorOptions): AppError {
  if (tooLong.test(message)) return contextTooLong(message, options);
  if (spentCredit.test(message)) return outOfQuota(options);
  if (disabled.test(message)) return accountRefused(options);
  return refusedRequest({ message }, options);
}
