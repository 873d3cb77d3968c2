import { z } from 'zod';
import { AppError, type AppErrorOptions, type ErrorCode } from '../../core/errors.ts';
import { upToFirstProblem } from '../../core/first-problem-only.ts';
import { readRetryAfter } from '../../lib/backoff.ts';
import { isSurelyUnsent } from '../../lib/network/transport-errors.ts';
import { ownValue } from '../../lib/parse-json.ts';
import { beginningOf } from '../../lib/shown-text.ts';
import { answeredOnTheWay } from '../../protocols/shared/failed-answer.ts';
import { networkError } from '../http.ts';

/** An error and, where the evidence says more than the code does, whose fault it is and whether to try elsewhere. */
interface Known extends Pick<AppErrorOptions, 'fault' | 'failover'> {
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

const tooLarge: Known = {
  code: 'too_large',
  message: 'The conversation is larger than the upstream takes. Shorten it, or send fewer or smaller images.',
};
const stopped: Known = {
  code: 'upstream_unavailable',
  message: 'The run was cancelled at the upstream. Send the request again if you still want it.',
  // A person did this. It is no fault of the account, and another account would not be what they want.
  fault: 'request',
  failover: 'no',
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
  agent_process_failed: unavailable,
  infrastructure_timeout: {
    code: 'upstream_timeout',
    message: 'The run took longer than the upstream allows. Ask for less.',
    failover: 'no',
  },
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
  // Named when it is looked at: Node loads its whole fetch with this name.
  headers: z
    .custom<Headers>((given) => given instanceof Headers)
    .optional()
    .catch(undefined),
  error: z.unknown(),
});
/** RFC 7807, as far as anything depends on it. */
const problemSchema = z.looseObject({
  type: z.string().optional().catch(undefined),
  retryable: z.boolean().optional().catch(undefined),
});

interface Answered {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  /** Undefined where the answer is not the API's own, which is always a JSON object. */
  readonly problem:
    | { readonly code: string | undefined; readonly isRetryable: boolean | undefined }
    | undefined;
}

/** What was answered, where the SDK has thrown an answer. */
function answeredIn(thrown: unknown): Answered | undefined {
  const answered = answeredSchema.safeParse(thrown).data;
  if (!answered) return undefined;
  const problem = problemSchema.safeParse(answered.error).data;
  return {
    status: answered.status,
    retryAfterMs: readRetryAfter({ 'retry-after': answered.headers?.get('retry-after') ?? undefined }),
    problem: problem && { code: platformCodeOf(problem.type), isRetryable: problem.retryable },
  };
}

/** The last part of the problem's type, which the vendor writes with dashes or with underscores. */
function platformCodeOf(type: string | undefined): string | undefined {
  return type
    ?.split(/[/#]/)
    .findLast((part) => part !== '')
    ?.replaceAll('-', '_');
}

/** The status of the API's own refusal; undefined when it did not answer, or something on the way did. */
export function statusOf(thrown: unknown): number | undefined {
  const answered = answeredIn(thrown);
  return answered?.problem && answered.status;
}

/** Whether a request to begin a run that failed so has surely begun none. */
export function hasSurelyBegunNothing(thrown: unknown): boolean {
  const answered = answeredIn(thrown);
  if (answered === undefined) return isSurelyUnsent(thrown);
  const { status, problem } = answered;
  return (status < 500 || problem?.code === 'resource_unavailable') && status !== 408;
}

/** The answer of a call, read by its schema. Throws AppError for a page, which is not the API's, and ZodError. */
export function readAnswer<Schema extends z.ZodType>(schema: Schema, answer: unknown): z.infer<Schema> {
  // The SDK gives as text what is not said to be JSON.
  if (typeof answer === 'string') throw answeredOnTheWay({ cause: new Error(beginningOf(answer, 2_000)) });
  return schema.parse(answer, upToFirstProblem);
}

/** What the SDK, or the reading of its answer, has thrown. */
export function errorFromOz(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  if (thrown instanceof z.ZodError || thrown instanceof SyntaxError) {
    const message = 'The upstream answered with something that is not documented. Try again.';
    return new AppError('upstream_protocol', message, { cause: thrown });
  }
  const answered = answeredIn(thrown);
  if (!answered) return unansweredError(thrown);
  const { retryAfterMs } = answered;
  const options = { cause: thrown, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  const known = knownAnswer(answered);
  return known ? errorOf(known, options) : answeredOnTheWay(options);
}

interface RunStatus {
  readonly message?: string | null | undefined;
  readonly error_code?: string | null | undefined;
  readonly retryable?: boolean | null | undefined;
}

/** What became of a run that ended otherwise than well. */
export function errorOfRun(
  state: string,
  status: RunStatus | null | undefined,
  options: { readonly isFinal: boolean },
): AppError {
  const cause = new Error(`the run is ${state}: ${status?.message ?? 'nothing more is said'}`);
  return errorOf(knownEnd(state, status ?? {}), { cause, ...options });
}

function errorOf({ code, message, fault, failover }: Known, options: AppErrorOptions): AppError {
  return new AppError(code, message, { ...options, ...(fault && { fault }), ...(failover && { failover }) });
}

function knownEnd(state: string, status: RunStatus): Known {
  if (state === 'CANCELLED') return stopped;
  if (state === 'BLOCKED') {
    const message =
      'The run has stopped to ask for input or an approval, which this gateway cannot give. Say all it needs in the request.';
    return { code: 'invalid_request', message };
  }
  const known = ownValue(byPlatformCode, status.error_code ?? '') ?? {
    code: 'upstream_unavailable',
    message: 'The run failed at the upstream. Look at the run, or try again.',
  };
  if (known.code !== 'upstream_unavailable') return known;
  // A failed run is paid for, so at most one more is tried.
  return { ...known, failover: status.retryable === false ? 'no' : 'once' };
}

/** Undefined for what the API itself does not answer. */
function knownAnswer({ status, problem }: Answered): Known | undefined {
  if (status === 413) return tooLarge;
  if (!problem) return status === 429 ? { ...full, fault: 'network', failover: 'no' } : undefined;
  const { code = '', isRetryable } = problem;
  const known = ownValue(byPlatformCode, code);
  // The documented 429 says the same as the run that could not be placed, but of a request that may be repeated.
  if (status === 429 && known !== spent) return full;
  if (known) return known;
  if (status === 401) return unauthorized;
  if (status === 402) return spent;
  if (status === 408) return { ...unavailable, fault: 'network' };
  if (status >= 500) return { ...unavailable, ...(isRetryable === false && { failover: 'no' }) };
  if (status < 400) return undefined;
  if (isRetryable) return unavailable;
  return status === 403 ? refused : invalid;
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
