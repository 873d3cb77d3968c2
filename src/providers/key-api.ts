import type { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { upToFirstProblem } from '../core/first-problem-only.ts';
import type { ProviderHttp } from '../core/provider.ts';
import { parseJson } from '../lib/parse-json.ts';
import { beginningOf } from '../lib/shown-text.ts';
import { answeredOnTheWay, readFailedAnswer } from '../protocols/shared/failed-answer.ts';
import { statusError } from './ask-json.ts';

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
      if (!isGood) {
        throw (
          statusError(answer, 'The key-management API', {
            rejects: 'the admin key: replace it.',
            refuses: `the call (${answer.status}): the admin key may not manage keys, or there is no credit.`,
          }) ??
          new AppError(
            'invalid_request',
            `The key-management API does not take the request (${answer.status}).`,
          )
        );
      }
      const parsed = schema.safeParse(parseJson(answer.body), upToFirstProblem);
      if (parsed.success) return parsed.data;
      throw new AppError('upstream_protocol', 'The key-management API answered something unknown.', {
        cause: parsed.error,
      });
    },
  };
}
