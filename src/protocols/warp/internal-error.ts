import { AppError } from '../../core/errors.ts';
import { upstreamWords } from '../upstream-words.ts';

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
      /maximum context length/,
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

/** What is looked at, and what goes to the log. */
const longestText = 8_000;

/** The error for the text of an internal error. No account is blamed: none of these is the account's. */
export function internalErrorOf(whole: string, modelRestMs: number): AppError {
  const text = whole.slice(0, longestText);
  const cause = new Error(`the upstream reports: ${text}`);
  switch (meaningOf(text)) {
    case 'context':
      return new AppError(
        'context_too_long',
        "The conversation is longer than the model's context. Shorten it, or choose a model with a larger one.",
        { cause },
      );
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
