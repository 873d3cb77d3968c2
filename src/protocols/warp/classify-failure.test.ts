import { expect, it } from 'vitest';
import { classifyFailure } from './classify-failure.ts';

const now = Date.UTC(2026, 0, 1, 12, 0, 0);
const body = Buffer.from('{"error":"inner words"}');

it.each([
  [400, 'invalid_request'],
  [404, 'invalid_request'],
  [422, 'invalid_request'],
  [418, 'invalid_request'],
  [401, 'upstream_unauthorized'],
  [402, 'upstream_refused'],
  [403, 'upstream_refused'],
  [408, 'upstream_unavailable'],
  [429, 'upstream_rate_limited'],
  [500, 'upstream_unavailable'],
  [503, 'upstream_unavailable'],
  [200, 'upstream_protocol'],
  [204, 'upstream_protocol'],
  [302, 'upstream_protocol'],
])('status %i is %s, and the answer goes to the log only', (status, code) => {
  const error = classifyFailure({ status, headers: {}, body }, now);
  expect(error.code).toBe(code);
  expect(error.message).not.toContain('inner words');
  expect(String(error.cause)).toContain('inner words');
  expect(error.retryAfterMs).toBeUndefined();
});

it('tells spent credits from too many requests', () => {
  const headers = { 'x-warp-error-code': 'OUT_OF_CREDITS' };
  expect(classifyFailure({ status: 429, headers, body }, now).code).toBe('upstream_quota_exhausted');
  const other = { 'x-warp-error-code': 'AT_CLOUD_AGENT_CAPACITY' };
  expect(classifyFailure({ status: 429, headers: other, body }, now).code).toBe('upstream_rate_limited');
});

it.each([
  ['7', 7_000],
  ['0', 0],
  ['Thu, 01 Jan 2026 12:00:30 GMT', 30_000],
  ['Thu, 01 Jan 2026 11:00:00 GMT', 0],
  ['soon', undefined],
  ['', undefined],
])('reads Retry-After %j as %s ms', (value, expected) => {
  const headers = { 'retry-after': value };
  expect(classifyFailure({ status: 429, headers, body }, now).retryAfterMs).toBe(expected);
  expect(classifyFailure({ status: 503, headers: { 'retry-after': [value] }, body }, now).retryAfterMs).toBe(
    expected,
  );
});
