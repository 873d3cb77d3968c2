import { AppError } from '../core/errors.ts';
import type { ProviderHttp } from '../core/provider.ts';
import { parseJson } from '../lib/parse-json.ts';
import { readRetryAfter } from '../lib/retry-after.ts';
import { beginningOf } from '../lib/shown-text.ts';
import { answeredOnTheWay, readFailedAnswer } from '../protocols/failed-answer.ts';

const timeoutMs = 5_000;

/**
 * Asks a provider something about a bearer. Answers the JSON of a 200, undefined where it is none. Throws AppError:
 * `upstream_unauthorized` (401), `upstream_refused` (402, 403), `upstream_rate_limited` (429), `upstream_unavailable`
 * (5xx, a page of something on the way, no answer), `upstream_timeout`, `upstream_protocol` (anything else).
 */
export async function askJson(
  http: ProviderHttp,
  request: {
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<unknown> {
  const { url, headers, signal } = request;
  const answer = await http({
    method: 'GET',
    url,
    headers: { accept: 'application/json', ...headers },
    timeoutMs,
    ...(signal && { signal }),
  });
  const { form, text } = readFailedAnswer(answer);
  if (answer.status === 200) return parseJson(text);
  const isRefusal = answer.status === 402 || answer.status === 403;
  if ((form === 'page' && answer.status !== 429) || (form !== 'json' && isRefusal))
    throw answeredOnTheWay({ cause: new Error(beginningOf(text, 2_000)) });
  const retryAfterMs = readRetryAfter(answer.headers);
  // Google answers so where others say 401.
  const isBadKey = answer.status === 400 && text.includes('API_KEY_INVALID');
  if (answer.status === 401 || isBadKey) {
    throw new AppError('upstream_unauthorized', 'The provider rejects this credential. Replace it.');
  }
  if (isRefusal) {
    throw new AppError('upstream_refused', `The provider refuses this account (${answer.status}).`);
  }
  if (answer.status === 429) {
    throw new AppError('upstream_rate_limited', 'The provider asks to wait.', {
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }
  if (answer.status >= 500) {
    throw new AppError('upstream_unavailable', `The provider is unwell (${answer.status}). Try again.`);
  }
  throw new AppError('upstream_protocol', `The provider answered ${answer.status}; is the address right?`);
}
