import { AppError } from '../../core/errors.ts';
import type { FailedResponse } from '../../core/protocol.ts';

/** How much of a refusal goes to the log. */
const maxEvidence = 2_000;

/** `now` is the time a Retry-After date is measured from, in milliseconds since 1970. */
export function classifyFailure(response: FailedResponse, now: number): AppError {
  const { status } = response;
  const cause = new Error(
    `status ${status}: ${Buffer.from(response.body).toString('utf8').slice(0, maxEvidence)}`,
  );
  const retryAfterMs = retryAfterOf(response, now);
  const options = { cause, ...(retryAfterMs !== undefined && { retryAfterMs }) };

  if (status === 429) {
    if (header(response, 'x-warp-error-code')?.trim().toUpperCase() === 'OUT_OF_CREDITS') {
      return new AppError(
        'upstream_quota_exhausted',
        'The account has no credits left. Wait for its quota to return, or add credits.',
        options,
      );
    }
    return new AppError(
      'upstream_rate_limited',
      'The upstream takes no more requests now. Slow down.',
      options,
    );
  }
  if (status === 408 || status >= 500) {
    return new AppError(
      'upstream_unavailable',
      'The upstream could not take the request. Try again.',
      options,
    );
  }
  if (status === 401) {
    return new AppError(
      'upstream_unauthorized',
      "The upstream did not accept the account's credential. Renew it or replace the account.",
      { cause },
    );
  }
  if (status === 402 || status === 403) {
    return new AppError(
      'upstream_refused',
      'The upstream refuses this account. Look into its plan and standing with the provider.',
      { cause },
    );
  }
  if (status >= 400) {
    return new AppError(
      'invalid_request',
      'The upstream refused the request. Check the model name and what was sent; the log has its answer.',
      { cause },
    );
  }
  return new AppError(
    'upstream_protocol',
    'The upstream answered with something that is no turn. Check the address it is configured with.',
    { cause },
  );
}

/** Milliseconds, from a number of seconds or a date. */
function retryAfterOf(response: FailedResponse, now: number): number | undefined {
  const value = header(response, 'retry-after')?.trim();
  if (!value) return undefined;
  if (/^\d+(\.\d+)?$/.test(value)) return Math.ceil(Number(value) * 1_000);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

function header(response: FailedResponse, name: string): string | undefined {
  const value = response.headers[name];
  return typeof value === 'string' ? value : value?.[0];
}
