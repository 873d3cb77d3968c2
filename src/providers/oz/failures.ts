import { z } from 'zod';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import { isSurelyUnsent } from '../../lib/network/transport-errors.ts';
import { networkError } from '../network-error.ts';
import { retryAfterOf } from '../token-http.ts';

interface Known {
  readonly code: ErrorCode;
  readonly message: string;
}

const spent: Known = {
  code: 'upstream_quota_exhausted',
  message:
    "The account's team has no credits left for runs, or has reached its budget. Wait, or add credits at the provider.",
};
const refused: Known = {
  code: 'upstream_refused',
  message:
    'The upstream refuses this account. Look into its plan, its permissions and the services its environment needs.',
};
const unavailable: Known = {
  code: 'upstream_unavailable',
  message: 'The upstream could not carry the run. Try again.',
};
const full: Known = {
  code: 'upstream_rate_limited',
  message: 'The upstream has no room for another run at the moment. Try again later.',
};
const unauthorized: Known = {
  code: 'upstream_unauthorized',
  message: "The upstream did not accept the account's API key. Replace it.",
};
const invalid: Known = {
  code: 'invalid_request',
  message:
    'The upstream refused the request. Check the model name and what was sent; the log has its answer.',
};

/** The error codes that the vendor documents, of refusals and of runs that ended badly. */
const byPlatformCode: Readonly<Record<string, Known>> = {
  insufficient_credits: spent,
  budget_exceeded: spent,
  feature_not_available: refused,
  not_authorized: refused,
  external_authentication_required: refused,
  integration_disabled: refused,
  integration_not_configured: refused,
  authentication_required: unauthorized,
  resource_unavailable: unavailable,
  internal_error: unavailable,
  conflict: unavailable,
  invalid_request: invalid,
  operation_not_supported: invalid,
  resource_not_found: {
    code: 'invalid_request',
    message: 'The upstream does not know the model, or the environment of OZ_ENVIRONMENT_ID. Check both.',
  },
  content_policy_violation: {
    code: 'invalid_request',
    message: "The upstream's content policy does not let this prompt pass. Change it.",
  },
  environment_setup_failed: {
    code: 'invalid_request',
    message: 'The environment of the run could not be set up. Look at the run, and mend OZ_ENVIRONMENT_ID.',
  },
};

const answeredSchema = z.looseObject({
  status: z.number(),
  headers: z.instanceof(Headers).optional().catch(undefined),
  error: z.unknown(),
});
const problemSchema = z.looseObject({ type: z.string() });

/** The status of an answer that the SDK has thrown; undefined when there was none. */
export function statusOf(thrown: unknown): number | undefined {
  return answeredSchema.safeParse(thrown).data?.status;
}

/** Whether a request to begin a run that failed so has surely begun none. */
export function hasSurelyBegunNothing(thrown: unknown): boolean {
  const status = statusOf(thrown);
  if (status === undefined) return isSurelyUnsent(thrown);
  return (status < 500 || platformCodeOf(thrown) === 'resource_unavailable') && status !== 408;
}

/** What the SDK, or the reading of its answer, has thrown. */
export function errorFromOz(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  if (thrown instanceof z.ZodError) {
    const message = 'The upstream answered with something that is not documented. Try again.';
    return new AppError('upstream_protocol', message, { cause: thrown });
  }
  const answered = answeredSchema.safeParse(thrown).data;
  if (!answered) return unansweredError(thrown);
  const { code, message } = knownAnswer(answered.status, platformCodeOf(thrown));
  const retryAfterMs = retryAfterOf(answered.headers?.get('retry-after') ?? undefined);
  return new AppError(code, message, {
    cause: thrown,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** What became of a run that ended otherwise than well. */
export function errorOfRun(
  state: string,
  status:
    | { readonly message?: string | null | undefined; readonly error_code?: string | null | undefined }
    | null
    | undefined,
  options: { readonly isFinal: boolean },
): AppError {
  const { code, message } = knownEnd(state, status?.error_code);
  const cause = new Error(`the run is ${state}: ${status?.message ?? 'nothing more is said'}`);
  return new AppError(code, message, { cause, ...options });
}

function knownEnd(state: string, platformCode: string | null | undefined): Known {
  const known = byPlatformCode[platformCode ?? ''];
  if (known) return known;
  if (state === 'BLOCKED') {
    const message =
      'The run has stopped to ask for input or an approval, which nobody here can give. Say all it needs in the request.';
    return { code: 'invalid_request', message };
  }
  return state === 'CANCELLED'
    ? { code: 'upstream_unavailable', message: 'The run was cancelled at the upstream. Try again.' }
    : {
        code: 'upstream_unavailable',
        message: 'The run failed at the upstream. Look at the run, or try again.',
      };
}

function knownAnswer(status: number, platformCode: string | undefined): Known {
  const known = byPlatformCode[platformCode ?? ''];
  // The documented 429 says the same as the run that could not be placed, but of a request that may be repeated.
  if (status === 429 && known !== spent) return full;
  if (known) return known;
  if (status === 401) return unauthorized;
  if (status === 402) return spent;
  if (status === 403) return refused;
  if (status === 408 || status >= 500) return unavailable;
  if (status >= 400) return invalid;
  return {
    code: 'upstream_protocol',
    message: 'The upstream answered with something that is no run. Check its address.',
  };
}

/** The last part of the problem's type, which the vendor writes with dashes or with underscores. */
function platformCodeOf(thrown: unknown): string | undefined {
  const problem = problemSchema.safeParse(answeredSchema.safeParse(thrown).data?.error).data;
  return problem?.type.replace(/\/+$/, '').split('/').pop()?.replaceAll('-', '_');
}

function unansweredError(thrown: unknown): AppError {
  if (thrown instanceof Error && thrown.cause instanceof AppError) return thrown.cause;
  if (thrown instanceof Error && thrown.name === 'APIConnectionTimeoutError') {
    return new AppError('upstream_timeout', 'The upstream did not answer in time. Try again.', {
      cause: thrown,
    });
  }
  return networkError(thrown, 'The upstream broke off before it had answered. Try again.');
}
