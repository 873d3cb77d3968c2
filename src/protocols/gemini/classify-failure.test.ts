import { expect, it } from 'vitest';
import { classifyFailure } from './classify-failure.ts';

const type = 'type.googleapis.com/google.rpc.';
/** 13:30 in California, in summer. */
const now = Date.parse('2026-07-01T20:30:00Z');
const failed = (code: number, status: string, message: string, details: object[] = []) =>
  classify(code, { error: { code, message, status, details } });
function classify(status: number, body: unknown, contentType = 'application/json') {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return classifyFailure({ status, headers: { 'content-type': contentType }, body: Buffer.from(text) }, now);
}

const violation = (quotaId: string, more: object = {}) => ({
  '@type': `${type}QuotaFailure`,
  violations: [
    {
      quotaMetric: 'generativelanguage.googleapis.com/generate_content_free_tier_requests',
      quotaId,
      quotaDimensions: { location: 'global', model: 'gemini-2.5-flash' },
      ...more,
    },
  ],
});
const retry = { '@type': `${type}RetryInfo`, retryDelay: '45.2s' };
const quota = 'You exceeded your current quota, please check your plan and billing details.';

it('a limit of a minute is a rate limit with the wait that Google names', () => {
  const error = failed(429, 'RESOURCE_EXHAUSTED', quota, [
    violation('GenerateRequestsPerMinutePerProjectPerModel-FreeTier'),
    retry,
  ]);
  expect(error).toMatchObject({
    code: 'upstream_rate_limited',
    retryAfterMs: 45_200,
    modelLimit: 'GenerateRequestsPerMinutePerProjectPerModel-FreeTier',
    outcome: undefined,
  });
  const ofAccount = failed(429, 'RESOURCE_EXHAUSTED', quota, [
    violation('GenerateRequestsPerMinutePerProject'),
    retry,
  ]);
  expect(ofAccount).toMatchObject({ modelLimit: undefined, outcome: 'rate_limited' });
});

it('a limit of a day is a used-up quota until midnight in California', () => {
  const error = failed(429, 'RESOURCE_EXHAUSTED', quota, [
    violation('GenerateRequestsPerDayPerProjectPerModel-FreeTier'),
    retry,
  ]);
  expect(error).toMatchObject({
    code: 'upstream_quota_exhausted',
    resetAt: new Date('2026-07-02T07:00:00Z'),
    retryAfterMs: undefined,
    modelLimit: 'GenerateRequestsPerDayPerProjectPerModel-FreeTier',
    outcome: undefined,
    isModelRefusedToAccount: false,
  });
  const ofAccount = failed(429, 'RESOURCE_EXHAUSTED', quota, [violation('GenerateRequestsPerDayPerProject')]);
  expect(ofAccount).toMatchObject({ code: 'upstream_quota_exhausted', outcome: 'quota_exhausted' });
});

it('a plan that has none of a model may still have others', () => {
  const message = `${quota}\n* Quota exceeded for metric: generate_content_free_tier_requests, limit: 0, model: gemini-3-pro`;
  const error = failed(429, 'RESOURCE_EXHAUSTED', message, [retry]);
  expect(error).toMatchObject({ code: 'model_not_found', isModelRefusedToAccount: true });
});

const keyInvalid = { '@type': `${type}ErrorInfo`, reason: 'API_KEY_INVALID', domain: 'googleapis.com' };
const field = {
  '@type': `${type}BadRequest`,
  fieldViolations: [{ field: 'generation_config.temperature', description: 'too high' }],
};

it.each([
  [
    400,
    'INVALID_ARGUMENT',
    'API key not valid. Please pass a valid API key.',
    [keyInvalid],
    'upstream_unauthorized',
  ],
  [400, 'INVALID_ARGUMENT', 'API key expired. Please renew the API key.', [], 'upstream_unauthorized'],
  [400, 'INVALID_ARGUMENT', 'Any.', [keyInvalid], 'upstream_unauthorized'],
  [400, 'INVALID_ARGUMENT', 'Unknown name "api key expired": Cannot find field.', [], 'invalid_request'],
  [401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.', [], 'upstream_unauthorized'],
  [
    400,
    'INVALID_ARGUMENT',
    'The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).',
    [],
    'context_too_long',
  ],
  [400, 'INVALID_ARGUMENT', 'Request payload size exceeds the limit: 20971520 bytes.', [], 'too_large'],
  [400, 'FAILED_PRECONDITION', 'User location is not supported for the API use.', [], 'upstream_refused'],
  [400, 'INVALID_ARGUMENT', 'Unable to submit request because …', [field], 'invalid_request'],
  [402, 'FAILED_PRECONDITION', 'Payment is required.', [], 'upstream_quota_exhausted'],
  [403, 'PERMISSION_DENIED', 'Your API key was reported as leaked.', [], 'upstream_refused'],
  [403, 'PERMISSION_DENIED', 'You do not have permission to access tuned model x.', [], 'model_not_found'],
  [
    403,
    'PERMISSION_DENIED',
    'You do not have permission to access the File a1 or it may not exist.',
    [],
    'invalid_request',
  ],
  [403, 'PERMISSION_DENIED', 'CachedContent not found (or permission denied)', [], 'invalid_request'],
  [
    404,
    'NOT_FOUND',
    'models/gemini-9 is not found for API version v1beta, or is not supported for generateContent.',
    [],
    'model_not_found',
  ],
  [425, 'UNAVAILABLE', 'Too early.', [], 'upstream_unavailable'],
  [429, 'RESOURCE_EXHAUSTED', 'Resource has been exhausted (e.g. check quota).', [], 'upstream_rate_limited'],
  [429, 'RESOURCE_EXHAUSTED', 'Your prepayment credits are depleted.', [], 'upstream_quota_exhausted'],
  [499, 'CANCELLED', 'The operation was cancelled.', [], 'upstream_unavailable'],
  [500, 'INTERNAL', 'An internal error has occurred.', [], 'upstream_unavailable'],
  [503, 'UNAVAILABLE', 'The model is overloaded. Please try again later.', [], 'model_unavailable'],
  [504, 'DEADLINE_EXCEEDED', 'The request timed out.', [], 'upstream_timeout'],
  [529, 'UNAVAILABLE', 'Overloaded.', [], 'model_unavailable'],
] as const)('%i %s "%s" is understood', (code, status, message, details, expected) => {
  expect(failed(code, status, message, [...details]).code).toBe(expected);
});

it('a place that is not served ends no account', () => {
  const { outcome } = failed(
    400,
    'FAILED_PRECONDITION',
    'User location is not supported for the API use.',
    [],
  );
  expect(outcome).toBeUndefined();
});

it.each([
  [400, 3, 'invalid_request', 'request'],
  [401, 16, 'upstream_unauthorized', 'account'],
  [503, 14, 'model_unavailable', 'model'],
  [529, 200, 'model_unavailable', 'model'],
  // Of a stream that began well, or of an answer with no status of a failure.
  [200, 14, 'upstream_unavailable', 'upstream'],
  [200, undefined, 'upstream_unavailable', 'upstream'],
  [302, undefined, 'upstream_unavailable', 'upstream'],
] as const)(
  'goes by status %i where the error’s own number %s is no status of a failure',
  (status, code, expected, fault) => {
    const error = classify(status, { error: { code, message: 'No.', status: 'UNKNOWN' } });
    expect(error).toMatchObject({ code: expected, fault });
  },
);

it('passes the words of a refused request on, with the field at fault and the body for clients of the dialect', () => {
  const error = failed(400, 'INVALID_ARGUMENT', 'temperature is too high', [field]);
  expect(error).toMatchObject({ message: 'temperature is too high', param: 'generation_config.temperature' });
  expect(error.vendorAnswer).toMatchObject({ dialect: 'gemini', status: 400 });
  expect(failed(503, 'UNAVAILABLE', 'overloaded').vendorAnswer).toBeUndefined();
});

it('reads an error in a list, and answers that are no error of Google’s', () => {
  expect(classify(429, [{ error: { code: 429, message: quota, details: [retry] } }])).toMatchObject({
    code: 'upstream_rate_limited',
    retryAfterMs: 45_200,
  });
  expect(classify(403, '<html>Forbidden</html>', 'text/html')).toMatchObject({
    code: 'upstream_unavailable',
    fault: 'network',
  });
  expect(classify(200, '<!doctype html>', 'text/html')).toMatchObject({ fault: 'network' });
  expect(classify(200, {}).code).toBe('upstream_protocol');
  expect(classify(404, 'not here', 'text/plain').code).toBe('upstream_protocol');
  expect(classify(502, 'bad gateway', 'text/plain').code).toBe('upstream_unavailable');
});
