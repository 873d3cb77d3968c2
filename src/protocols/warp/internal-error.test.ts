import { expect, it } from 'vitest';
import { internalErrorOf } from './classify-failure.ts';

const anthropic = (type: string, message: string) =>
  JSON.stringify({ type: 'error', error: { type, message }, request_id: 'req_1' });
/** As one service quotes another's answer. */
const quoted = (text: string) => `llm call failed: ${JSON.stringify({ status: 'failed', body: text })}`;

it.each([
  [
    'openai',
    '{"error":{"message":"Too long","type":"invalid_request_error","code":"context_length_exceeded"}}',
  ],
  ['a word', 'context_window_exceeded'],
  ['with a status', 'error, status code: 400, message: context_length_exceeded'],
  ['in capitals', 'CONTEXT LENGTH EXCEEDED'],
  ['in camel case', 'ContextWindowExceededError: litellm'],
  ['openai, old', "This model's maximum context length is 8192 tokens. However, you requested 9000."],
  ['xai', "This model's maximum prompt length is 131072 but the request contains 537812 tokens."],
  ['anthropic', anthropic('invalid_request_error', 'prompt is too long: 210000 tokens > 200000 maximum')],
  [
    'anthropic, limits',
    anthropic('invalid_request_error', 'input length and `max_tokens` exceed context limit'),
  ],
  ['google', 'The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).'],
  ['quoted', quoted(anthropic('invalid_request_error', 'prompt is too long'))],
])('is a context that is too long: %s', (_name, text) => {
  const error = internalErrorOf(text);
  expect(error).toMatchObject({ code: 'context_too_long', failover: 'no', outcome: undefined });
  // Agents shorten their conversation when they read these words.
  expect(error.message).toMatch(/^The prompt is too long/);
});

it.each([
  ['anthropic', anthropic('invalid_request_error', 'A maximum of 100 PDF pages may be provided.')],
  [
    'with a status',
    `400 ${anthropic('invalid_request_error', 'A maximum of 100 PDF pages may be provided.')}`,
  ],
  ['quoted', quoted(anthropic('invalid_request_error', 'A maximum of 100 PDF pages may be provided.'))],
  [
    'quoted twice',
    quoted(quoted(anthropic('invalid_request_error', 'A maximum of 100 PDF pages may be provided.'))),
  ],
])('is a request that is refused, in the vendor’s words: %s', (_name, text) => {
  const error = internalErrorOf(text);
  expect(error).toMatchObject({ code: 'invalid_request', failover: 'no', isFinal: true, outcome: undefined });
  expect(error.message).toBe(
    "The model's vendor refused the request: A maximum of 100 PDF pages may be provided.",
  );
});

it.each([
  'Error code: 400 - bad schema',
  'google: 400 INVALID_ARGUMENT',
  'rpc error: code = InvalidArgument desc = bad schema',
  'Invalid-Request-Error: tools.0.custom.input_schema',
  'status code: 413, request_too_large',
  'HTTP/1.1 422 Unprocessable',
])('is a request that is refused: %s', (text) => {
  const error = internalErrorOf(text);
  expect(error).toMatchObject({ code: 'invalid_request', failover: 'no' });
  expect(error.message).toContain('Check what was sent');
});

it.each([
  ['403', '{"error":{"type":"forbidden","status":403}}'],
  ['429', 'error, status code: 429, message: slow down'],
  ['529', `529 ${anthropic('overloaded_error', 'Overloaded')}`],
  ['500', 'HTTP 500 from vendor'],
  ['503', '{"error":{"code":503,"message":"try later","status":"UNAVAILABLE"}}'],
  ['overloaded', anthropic('overloaded_error', 'Overloaded')],
  ['rate limit', anthropic('rate_limit_error', 'This would exceed your rate limit')],
  ['api error', anthropic('api_error', 'Internal server error')],
  ['google', 'RESOURCE_EXHAUSTED: Quota exceeded'],
  ['camel case', 'litellm.InternalServerError: AnthropicException'],
  ['a class name', 'openai.RateLimitError'],
  ['another', 'ServiceUnavailableError'],
  ['grpc', 'rpc error: code = Unavailable desc = try later'],
  ['a status field', '{"http_status":503,"detail":"x"}'],
  ['a sentence', 'the provider returned a 502'],
  ['capacity', 'The model is currently at capacity'],
  ['a team without credits', 'Your team has used all available credits.'],
  ['such a team, as a bad request', '400 invalid_request_error: your team has used all available credits'],
  [
    'a vendor without money',
    anthropic('invalid_request_error', 'Your credit balance is too low to access the API'),
  ],
  ['401 of a vendor', '401 {"error":{"type":"invalid_request_error","code":"invalid_api_key"}}'],
])('is a model that is not served: %s', (_name, text) => {
  const error = internalErrorOf(text);
  expect(error).toMatchObject({
    code: 'model_unavailable',
    failover: 'once',
    outcome: undefined,
    retryAfterMs: 5_000,
  });
});

it.each([
  '',
  'boom',
  'Internal server error',
  'API error',
  'panic at line 500',
  'unexpected end of JSON input',
  'stack trace',
])('is a failure to be tried once more, and no account’s: %j', (text) => {
  const error = internalErrorOf(text);
  expect(error).toMatchObject({ code: 'upstream_unavailable', failover: 'once', outcome: undefined });
  if (text !== '') expect(error.message).not.toContain(text);
  expect(String(error.cause)).toContain(text);
});
