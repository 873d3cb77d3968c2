import type { IncomingHttpHeaders } from 'node:http';
import { readRetryAfter } from '../lib/http/retry-after.ts';
import { parseJson } from '../lib/parse-json.ts';
import { PoolError, type PoolErrorCode, poolErrorCodes } from './errors.ts';
import { NoAnswerError } from './retry.ts';
import { errorAnswer } from './schema.ts';

/** What answered is not the pool: the address is another program's. */
export class NotPoolError extends PoolError {
  constructor(message: string, options: { readonly retryAfterMs?: number } = {}) {
    super('pool_unavailable', message, options);
  }
}

/** The pool's error answer as the error it stands for; a proxy's page in between as `pool_unavailable`. */
export function errorFromAnswer(
  status: number,
  headers: IncomingHttpHeaders,
  text: string,
  place: string,
): PoolError {
  const retryAfterMs = readRetryAfter(headers, Date.now());
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  const answer = errorAnswer.safeParse(parseJson(text)).data;
  if (answer === undefined) {
    const message = `${place} answered with status ${status} and no word of the pool; check the address.`;
    // What a proxy says while the pool behind it restarts.
    if (status >= 502 && status <= 504) {
      return new NoAnswerError(message, { ...options, sent: 'maybe', cause: undefined });
    }
    return new NotPoolError(message, options);
  }
  const { code, message, param, shortage } = answer.error;
  return new PoolError(isPoolErrorCode(code) ? code : codeOfStatus(status), message, {
    ...options,
    ...(param === undefined ? {} : { param }),
    ...(shortage === undefined ? {} : { shortage }),
  });
}

function isPoolErrorCode(code: string): code is PoolErrorCode {
  return Object.hasOwn(poolErrorCodes, code);
}

/** For codes of a newer pool than this client. */
function codeOfStatus(status: number): PoolErrorCode {
  if (status === 401) return 'invalid_key';
  if (status === 403) return 'forbidden';
  if (status === 404) return 'not_found';
  if (status === 503) return 'pool_unavailable';
  return status < 500 ? 'invalid_request' : 'internal';
}
