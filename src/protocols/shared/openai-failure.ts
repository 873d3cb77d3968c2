import { AppError, type AppErrorOptions } from '../../core/errors.ts';
import type { Dialect, FailedResponse } from '../../core/protocol.ts';
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
  notServed,
  outOfQuota,
  overloaded,
  rateLimited,
  refusedRequest,
  unauthorized,
  upstreamWords,
} from './failed-answer.ts';

const tooLong = new RegExp(
  [
    'context[_ ](length|window|size)|maximum context|too many tokens|prompt is too long|input (token length )?(is )?too long',
    "exceeds? the (model'?s )?(maximum|limit)",
    // SGLang; Moonshot; xAI; Zhipu; DashScope; Baichuan; TGI
    'longer than the maximum model length|exceeded model token limit|maximum prompt length|prompt exceeds max length',
    'range of input length should be|tokens in request more than max tokens allowed|`inputs` tokens \\+ `max_new_tokens` must be',
  ].join('|'),
  'i',
);
/** What begins a message: further on it may quote the request, and no client may end another's account by its words. */
const badKey = /^\W*((incorrect|invalid) api[_ ]key|api[_ ]key (is )?(not valid|invalid))/i;
/** OpenAI says so of keys that are restricted to some of its calls. */
const lacksScope = /^you have insufficient permissions for this operation/i;
/** Of an organization that has not shown OpenAI who it is. Another account's may have. */
const unverified = /^your organization must be verified to (use|stream) th/i;
// The last words are xAI's.
const flagged = /moderation|flagged|content[_ ](filter|policy)|violates usage guidelines/i;
const spentQuota = new RegExp(
  [
    'insufficient[_ ](quota|balance|credits|funds)|exceeded your current quota|billing',
    // OpenRouter, of a limit that its owner set for the key; xAI, twice; Fireworks; one-api, twice
    "key limit exceeded|used all available credits|doesn't have any credits|run out of credits",
    'reaching the monthly spending limit|余额不足|已欠费',
  ].join('|'),
  'i',
);
/** The words of Groq and OpenAI end with the page where more can be bought, which has `billing` in its name. */
const tooFast = /^rate limit reached/i;
/** "Please try again in 1m26.4s.", also within a stream, where no header can say so. */
const againIn = /\btry again in (?:(\d{1,3})h)?(?:(\d{1,4})m(?!s))?(?:(\d{1,6}(?:\.\d+)?)(m?)s)?/i;
/**
 * More than the account may send in a minute: it would be as much in the next one. Another account's minute may hold it. Groq says so
 * under 413.
 */
const tooMuchForMinute = /^request too large for/i;
/** Together says so under 403. */
const longerThanContext = /context[_ ](length|window|size)/i;
/** OpenRouter's and OpenCode's, of a vendor behind them: whatever that refuses is refused to all accounts. */
const failedBehind = /^(provider returned error|error from provider\b)/i;
/** OpenRouter's, of its free models alone. */
const freeModels = /^rate limit exceeded: (free-models-per-(day|min)[\w-]*)/i;
/** OpenRouter's, of a longest answer that costs more than the account has. Too few tokens for any answer: the account is spent. */
const tooDear = /\bcan only afford [1-9]\d{2}/i;
/** Of the place that a request comes from; OpenRouter's, of a vendor behind it. */
const refusedToAll = /country, region, or territory not supported|violation of provider terms of service/i;

/** What a response means that carries no turn, in Chat Completions and in Responses. */
export function classifyFailure(response: FailedResponse, now: number, dialect: Dialect): AppError {
  return classifyResponse(words, response, retryAfterOf(response.headers, now), dialect);
}

/** An error sent under status 200, judged by the status that it names, if any. */
export function classifyNamed(error: NamedError): AppError {
  return classifyWithin(words, error);
}

function statusOf({ type = '', code = '' }: NamedError): number {
  const own = Number(code);
  if (Number.isInteger(own) && own >= 400 && own < 600) return own;
  const words = `${type} ${code}`;
  if (/rate_limit|insufficient_quota/.test(words)) return 429;
  if (/invalid_request|context_length/.test(words)) return 400;
  // What a response fails with that could be read but not answered.
  if (/invalid_prompt|invalid_(base64_)?image|image_|_policy|unsupported_image/.test(words)) return 400;
  if (/authentication|invalid_api_key/.test(words)) return 401;
  return 502;
}

function classify(status: number, error: NamedError, options: AppErrorOptions): AppError {
  const { message = '', type = '', code = '' } = error;
  const words = `${type} ${code} ${message}`;
  if (failedBehind.test(message)) {
    if (status === 429) return overloaded(options);
    if (status === 401 || status === 402 || status === 403) return notServed(options);
  }
  const named = failedByName(error, options);
  if (named) return named;
  if ((status === 401 || status === 403) && lacksScope.test(message)) return notPermitted(options);
  if ((status === 400 || status === 403 || status === 404) && unverified.test(message))
    return modelBarred(options);
  if (status === 403) return refusal(error, words, options);
  if (status === 404) {
    const { param } = error;
    const isModels = code === 'model_not_found' || ((param ?? 'model') === 'model' && /model/i.test(words));
    // Something that the request names, such as an item that is not stored. OpenRouter: no vendor of the model does what it asks for.
    const isOfRequest = param !== undefined || /^no endpoints found/i.test(message);
    if (!isModels) return isOfRequest ? refusedRequest(error, options) : noTurn(options.cause);
  }
  if ((status === 413 || status === 429) && tooMuchForMinute.test(message)) {
    const limits = { fault: 'model', failover: 'yes', modelLimit: 'tokens per minute' } as const;
    return contextTooLong(message, { cause: options.cause, ...limits });
  }
  if (status === 429 && freeModels.test(message)) return freeModelsSpent(message, options);
  if (status === 402 && tooDear.test(message)) return moreThanLeft(message, options);
  if (status === 429 && tooFast.test(message)) return rateLimited({ ...waitIn(message), ...options });
  if ((status === 412 || status === 429) && spentQuota.test(words)) return outOfQuota(options);
  if (status === 503 && /overload|capacity/i.test(words)) return overloaded(options);
  const known = failedBy(status, options);
  if (known) return known;
  if (tooLong.test(words)) return contextTooLong(message, options);
  // xAI's and Google's answer where others say 401.
  const isBadKey = code === 'invalid_api_key' || badKey.test(message);
  if (status === 400 && isBadKey) return unauthorized(options);
  return refusedRequest(error, options);
}

/** Vendors say so of the account, and of what it is asked for. */
function refusal(error: NamedError, words: string, options: AppErrorOptions): AppError {
  if (flagged.test(words)) return refusedRequest(error, options);
  if (spentQuota.test(words)) return outOfQuota(options);
  if (longerThanContext.test(words)) return contextTooLong(error.message ?? '', options);
  if (refusedToAll.test(words)) return notServed(options);
  // A model that the key's project or plan may not use.
  return /\bmodel|模型/i.test(words) ? modelBarred(options) : accountRefused(options);
}

const words: FailureWords = { statusOf, classify };

/** Its other calls and models are as good as before. */
function notPermitted(options: AppErrorOptions): AppError {
  const message =
    'No account that was asked is permitted this call: give its key the permission at the provider, or add another account.';
  const limits = { param: 'model', fault: 'model', failover: 'yes', modelLimit: 'scopes' } as const;
  return new AppError('model_not_found', message, { ...options, ...limits });
}

/**
 * The account goes on with the models that it pays for; what is free at another one does not take their place. Days and minutes are
 * those of UTC.
 */
function freeModelsSpent(message: string, options: AppErrorOptions): AppError {
  const [, modelLimit = '', unit] = freeModels.exec(message) ?? [];
  const isOfDay = unit === 'day';
  const unitMs = isOfDay ? 24 * 60 * 60_000 : 60_000;
  const now = Date.now();
  const resetAt = new Date(Math.ceil(now / unitMs) * unitMs);
  const limit = { ...options, resetAt, modelLimit, fault: 'model', failover: 'no' } as const;
  return isOfDay ? outOfQuota(limit) : rateLimited({ ...limit, retryAfterMs: resetAt.getTime() - now });
}

/** Another account may have more, and this one takes a request of a shorter answer. */
function moreThanLeft(message: string, options: AppErrorOptions): AppError {
  const limits = { fault: 'model', failover: 'yes', modelLimit: 'credits' } as const;
  return new AppError('upstream_quota_exhausted', upstreamWords(message), { ...options, ...limits });
}

function waitIn(message: string): AppErrorOptions {
  const [, hours = 0, minutes = 0, rest = 0, milli] = againIn.exec(message) ?? [];
  const seconds = (Number(hours) * 60 + Number(minutes)) * 60 + Number(rest) / (milli ? 1_000 : 1);
  return seconds > 0 ? { retryAfterMs: Math.ceil(seconds * 1_000) } : {};
}

function retryAfterOf(headers: FailedResponse['headers'], now: number): number | undefined {
  const exact = Number(headers['retry-after-ms'] ?? Number.NaN);
  if (Number.isFinite(exact) && exact >= 0) return Math.ceil(exact);
  return readRetryAfter(headers, now);
}
