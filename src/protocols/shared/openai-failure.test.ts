import { describe, expect, it } from 'vitest';
import { createLogger } from '../../lib/log/logger.ts';
import { classifyFailure, classifyNamed } from './openai-failure.ts';

const classify = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  classifyFailure(
    {
      status,
      headers,
      body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
    },
    Date.parse('2026-01-01T00:00:00Z'),
    'chat',
  );
const error = (code: string | null, message = 'Words.', param: string | null = null) => ({
  error: { message, type: 'any', param, code },
});
const page = '<!doctype html><title>Blocked</title>';

it.each([
  [400, error('unsupported_value', 'No.', 'temperature'), 'invalid_request'],
  [400, error('context_length_exceeded'), 'context_too_long'],
  [400, error(null, "This model's maximum context length is 8192 tokens."), 'context_too_long'],
  ...[
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    'Invalid request: Your request exceeded model token limit: 8192',
    'Range of input length should be [1, 129024]',
    'The decoder prompt (length 9000) is longer than the maximum model length of 8192.',
    'request (24071 tokens) exceeds the available context size (8192 tokens), try increasing it',
  ].map((message) => [400, error(null, message), 'context_too_long'] as const),
  [400, error(null, 'Range of top_p should be (0, 1]'), 'invalid_request'],
  [422, { detail: 'bad' }, 'invalid_request'],
  [401, error('invalid_api_key'), 'upstream_unauthorized'],
  [402, error(null, 'Insufficient Balance'), 'upstream_quota_exhausted'],
  [402, error(null, 'This request requires more money.'), 'upstream_quota_exhausted'],
  [403, error(null), 'upstream_refused'],
  [403, error(null, 'Key limit exceeded (daily limit).'), 'upstream_quota_exhausted'],
  [
    403,
    { code: 'any', error: 'Your team 1 has either used all available credits or …' },
    'upstream_quota_exhausted',
  ],
  [
    412,
    error(null, 'Account a is suspended, possibly due to reaching the monthly spending limit'),
    'upstream_quota_exhausted',
  ],
  [403, error('model_not_found'), 'model_not_found'],
  [403, error('model_permission_blocked_project'), 'model_not_found'],
  [
    403,
    { code: 'No permission.', error: 'Content violates usage guidelines. Team: 1, …' },
    'invalid_request',
  ],
  [404, error('model_not_found'), 'model_not_found'],
  [404, error(null, 'Unknown request URL'), 'upstream_protocol'],
  [413, error(null), 'too_large'],
  [429, error('rate_limit_exceeded'), 'upstream_rate_limited'],
  [429, error('insufficient_quota'), 'upstream_quota_exhausted'],
  [500, error(null), 'upstream_unavailable'],
  [503, error(null, 'The model is overloaded.'), 'model_unavailable'],
  [529, error(null), 'model_unavailable'],
  [200, error('rate_limit_exceeded'), 'upstream_rate_limited'],
  [200, { object: 'list' }, 'upstream_protocol'],
  [302, '', 'upstream_unavailable'],
] as const)('%i %j is %s', (status, body, code) => {
  expect(classify(status, body).code).toBe(code);
});

it.each([200, 401, 403, 404, 502])('a page of status %i says nothing about the account', (status) => {
  const { code, fault } = classify(status, page, { 'content-type': 'text/html' });
  expect([code, fault]).toEqual(['upstream_unavailable', 'network']);
});

it.each([
  [{ 'retry-after-ms': '1500', 'retry-after': '9' }, 1_500],
  [{ 'retry-after': '2' }, 2_000],
  [{ 'retry-after': 'Thu, 01 Jan 2026 00:00:07 GMT' }, 7_000],
  [{}, undefined],
])('%j asks for a wait of %s ms', (headers, waitMs) => {
  expect(classify(429, error(null), headers).retryAfterMs).toBe(waitMs);
});

it("shows the words of an error that comes in a list, as at Google's compatible endpoint", () => {
  const { message, code, vendorAnswer } = classify(400, [
    { error: { code: 400, message: 'Unable to submit request.', status: 'INVALID_ARGUMENT' } },
  ]);
  expect([message, code, vendorAnswer]).toEqual(['Unable to submit request.', 'invalid_request', undefined]);
});

it("keeps the vendor's own answer for what is the request's fault alone", () => {
  const refusal = error('unsupported_value', 'No.', 'temperature');
  expect(classify(400, refusal)).toMatchObject({
    param: 'temperature',
    message: 'No.',
    vendorAnswer: { dialect: 'chat', status: 400, body: JSON.stringify(refusal) },
  });
  for (const status of [401, 403, 429, 500]) expect(classify(status, refusal).vendorAnswer).toBeUndefined();
});

it.each([401, 403])(
  'a key that lacks a permission for one call (%i) is as good as before for others',
  (status) => {
    const message =
      'You have insufficient permissions for this operation. Missing scopes: api.responses.write.';
    const { code, outcome, isModelRefusedToAccount, failover } = classify(status, error(null, message));
    expect([code, outcome, isModelRefusedToAccount, failover]).toEqual([
      'model_not_found',
      undefined,
      false,
      'yes',
    ]);
  },
);

it.each([
  [
    "OpenAI's about a model of another project",
    403,
    { error: { message: 'Project `p` does not have access to model `m`', code: 'model_not_found' } },
    'model_not_found',
    'model',
  ],
  [
    "OpenRouter's about a request that is flagged",
    403,
    { error: { code: 403, message: 'Input flagged by moderation', metadata: { reasons: ['violence'] } } },
    'invalid_request',
    'request',
  ],
  ['any other refusal', 403, { error: { message: 'Denied.' } }, 'upstream_refused', 'account'],
  [
    "OpenAI's about the place",
    403,
    error('unsupported_country_region_territory', 'Country, region, or territory not supported'),
    'upstream_refused',
    'model',
  ],
  [
    "OpenRouter's about a vendor behind it",
    403,
    { error: { code: 403, message: 'Provider returned error', metadata: { provider_name: 'OpenAI' } } },
    'upstream_refused',
    'model',
  ],
  [
    "xAI's about a bad key",
    400,
    { code: 'Client specified an invalid argument', error: 'Incorrect API key provided: xa***' },
    'upstream_unauthorized',
    'account',
  ],
  [
    "Google's about a bad key",
    400,
    { error: { code: 400, message: 'API key not valid. Please pass a valid API key.' } },
    'upstream_unauthorized',
    'account',
  ],
  [
    "OpenRouter's where no vendor does what is asked",
    404,
    { error: { code: 404, message: 'No endpoints found that support tool use.' } },
    'invalid_request',
    'request',
  ],
  [
    'one about an item that is not stored',
    404,
    { error: { message: "Item with id 'rs_1' not found.", type: 'invalid_request_error', param: 'input' } },
    'invalid_request',
    'request',
  ],
  [
    'one about an item whose name a client has chosen',
    404,
    { error: { message: "Item with id 'model' not found.", type: 'invalid_request_error', param: 'input' } },
    'invalid_request',
    'request',
  ],
  [
    'one that quotes what reads like a bad key',
    400,
    { error: { message: "Invalid schema for function 'invalid api key'.", param: 'tools[0]' } },
    'invalid_request',
    'request',
  ],
  ['one about the address', 404, { detail: 'Not Found' }, 'upstream_protocol', 'upstream'],
  [
    "vLLM's, which is an error itself",
    400,
    { object: 'error', message: "This model's maximum context length is 4096 tokens", code: 400 },
    'context_too_long',
    'request',
  ],
] as const)('an answer, %s, is classified', (_name, status, body, code, fault) => {
  const error = classify(status, body);
  expect([error.code, error.fault]).toEqual([code, fault]);
  // A client of the dialect gets the words as they are.
  if (fault === 'request') expect(error.vendorAnswer).toMatchObject({ status, body: JSON.stringify(body) });
  else expect(error.vendorAnswer).toBeUndefined();
});

it.each([
  [
    { detail: [{ loc: ['body', 'x'], msg: 'field required' }, { msg: 'too short' }] },
    'field required; too short',
  ],
  [{ detail: 'No such thing' }, 'No such thing'],
  [{ object: 'error', message: 'Bad n', type: 'BadRequestError' }, 'Bad n'],
  [{ message: 'Invalid model' }, 'Invalid model'],
])('says what %j says', (body, words) => {
  expect(classify(422, body)).toMatchObject({ code: 'invalid_request', message: words });
});

it('says of a whole answer in the place of a stream what it is', () => {
  const { code, message } = classify(200, { object: 'chat.completion', choices: [] });
  expect([code, message]).toEqual(['upstream_protocol', expect.stringContaining('a stream was asked for')]);
});

it('says to the log how an answer begins, and not the request that it quotes', () => {
  const quoted = [{ role: 'user', content: `${'word '.repeat(800)}the end of the prompt` }];
  const error = classify(422, { detail: [{ loc: ['body', 'x'], msg: 'too long', input: quoted }] });
  let line = '';
  createLogger('INFO', { write: (text) => (line = text) }).warn({ err: error }, 'turn');
  expect(line).toContain('status 422: ');
  expect(line).not.toContain('the end of the prompt');
  expect(error.vendorAnswer?.body).toContain('the end of the prompt');
});

it.each(['stream this model', 'use the model `o3`'])(
  'of an organization that must be verified to %s, another account is asked',
  (what) => {
    const message = `Your organization must be verified to ${what}. Please go to: https://platform.openai.com/settings`;
    const body = {
      error: { message, type: 'invalid_request_error', param: 'stream', code: 'unsupported_value' },
    };
    expect(classify(400, body)).toMatchObject({ code: 'model_not_found', isModelRefusedToAccount: true });
  },
);

it("knows OpenAI's refusal of reasoning in plain words", () => {
  const message =
    "Invalid 'input[2].content': array too long. Expected an array with maximum length 0, but got an array with length 1 instead.";
  const body = { error: { message, type: 'invalid_request_error', code: 'array_above_max_length' } };
  expect(classify(400, body).sendAgain).toEqual({ how: 'without-proofs' });
});

const moreTokens = 'Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing';

it.each([
  [
    429,
    error('rate_limit_exceeded', `Rate limit reached for model m on tokens per minute (TPM). ${moreTokens}`),
    'rate_limited',
  ],
  [429, error('access_terminated', 'Your access was terminated.'), 'refused'],
  [400, error('organization_restricted', 'Organization has been restricted.'), 'refused'],
  [400, error('billing_hard_limit_reached'), 'quota_exhausted'],
  [
    400,
    error('Arrearage', 'Access denied, please make sure your account is in good standing.'),
    'quota_exhausted',
  ],
  [
    400,
    { error: { message: 'Budget has been exceeded!', type: 'budget_exceeded', code: '400' } },
    'quota_exhausted',
  ],
  [400, { error: { message: 'Expired Key.', type: 'expired_key', code: '400' } }, 'unauthorized'],
  [403, error('insufficient_user_quota', 'token quota is not enough'), 'quota_exhausted'],
  [
    403,
    { code: 'any', error: "Your newly created team doesn't have any credits or licenses yet." },
    'quota_exhausted',
  ],
  [
    429,
    { error: { code: '1308', message: '已达到 5 小时的使用上限。您的限额将在 2026-08-25 07:41:44 重置。' } },
    'quota_exhausted',
  ],
  [429, { error: { code: '1113', message: '余额不足或无可用资源包,请充值。' } }, 'quota_exhausted'],
] as const)('%i %j is of the account: %s', (status, body, outcome) => {
  expect(classify(status, body).outcome).toBe(outcome);
});

it.each([
  [403, { message: "You don't have access to the model with the specified model ID." }],
  [403, { error: { code: 'no_access', message: 'No access to model: m' } }],
  [401, { error: { message: 'key not allowed', type: 'key_model_access_denied', code: '401' } }],
  [403, { error: { message: '该令牌无权访问模型 m', type: 'new_api_error', code: '' } }],
  [404, error('DeploymentNotFound', 'The API deployment for this resource does not exist.')],
])('%i %j is of one model, and the account serves its others', (status, body) => {
  expect(classify(status, body)).toMatchObject({
    code: 'model_not_found',
    outcome: undefined,
    isModelRefusedToAccount: true,
  });
});

it("a prompt that is too long is not the account's fault under 403 either", () => {
  const message = 'Input token count + max_tokens must be less than the context length of the model.';
  expect(classify(403, error(null, message))).toMatchObject({ code: 'context_too_long', outcome: undefined });
});

it.each([429, 413])(
  'a request of more tokens than an account has in a minute rests no account under %i, and another may take it',
  (status) => {
    const message =
      'Request too large for model `m` in organization `o` service tier `on_demand` on tokens per minute (TPM): Limit 8000, Requested 32979.';
    const body = { error: { message, type: 'tokens', code: 'rate_limit_exceeded' } };
    const { code, outcome, failover, isModelRefusedToAccount, message: shown } = classify(status, body);
    expect([code, outcome, failover, isModelRefusedToAccount]).toEqual([
      'context_too_long',
      undefined,
      'yes',
      false,
    ]);
    expect(shown).toContain(message);
  },
);

describe('a longest answer that costs more than the account has', () => {
  const refusalOf = (tokens: number) =>
    `This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only afford ${tokens}.`;
  const answer = (message: string) => classify(402, { error: { message, code: 402 } });

  it('leaves the account to shorter ones, and another may take it', () => {
    const { code, message, outcome, failover, isModelRefusedToAccount } = answer(refusalOf(27_342));
    expect([code, message, outcome, failover, isModelRefusedToAccount]).toEqual([
      'upstream_quota_exhausted',
      refusalOf(27_342),
      undefined,
      'yes',
      false,
    ]);
  });

  it('is of a spent account where no answer is short enough', () => {
    expect(answer(refusalOf(0)).outcome).toBe('quota_exhausted');
  });
});

it.each([408, 409, 425, 499])('%i says that another try may be taken', (status) => {
  expect(classify(status, error(null, 'Cancelled.'))).toMatchObject({
    code: 'upstream_unavailable',
    failover: 'yes',
  });
});

it.each([
  ['644ms', 644],
  ['2s', 2_000],
  ['11.054s', 11_054],
  ['1m26.4s', 86_400],
  ['2h3m', 7_380_000],
  ['a moment', undefined],
])('a limit whose words say "try again in %s" is waited out for as long', (wait, retryAfterMs) => {
  const words = `Rate limit reached for m on tokens per min (TPM): Limit 30000, Used 29937. Please try again in ${wait}. Visit x.`;
  const named = { code: 'rate_limit_exceeded', message: words };
  expect(classifyNamed(named)).toMatchObject({ outcome: 'rate_limited', retryAfterMs });
  expect(classify(429, { error: named }, { 'retry-after': '30' }).retryAfterMs).toBe(30_000);
});

describe('what a vendor behind OpenRouter says', () => {
  const behind = (code: number, raw: string) =>
    classify(code, {
      error: { message: 'Provider returned error', code, metadata: { raw, provider_name: 'V' } },
    });

  it.each([
    [429, 'm is temporarily rate-limited upstream.', 'model_unavailable'],
    [
      401,
      '{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}',
      'upstream_refused',
    ],
    [
      402,
      '{"error":{"code":"insufficient_quota","message":"Check your plan and billing."}}',
      'upstream_refused',
    ],
    [403, 'insufficient_quota', 'upstream_refused'],
  ])('is under %i no fault of the account: %s', (status, raw, code) => {
    expect(behind(status, raw)).toMatchObject({ code, fault: 'model', outcome: undefined });
  });

  it('hears of a request that is at fault', () => {
    const raw = JSON.stringify({ error: { message: 'prompt is too long: 215000 tokens > 200000 maximum' } });
    expect(behind(400, raw)).toMatchObject({
      code: 'context_too_long',
      message: expect.stringContaining('Provider returned error: prompt is too long: 215000 tokens'),
    });
    expect(behind(400, 'Unknown field "x".')).toMatchObject({
      code: 'invalid_request',
      message: 'Provider returned error: Unknown field "x".',
    });
  });
});

it.each(['Provider rate limit exceeded', 'insufficient balance'])(
  'what OpenCode passes on of a vendor behind it is no fault of the account: %s',
  (words) => {
    const named = { message: `Error from provider (Moonshot): ${words}`, type: 'rate_limit_error' };
    expect(classify(429, { error: named })).toMatchObject({ code: 'model_unavailable', outcome: undefined });
  },
);

it('a tier or a service without capacity may be tried again', () => {
  const full = { error: { code: '1305', message: 'The service may be temporarily overloaded.' } };
  expect(classify(429, full)).toMatchObject({ code: 'model_unavailable', outcome: undefined });
  expect(classify(498, error('capacity_exceeded'))).toMatchObject({ code: 'model_unavailable' });
});

it.each([
  ['free-models-per-day-high-balance', 'upstream_quota_exhausted', 24 * 60 * 60_000],
  ['free-models-per-min', 'upstream_rate_limited', 60_000],
])(
  "OpenRouter's limit %s leaves the account to its other models until it is given again",
  (limit, code, unitMs) => {
    const before = Date.now();
    const message = `Rate limit exceeded: ${limit}. Add 10 credits to unlock 1000 free model requests per day`;
    const known = classify(429, { error: { message, code: 429 } });
    expect(known).toMatchObject({ code, outcome: undefined, failover: 'no', modelLimit: limit });
    const resetAt = known.resetAt?.getTime() ?? 0;
    expect(resetAt % unitMs).toBe(0);
    expect(resetAt).toBeGreaterThanOrEqual(before);
    expect(resetAt).toBeLessThanOrEqual(Date.now() + unitMs);
  },
);

it.each(['Basic realm="traefik"', 'NTLM'])(
  'a 401 that asks for a login (%s) is of a proxy, and no key is given up',
  (scheme) => {
    const asked = { 'www-authenticate': scheme };
    expect(classify(401, '401 Unauthorized', asked)).toMatchObject({ fault: 'network', outcome: undefined });
    // Some servers say so beside an error of their own.
    expect(classify(401, error('invalid_api_key'), asked).outcome).toBe('unauthorized');
  },
);
