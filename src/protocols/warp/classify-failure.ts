import { AppError, type AppErrorOptions } from '../../core/errors.ts';
import type { FailedResponse } from '../../core/protocol.ts';
import { readRetryAfter } from '../../lib/http/retry-after.ts';
import { beginningOf } from '../../lib/shown-text.ts';
import { answeredOnTheWay, type FailedAnswer, readFailedAnswer } from '../failed-answer.ts';

/** How much of a refusal goes to the log. */
const maxEvidence = 2_000;

const spentQuota =
  /no remaining quota|no ai requests remaining|out[ _]of[ _](ai )?credits|insufficient[ _]credits/i;
/** An edge in front of the upstream limits callers by their address or name, whichever account they use. */
const edgeLimit = /^\s*rate exceeded\.?\s*$/i;
const accountWords = /\b(your|this|the) (account|plan|subscription|team|workspace|user)\b|\bcredits\b/i;
const modelNotAllowed =
  /\bmodel\b.{0,200}\bnot (allowed|available|enabled|permitted) (for|to|on) (your|this) (account|plan|team|user|workspace)|\bno models? (is |are )?available\b/is;

/**
 * What a response means that carries no turn. Only the vendor's own JSON about the account is the account's fault; a page
 * comes from something on the way. `now`, in milliseconds since 1970, is what a Retry-After date is measured from where the
 * response names no time.
 */
export function classifyFailure(response: FailedResponse, now: number): AppError {
  const { status } = response;
  const answer = readFailedAnswer(response);
  const cause = new Error(`status ${status}: ${beginningOf(answer.text, maxEvidence)}`);
  const retryAfterMs = readRetryAfter(response.headers, now);
  const options = { cause, ...(retryAfterMs !== undefined && { retryAfterMs }) };

  if (answer.form !== 'page' && [400, 403, 404, 422].includes(status) && modelNotAllowed.test(answer.text)) {
    return modelBarred(cause);
  }
  switch (status) {
    case 401:
      return answer.form === 'page' || asksForProxyLogin(response)
        ? answeredOnTheWay(options)
        : unauthorized(cause);
    case 402:
    case 403:
      if (!isAboutAccount(answer)) return answeredOnTheWay(options);
      return spentQuota.test(answer.text) ? outOfCredits(options) : refused(cause);
    case 429:
      return tooMany(response, answer, options);
    // It depends on what was sent, whichever server on the way has the limit.
    case 413:
      return new AppError(
        'too_large',
        'The request is larger than the upstream takes: shorten the conversation, or send fewer or smaller images.',
        { cause },
      );
    // Nothing a client sends is in the method, the address or the headers.
    case 405:
    case 407:
    case 414:
    case 421:
    case 431:
    case 511:
      return answeredOnTheWay(options);
    case 408:
    case 425:
      return new AppError(
        'upstream_unavailable',
        'The upstream did not get the request in time. Try again.',
        {
          ...options,
          fault: 'network',
          failover: 'once',
        },
      );
    default:
  }
  if (status >= 500) return failing(answer, options);
  if (status >= 400) return answer.form === 'page' ? answeredOnTheWay(options) : invalid(cause);
  if (status >= 300 || answer.form !== 'json') return answeredOnTheWay(options);
  return new AppError(
    'upstream_protocol',
    'The upstream answered with something that is no turn. Check the address it is configured with.',
    { cause },
  );
}

/** The vendor takes bearers; a login of another scheme is that of a proxy or a wall in front of it. */
function asksForProxyLogin({ headers }: FailedResponse): boolean {
  return /^\s*(basic|digest|ntlm|negotiate)\b/i.test(String(headers['www-authenticate'] ?? ''));
}

/** Vendors name an error; the JSON of a gateway on the way has a bare `message`, which must speak of the account. */
function isAboutAccount({ form, words, text }: FailedAnswer): boolean {
  return words !== undefined || (form === 'json' && accountWords.test(text));
}

function tooMany(response: FailedResponse, answer: FailedAnswer, options: AppErrorOptions): AppError {
  const { headers } = response;
  const code = String(headers['x-warp-error-code'] ?? '').trim();
  if (code.toUpperCase() === 'OUT_OF_CREDITS') return outOfCredits(options);
  const isOfEdge = code === '' && (answer.form === 'page' || edgeLimit.test(answer.text));
  if (!isOfEdge && spentQuota.test(answer.text)) return outOfCredits(options);
  return new AppError(
    'upstream_rate_limited',
    'The upstream accepts no more requests at the moment. Slow down.',
    {
      ...options,
      // Another account would call through the same edge.
      ...(isOfEdge && { fault: 'network', failover: 'no' }),
    },
  );
}

function outOfCredits(options: AppErrorOptions): AppError {
  return new AppError(
    'upstream_quota_exhausted',
    'The account has no credits left. Wait for its quota to return, or add credits.',
    options,
  );
}

function failing(answer: FailedAnswer, options: AppErrorOptions): AppError {
  return new AppError('upstream_unavailable', 'The upstream could not take the request. Try again.', {
    ...options,
    ...(answer.form === 'page' && { fault: 'network', failover: 'once' }),
  });
}

function unauthorized(cause: Error): AppError {
  return new AppError(
    'upstream_unauthorized',
    "The upstream did not accept the account's credential. Renew it or replace the account.",
    { cause },
  );
}

function refused(cause: Error): AppError {
  return new AppError(
    'upstream_refused',
    'The upstream refuses this account. Look into its plan and standing with the provider.',
    { cause },
  );
}

function invalid(cause: Error): AppError {
  return new AppError(
    'invalid_request',
    'The upstream refused the request. Check the model name and what was sent; the log has its answer.',
    { cause },
  );
}

/**
 * The model exists and this account may not call it, while another may. Vendors answer `model_not_found` to a caller
 * without access to a model, and so does this gateway when no account has it.
 */
function modelBarred(cause: Error): AppError {
  return new AppError(
    'model_not_found',
    'No account that was asked may use this model. Choose another model, or add an account whose plan includes it.',
    { cause, param: 'model', fault: 'model', failover: 'yes' },
  );
}
