import type { AppError, AppErrorOptions } from '../../core/errors.ts';
import type { Dialect, FailedResponse } from '../../core/protocol.ts';
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
} from './failed-answer.ts';

const tooLong =
  /context[_ ](length|window|size)|maximum context|too many tokens|prompt is too long|input is too long|exceeds? the (model'?s )?(maximum|limit)/i;
const badKey = /(incorrect|invalid) api[_ ]key|api[_ ]key (is )?(not valid|invalid)/i;
const flagged = /moderation|flagged|content[_ ](filter|policy)/i;
const spentQuota = /insufficient[_ ](quota|balance|credits|funds)|exceeded your current quota|billing/i;

/** What a response means that carries no turn, or an error object within one that began well: in Chat Completions and in Responses. */
export function classifyFailure(response: FailedResponse, now: number, dialect: Dialect): AppError {
  const { status, headers } = response;
  const { answer, cause, options } = readFailure(response, retryAfterOf(headers, now));
  const value = parseJsonObject(answer.text);
  if (status === 200) {
    if (answer.form === 'page') return answeredOnTheWay(options);
    const named = errorIn(value);
    return named ? classifyNamed(named, options) : noTurn(cause, answer.form);
  }
  const error = answer.form === 'text' ? { message: answer.text } : (errorIn(value) ?? detailIn(value));
  if (answer.form === 'page' && status !== 429 && status !== 413) return answeredOnTheWay(options);
  const known = classify(status, error ?? {}, options);
  return answer.form === 'json' ? withVendorAnswer(known, { dialect, status, body: answer.text }) : known;
}

/** An error object of the dialect. */
export interface NamedError {
  readonly message?: string | undefined;
  readonly type?: string | undefined;
  readonly code?: string | number | undefined;
  readonly param?: string | undefined;
}

/** The error object in a body or a chunk, or one that is an error itself, as vLLM's are; undefined where there is none. */
export function errorIn(value: JsonObject | undefined): NamedError | undefined {
  const error = value?.['object'] === 'error' ? value : value?.['error'];
  if (typeof error === 'string') return { message: error };
  if (!isJsonObject(error)) return undefined;
  const { message, type, code, param } = error;
  return {
    message: typeof message === 'string' ? message : undefined,
    type: typeof type === 'string' ? type : undefined,
    code: typeof code === 'string' || typeof code === 'number' ? code : undefined,
    param: typeof param === 'string' ? param : undefined,
  };
}

/** What servers say of a failure that send no error object: a message, or FastAPI's detail. */
function detailIn(value: JsonObject | undefined): NamedError | undefined {
  const said = value?.['message'] ?? value?.['detail'];
  const words = Array.isArray(said)
    ? said.map((one) => (isJsonObject(one) ? one['msg'] : undefined))
    : [said];
  const message = words.filter((word) => typeof word === 'string').join('; ');
  return message === '' ? undefined : { message };
}

/** An error sent under status 200, judged by the status that it names, if any. */
export function classifyNamed(error: NamedError, options: AppErrorOptions = {}): AppError {
  const cause = options.cause ?? evidenceOf(error);
  const own = Number(error.code);
  const status = Number.isInteger(own) && own >= 400 && own < 600 ? own : statusOf(error);
  return classify(status, error, { ...options, cause });
}

function statusOf({ type = '', code = '' }: NamedError): number {
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
  switch (status) {
    case 401:
      return unauthorized(options);
    case 402:
      return outOfQuota(options);
    case 403:
      // OpenAI's answer about a model that the key's project may not use, and OpenRouter's about what the request says.
      if (code === 'model_not_found') return modelBarred(options);
      if (flagged.test(words)) return refusedRequest(error, options);
      if (spentQuota.test(words)) return outOfQuota(options);
      return accountRefused(options);
    case 404:
      if (/model/i.test(words)) return modelBarred(options);
      // Something that the request names, such as an item that is not stored. OpenRouter: no vendor of the model does what it asks for.
      if (error.param !== undefined || /^no endpoints found/i.test(message)) {
        return refusedRequest(error, options);
      }
      return noTurn(options.cause);
    case 413:
      return tooLarge(options);
    case 429:
      if (spentQuota.test(words)) return outOfQuota(options);
      return rateLimited(options);
    case 408:
    case 409:
    case 425:
      return notTaken(options);
    case 529:
      return overloaded(options);
    default:
  }
  if (status === 503 && /overload|capacity/i.test(words)) return overloaded(options);
  if (status >= 500) return notTaken(options);
  if (status < 400) return answeredOnTheWay(options);
  if (tooLong.test(words)) return contextTooLong(message, options);
  // xAI's and Google's answer where others say 401.
  if (status === 400 && badKey.test(words)) return unauthorized(options);
  return refusedRequest(error, options);
}

function retryAfterOf(headers: FailedResponse['headers'], now: number): number | undefined {
  const exact = Number(headers['retry-after-ms'] ?? Number.NaN);
  if (Number.isFinite(exact) && exact >= 0) return Math.ceil(exact);
  return readRetryAfter(headers, now);
}
