import { describe, expect, it } from 'vitest';
import { classifyFailure } from './classify-failure.ts';

const now = Date.UTC(2026, 0, 1, 12, 0, 0);
const page = '<!DOCTYPE html><html><body>403 Forbidden</body></html>';
const json = (value: unknown) => JSON.stringify(value);

function classify(status: number, body: string, headers: Record<string, string | string[]> = {}) {
  return classifyFailure({ status, headers, body: Buffer.from(body) }, now);
}

it.each([
  [400, 'invalid_request'],
  [404, 'invalid_request'],
  [422, 'invalid_request'],
  [418, 'invalid_request'],
  [401, 'upstream_unauthorized'],
  [402, 'upstream_refused'],
  [403, 'upstream_refused'],
  [408, 'upstream_unavailable'],
  [413, 'too_large'],
  [429, 'upstream_rate_limited'],
  [500, 'upstream_unavailable'],
  [503, 'upstream_unavailable'],
  [200, 'upstream_protocol'],
])('status %i with JSON is %s, and the answer goes to the log only', (status, code) => {
  const error = classify(status, json({ error: 'inner words' }));
  expect(error.code).toBe(code);
  expect(error.message).not.toContain('inner words');
  expect(String(error.cause)).toContain('inner words');
  expect(error.retryAfterMs).toBeUndefined();
});

describe('what something on the way answers', () => {
  it.each([
    ['a page of 403', 403, page, { 'content-type': 'text/html' }],
    ['a page that says it is JSON', 403, page, { 'content-type': 'application/json' }],
    ['403 without a body', 403, '', {}],
    ['403 in plain text', 403, 'Forbidden', { 'content-type': 'text/plain' }],
    ['403 with JSON that says nothing', 403, '{}', {}],
    ['403 with the JSON of a gateway', 403, json({ message: 'Forbidden' }), {}],
    ['a page of 402', 402, page, {}],
    ['a page of 401', 401, page, {}],
    ['a page of 400', 400, page, {}],
    ['a page of 404', 404, page, {}],
    ['a page about models', 403, page.replace('403 Forbidden', 'No model available'), {}],
    ['405', 405, json({ error: 'no' }), {}],
    ['407', 407, 'Proxy Authentication Required', {}],
    ['414', 414, json({ error: 'URI too long' }), {}],
    ['431', 431, '', {}],
    ['a page of 451', 451, page, {}],
    ['401 of a proxy', 401, 'Unauthorized', { 'www-authenticate': 'Basic realm="proxy"' }],
    ['401 of a proxy with JSON', 401, json({ error: 'no' }), { 'www-authenticate': 'NTLM' }],
    ['511', 511, json({ error: 'log in to this network' }), {}],
    ['a page of 502', 502, page, { 'content-type': 'text/html; charset=utf-8' }],
    ['a redirect', 302, '', { location: 'http://login.example/' }],
    ['a captive portal', 200, page, { 'content-type': 'text/html' }],
    ['408', 408, '', {}],
    ['425', 425, json({ error: 'too early' }), {}],
    ['a text', 200, 'ok', { 'content-type': 'text/plain' }],
    ['nothing', 204, '', {}],
  ])('is no fault of the account: %s', (_name, status, body, headers) => {
    expect(classify(status, body, headers)).toMatchObject({
      code: 'upstream_unavailable',
      fault: 'network',
      failover: 'once',
      outcome: undefined,
    });
  });

  it('limits the caller and not the account', () => {
    for (const error of [
      classify(429, 'Rate exceeded.'),
      classify(429, ' rate exceeded\n', { 'retry-after': '7' }),
      classify(429, page, { 'content-type': 'text/html' }),
    ]) {
      expect(error).toMatchObject({
        code: 'upstream_rate_limited',
        fault: 'network',
        failover: 'no',
        outcome: undefined,
      });
    }
  });
});

describe('what the vendor says of the account', () => {
  it.each([
    json({ error: 'Your account has been blocked from using AI features' }),
    json({ error: { message: 'forbidden' } }),
    json({ errors: [{ message: 'This account is disabled' }] }),
    json({ message: 'Your account has been suspended' }),
    json({ title: 'Forbidden', detail: 'The plan has ended for this workspace' }),
  ])('is believed: %s', (body) => {
    expect(classify(403, body)).toMatchObject({ code: 'upstream_refused', outcome: 'refused' });
  });

  it.each([
    [429, 'anything', { 'x-warp-error-code': 'OUT_OF_CREDITS' }],
    [429, page, { 'x-warp-error-code': ' out_of_credits' }],
    [429, json({ error: 'No remaining quota' }), {}],
    [429, 'No remaining quota.', {}],
    [429, json({ error: { message: 'No AI requests remaining' } }), {}],
    [403, json({ error: 'no AI requests remaining' }), {}],
    [402, json({ error: 'Out of credits' }), {}],
  ])('is a spent quota: %i %s', (status, body, headers) => {
    expect(classify(status, body, headers as Record<string, string>)).toMatchObject({
      code: 'upstream_quota_exhausted',
      outcome: 'quota_exhausted',
    });
  });

  it.each([
    [json({ error: 'slow down' }), {}],
    ['Too many requests', {}],
    ['', { 'x-warp-error-code': 'AT_CLOUD_AGENT_CAPACITY' }],
    [page, { 'x-warp-error-code': 'AT_CLOUD_AGENT_CAPACITY' }],
  ])('is a rate limit otherwise: %s', (body, headers) => {
    expect(classify(429, body, headers as Record<string, string>)).toMatchObject({
      code: 'upstream_rate_limited',
      outcome: 'rate_limited',
    });
  });
});

it.each([
  [400, json({ error: 'the requested base model (claude-4-opus) is not allowed for your account' })],
  [400, 'the requested planning model (gpt-5 (high)) is not allowed for your account'],
  [400, json({ error: { message: 'No model available' } })],
  [403, json({ error: 'The requested base model (x) is not available on your plan' })],
  [404, json({ error: 'The model x is not enabled for this workspace' })],
  [422, 'no models are available'],
])('tells a model that the account may not use: %i %s', (status, body) => {
  const error = classify(status, body);
  expect(error).toMatchObject({
    code: 'model_not_found',
    param: 'model',
    failover: 'yes',
    outcome: undefined,
    isModelRefusedToAccount: true,
  });
});

it('measures a Retry-After date by the clock of the one who answered', () => {
  const headers = {
    date: 'Thu, 01 Jan 2026 12:10:00 GMT',
    'retry-after': 'Thu, 01 Jan 2026 12:10:20 GMT',
  };
  expect(classify(429, json({ error: 'x' }), headers).retryAfterMs).toBe(20_000);
});

it('reads Retry-After as seconds or a date, and no wait that is absurd', () => {
  const wait = (value: string, status = 429) =>
    classify(status, json({ error: 'x' }), { 'retry-after': value }).retryAfterMs;
  expect(wait('7')).toBe(7_000);
  expect(wait('Thu, 01 Jan 2026 12:00:30 GMT', 503)).toBe(30_000);
  expect(wait('99999999999')).toBe(24 * 60 * 60_000);
  expect(wait('-1')).toBeUndefined();
});
