import { AppError, type AppErrorOptions } from '../../core/errors.ts';
import type { FailedResponse } from '../../core/protocol.ts';
import { readRetryAfter } from '../../lib/backoff.ts';
import {
  accountRefused,
  answeredOnTheWay,
  asksForProxyLogin,
  type FailedAnswer,
  modelBarred,
  noTurn,
  notTaken,
  rateLimited,
  readFailure,
  tooLarge,
  unauthorized,
  upstreamWords,
} from '../shared/failed-answer.ts';

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
  const { answer, cause, options } = readFailure(response, readRetryAfter(response.headers, now));

  if (answer.form !== 'page' && [400, 403, 404, 422].includes(status) && modelNotAllowed.test(answer.text)) {
    return modelBarred({ cause });
  }
  switch (status) {
    case 401:
      return answer.form === 'page' || asksForProxyLogin(response)
        ? answeredOnTheWay(options)
        : unauthorized({ cause });
    case 402:
    case 403:
      if (!isAboutAccount(answer)) return answeredOnTheWay(options);
      return spentQuota.test(answer.text) ? outOfCredits(options) : accountRefused({ cause });
    case 429:
      return tooMany(response, answer, options);
    case 413:
      return tooLarge({ cause });
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
  return noTurn(cause);
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
  return rateLimited({
    ...options,
    // Another account would call through the same edge.
    ...(isOfEdge && { fault: 'network', failover: 'no' }),
  });
}

export function outOfCredits(
  options: AppErrorOptions = {},
  advice = 'Wait for its quota to return, or add credits.',
): AppError {
  return new AppError('upstream_quota_exhausted', `The account has no credits left. ${advice}`, options);
}

export function contextTooLong(options: AppErrorOptions = {}): AppError {
  return new AppError(
    'context_too_long',
    "The prompt is too long for the model's context. Shorten the conversation, or choose a model with a larger one.",
    options,
  );
}

function failing(answer: FailedAnswer, options: AppErrorOptions): AppError {
  return notTaken({
    ...options,
    ...(answer.form === 'page' && { fault: 'network', failover: 'once' }),
  });
}

function invalid(cause: Error): AppError {
  return new AppError(
    'invalid_request',
    'The upstream refused the request. Check the model name and what was sent; the log has its answer.',
    { cause },
  );
}

type Meaning = 'context' | 'model' | 'request';

interface Row {
  readonly means: Meaning;
  /** Looked for in the text in lower case. */
  readonly words?: readonly RegExp[];
  /** Of the vendor's status, where the text tells one. */
  readonly status?: (status: number) => boolean;
}

/**
 * What an internal error of the upstream says, first match first. The text carries a model vendor's own refusal, as JSON
 * or as some library's message about it.
 */
const rows: readonly Row[] = [
  {
    means: 'context',
    words: [
      /context[ _-]?(length|window|limit)[ _-]?(is |was |has been )?exceed/,
      /exceed\w*( [\w']+){0,4} context[ _-]?(length|window|limit)/,
      /maximum (context|prompt) length/,
      /prompt is too long/,
      /input (token count|length)\b.{0,40}exceeds/,
      /too many (input )?tokens/,
    ],
  },
  {
    // The vendor's account that pays is the upstream's own, whatever status the vendor gives that.
    means: 'model',
    words: [
      /used all (of its |of the |the )?available credits/,
      /credit balance is too low/,
      /insufficient[ _]quota/,
      /exceeded your current quota/,
      /incorrect api key|invalid[ _]api[ _]key/,
    ],
  },
  { means: 'request', status: (status) => [400, 413, 422].includes(status) },
  { means: 'model', status: () => true },
  {
    means: 'request',
    words: [/invalid[ _-]?request/, /invalid[ _-]?argument/, /bad[ _]request/, /request_too_large/],
  },
  {
    means: 'model',
    words: [
      /overloaded/,
      /rate[ _-]?limit/,
      /too many requests/,
      /resource[ _-]?exhausted/,
      /permission[ _-]?(denied|error)/,
      /authentication[ _-]?error/,
      /(service|model|server)( \w+)?[ _-]?(is )?(temporarily |currently )?unavailable/,
      /code\s*=\s*unavailable/,
      /(at|over|exceeds its) capacity/,
      /internalservererror|server_error|api_error/,
      /bad[ _]?gateway|gateway[ _]?time-?out/,
    ],
  },
];

/** A status as such texts have it: `status code: 429`, `"code":503`, `Error code: 400 - {`, `HTTP 502`, `429 Too many`. */
const statusForms = [
  /\b(?:(?:http[ _]?)?status(?:[ _]?code)?|http(?:\/\d(?:\.\d)?)?|(?:error[ _]?)?code)["']?\s*[:=(]?\s*["']?([45]\d\d)\b/,
  /\b(?:returned|got|received|responded with)\s+(?:an?\s+)?([45]\d\d)\b/,
  /^\W*([45]\d\d)\b/,
  /\b([45]\d\d)[: ]+(?:bad request|unauthorized|forbidden|too many|internal server|bad gateway|service unavailable|gateway time|\{)/,
];

/** How long a model that is overloaded should rest before another try. */
export const modelRestMs = 5_000;

/** What is looked at, and what goes to the log. */
const longestText = 8_000;

/** The error for the text of an internal error. No account is blamed: none of these is the account's. */
export function internalErrorOf(whole: string): AppError {
  const text = whole.slice(0, longestText);
  const cause = new Error(`the upstream reports: ${text}`);
  switch (meaningOf(text)) {
    case 'context':
      return contextTooLong({ cause });
    case 'model':
      return new AppError(
        'model_unavailable',
        "The model's vendor does not serve it at the moment. Try again shortly, or choose another model.",
        { cause, retryAfterMs: modelRestMs },
      );
    case 'request': {
      const words = upstreamWords(vendorMessage(text) ?? '');
      return new AppError(
        'invalid_request',
        words === ''
          ? "The model's vendor refused the request. Check what was sent; the log has its answer."
          : `The model's vendor refused the request: ${words}`,
        // It was read and refused: the same history sent again would be refused again, and charged again.
        { cause, isFinal: true },
      );
    }
    default:
      return upstreamFailed(cause);
  }
}

/** A failed turn may have been charged, so it is tried once more at most. No account is blamed. */
export function upstreamFailed(cause: Error): AppError {
  return new AppError('upstream_unavailable', 'The upstream failed in the middle of the turn. Try again.', {
    cause,
    fault: 'model',
    failover: 'once',
  });
}

function meaningOf(text: string): Meaning | undefined {
  const plain = unescaped(text).toLowerCase();
  const status = statusOf(plain);
  const row = rows.find(
    (candidate) =>
      candidate.words?.some((pattern) => pattern.test(plain)) === true ||
      (status !== undefined && candidate.status?.(status) === true),
  );
  return row?.means;
}

function statusOf(plain: string): number | undefined {
  for (const pattern of statusForms) {
    const found = pattern.exec(plain);
    if (found) return Number(found[1]);
  }
  return undefined;
}

/** The vendor's sentence: the innermost `message` of the JSON that the text holds. */
function vendorMessage(text: string): string | undefined {
  const found = [...unescaped(text).matchAll(/"message"\s*:\s*"((?:[^"\\]|\\.)*)"/g)];
  return found.at(-1)?.[1];
}

/** JSON inside a JSON string has its quotes escaped, once or several times over. */
function unescaped(text: string): string {
  return text.replace(/(?<!\\)\\+"/g, '"');
}
