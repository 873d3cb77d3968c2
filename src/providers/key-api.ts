import type { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { upToFirstProblem } from '../core/first-problem-only.ts';
import type { ProviderHttp } from '../core/provider.ts';
import { parseJson } from '../lib/parse-json.ts';
import { readRetryAfter } from '../lib/retry-after.ts';
import { beginningOf } from '../lib/shown-text.ts';
import { answeredOnTheWay, readFailedAnswer } from '../protocols/failed-answer.ts';

/** What a provider's key-management API is reached with. */
export interface KeyApiOptions {
  /** The owner's key for managing keys; it opens nothing else. */
  readonly adminKey: string;
  /** Scheme and host; no trailing slash. */
  readonly baseUrl: string;
  readonly http: ProviderHttp;
  readonly userAgent: string;
}

export interface KeyApi {
  /**
   * One call; the answer's JSON, or null when what it names is not there (404). Throws AppError. `upstream_unauthorized`,
   * `upstream_refused`, `upstream_rate_limited` and `invalid_request` mean that nothing was done; after any other code
   * nobody knows.
   */
  call<Schema extends z.ZodType>(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    schema: Schema,
    more?: { readonly body?: unknown; readonly signal?: AbortSignal | undefined },
  ): Promise<z.infer<Schema> | null>;
}

const timeoutMs = 8_000;

export function createKeyApi({ adminKey, baseUrl, http, userAgent }: KeyApiOptions): KeyApi {
  return {
    async call(method, path, schema, { body, signal } = {}) {
      const answer = await http({
        method,
        url: `${baseUrl}${path}`,
        headers: {
          authorization: `Bearer ${adminKey}`,
          accept: 'application/json',
          'user-agent': userAgent,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        timeoutMs,
        ...(signal && { signal }),
      });
      const isGood = answer.status >= 200 && answer.status <= 299;
      const { form, text } = readFailedAnswer(answer);
      // An HTML page with status 404 does not mean that the key is gone.
      if (!isGood && form === 'page') throw answeredOnTheWay({ cause: new Error(beginningOf(text, 2_000)) });
      if (answer.status === 404) return null;
      if (!isGood) throw failureOf(answer.status, readRetryAfter(answer.headers));
      const parsed = schema.safeParse(parseJson(answer.body), upToFirstProblem);
      if (parsed.success) return parsed.data;
      throw new AppError('upstream_protocol', 'The key-management API answered something unknown.', {
        cause: parsed.error,
      });
    },
  };
}

function failureOf(status: number, retryAfterMs: number | undefined): AppError {
  if (status === 401) {
    return new AppError('upstream_unauthorized', 'The key-management API rejects the admin key: replace it.');
  }
  if (status === 402 || status === 403) {
    return new AppError(
      'upstream_refused',
      `The key-management API refuses (${status}): the admin key may not manage keys, or there is no credit.`,
    );
  }
  if (status === 429) {
    return new AppError('upstream_rate_limited', 'The key-management API asks to wait.', {
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }
  if (status >= 500) {
    return new AppError('upstream_unavailable', `The key-management API is unwell (${status}).`);
  }
  return new AppError('invalid_request', `The key-management API does not take the request (${status}).`);
}
