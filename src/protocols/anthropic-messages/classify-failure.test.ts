import { expect, it } from 'vitest';
import { classifyFailure } from './classify-failure.ts';
import { messagesLimitFamily, readMessagesLimits } from './limits.ts';

const now = Date.parse('2026-01-01T00:00:00Z');
const error = (type: string, message = 'Words.') => ({
  type: 'error',
  error: { type, message },
  request_id: 'r',
});
const classify = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  classifyFailure(
    { status, headers, body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) },
    now,
  );

// LiteLLM and Zhipu behind Anthropic's dialect.
it.each([
  [
    400,
    { error: { message: 'Budget has been exceeded!', type: 'budget_exceeded', code: '400' } },
    'quota_exhausted',
  ],
  [429, { error: { message: '余额不足或无可用资源包,请充值。', code: '1113' } }, 'quota_exhausted'],
  [401, { error: { message: 'key not allowed', type: 'key_model_access_denied', code: '401' } }, undefined],
])('%i %j is known by the name of its error: %s', (status, body, outcome) => {
  expect(classify(status, body).outcome).toBe(outcome);
});

it.each([
  [400, error('invalid_request_error', 'max_tokens: Field required'), 'invalid_request', 'request'],
  [
    400,
    error('invalid_request_error', 'prompt is too long: 208310 tokens > 200000 maximum'),
    'context_too_long',
    'request',
  ],
  [
    400,
    error(
      'invalid_request_error',
      'input length and `max_tokens` exceed context limit: 190000 + 64000 > 200000',
    ),
    'context_too_long',
    'request',
  ],
  [
    400,
    error('invalid_request_error', 'Your credit balance is too low to access the Anthropic API.'),
    'upstream_quota_exhausted',
    'account',
  ],
  [
    400,
    error('invalid_request_error', 'You have reached your specified API usage limits.'),
    'upstream_quota_exhausted',
    'account',
  ],
  [
    400,
    error('invalid_request_error', 'This organization has been disabled.'),
    'upstream_refused',
    'account',
  ],
  // Fields that a client has named.
  ...[
    'billing: Extra inputs are not permitted',
    'This organization has been disabled.: Extra inputs are not permitted',
    "tools.0: Input tag 'billing' found",
  ].map((message) => [400, error('invalid_request_error', message), 'invalid_request', 'request'] as const),
  [401, error('authentication_error', 'invalid x-api-key'), 'upstream_unauthorized', 'account'],
  [402, error('billing_error'), 'upstream_quota_exhausted', 'account'],
  [403, error('permission_error'), 'upstream_refused', 'account'],
  [403, error('permission_error', 'Your plan does not include this model.'), 'model_not_found', 'model'],
  [404, error('not_found_error', 'File not found: file_model'), 'invalid_request', 'request'],
  [404, error('not_found_error', 'model: claude-9'), 'model_not_found', 'model'],
  [404, error('not_found_error', 'Not Found'), 'upstream_protocol', 'upstream'],
  [404, { detail: 'No such model here.' }, 'model_not_found', 'model'],
  [413, error('request_too_large'), 'too_large', 'request'],
  [413, '<html>', 'too_large', 'request'],
  [425, error('too_early'), 'upstream_unavailable', 'upstream'],
  [429, error('rate_limit_error'), 'upstream_rate_limited', 'account'],
  [429, 'Too many', 'upstream_rate_limited', 'account'],
  [
    429,
    error('rate_limit_error', 'Extra usage is required for long context requests.'),
    'context_too_long',
    'request',
  ],
  [500, error('api_error'), 'upstream_unavailable', 'upstream'],
  [504, error('timeout_error'), 'upstream_unavailable', 'upstream'],
  [529, error('overloaded_error'), 'model_unavailable', 'model'],
  [403, '<!doctype html>', 'upstream_unavailable', 'network'],
  [302, '', 'upstream_unavailable', 'network'],
  [200, error('overloaded_error'), 'model_unavailable', 'model'],
  [200, { object: 'list' }, 'upstream_protocol', 'upstream'],
] as const)('%i %j is %s', (status, body, code, fault) => {
  expect(classify(status, body)).toMatchObject({ code, fault });
});

it.each([
  'messages.1.content.0: Invalid `signature` in `thinking` block',
  'messages.1.content.0.thinking.signature: Field required',
  'messages.1.content.0.thinking: each thinking block must contain thinking',
  'messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant` message must start with a thinking block',
  'messages.1: The final block in an assistant message cannot be `thinking`.',
  'messages.1.content.0: If an assistant message contains any thinking blocks, the first block must be `thinking` or `redacted_thinking`. Found `text`.',
])('knows a refusal of the thinking that was given back: %s', (message) => {
  expect(classify(400, error('invalid_request_error', message)).sendAgain).toEqual({
    how: 'without-proofs',
  });
});

it('says that a prompt is too long in the words that agents look for', () => {
  const { message } = classify(
    400,
    error('invalid_request_error', 'Too many tokens for this context window.'),
  );
  expect(message).toMatch(/^The prompt is too long .* Too many tokens/);
});

it("keeps Anthropic's own answer for what is the request's fault alone", () => {
  const refusal = error('invalid_request_error', 'temperature: Extra inputs are not permitted');
  expect(classify(400, refusal)).toMatchObject({
    message: 'temperature: Extra inputs are not permitted',
    vendorAnswer: { dialect: 'messages', status: 400, body: JSON.stringify(refusal) },
  });
  for (const status of [401, 403, 429, 529]) expect(classify(status, refusal).vendorAnswer).toBeUndefined();
});

it('shows the words of a server that has no error objects', () => {
  expect(classify(400, { detail: [{ msg: 'max_tokens is too large' }] }).message).toBe(
    'max_tokens is too large',
  );
});

it('waits as long as the answer says, or until the window that is used up opens', () => {
  const wait = (headers: Record<string, string>, status = 429) =>
    classify(status, error('rate_limit_error'), headers).retryAfterMs;
  const windows = {
    'anthropic-ratelimit-unified-5h-status': 'rejected',
    'anthropic-ratelimit-unified-5h-reset': String(now / 1_000 + 60),
    'anthropic-ratelimit-unified-7d-status': 'allowed',
    'anthropic-ratelimit-unified-7d-reset': String(now / 1_000 + 900),
  };
  expect([wait({ 'retry-after': '2', ...windows }), wait(windows), wait({}), wait(windows, 529)]).toEqual([
    2_000,
    60_000,
    undefined,
    undefined,
  ]);
});

it('reads the limits of a family of models, and the windows of an account', () => {
  const headers = {
    'anthropic-ratelimit-requests-limit': '50',
    'anthropic-ratelimit-requests-remaining': '0',
    'anthropic-ratelimit-requests-reset': '2026-01-01T00:00:30Z',
    'anthropic-ratelimit-input-tokens-remaining': '7',
    'anthropic-ratelimit-output-tokens-remaining': 'many',
    'anthropic-ratelimit-unified-5h-utilization': '0.42',
    'anthropic-ratelimit-unified-5h-reset': String(now / 1_000 + 60),
    'anthropic-ratelimit-unified-7d-utilization': '1',
  };
  expect(readMessagesLimits(headers)).toEqual([
    { name: 'requests', limit: 50, remaining: 0, resetAt: now + 30_000 },
    { name: 'input_tokens', remaining: 7 },
    { name: '5h', usedPercent: 42, isOfAccount: true, resetAt: now + 60_000 },
    { name: '7d', usedPercent: 100, isOfAccount: true },
  ]);
  const twice = { ...headers, 'anthropic-ratelimit-requests-reset': ['1', '2'] };
  expect(readMessagesLimits(twice)[0]).toEqual({ name: 'requests', limit: 50, remaining: 0 });
  const models = ['claude-opus-4-5-20251101', 'claude-3-7-sonnet-latest', 'claude-sonnet-5-5', 'kimi-k3'];
  expect(models.map(messagesLimitFamily)).toEqual(['opus', 'sonnet', 'sonnet', 'kimi-k3']);
});
