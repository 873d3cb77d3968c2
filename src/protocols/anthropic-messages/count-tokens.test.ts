import { expect, it } from 'vitest';
import { createCountOutbound } from './count-tokens.ts';

const now = Date.parse('2026-01-01T00:00:00Z');
const outbound = createCountOutbound(() => now);

function classify(status: number, type: string, message: string, headers: Record<string, string> = {}) {
  const body = Buffer.from(JSON.stringify({ type: 'error', error: { type, message } }));
  return outbound.classifyFailure({ status, headers, body });
}

it('a limit of counting rests no account: turns have limits of their own', () => {
  const limited = classify(429, 'rate_limit_error', 'Slow down.', { 'retry-after': '30' });
  expect(limited).toMatchObject({
    code: 'upstream_rate_limited',
    outcome: undefined,
    modelLimit: 'count_tokens',
    retryAfterMs: 30_000,
    isModelRefusedToAccount: false,
  });
  expect(classify(429, 'rate_limit_error', 'Slow down.').retryAfterMs).toBe(5_000);
});

it('a server that does not count says so to its client, and is asked once', () => {
  expect(classify(404, 'not_found_error', 'Not Found')).toMatchObject({
    code: 'model_not_found',
    anthropicStatus: 404,
    failover: 'no',
    outcome: undefined,
  });
  expect(classify(404, 'not_found_error', 'model: claude-9')).toMatchObject({ failover: 'yes' });
  expect(classify(401, 'authentication_error', 'invalid x-api-key').outcome).toBe('unauthorized');
});

it('sends no half of a character: it is refused with the whole history', () => {
  const body = '{"model":"m","messages":[{"role":"user","content":"a\\ud83d"}]}';
  const relayed = { dialect: 'count_tokens', body, isStream: false, includeUsage: true, choices: 1 } as const;
  const sent = outbound.relay?.open(relayed, 'claude').request.body ?? '';
  expect(JSON.parse(Buffer.from(sent).toString())).toMatchObject({ messages: [{ content: 'a\ufffd' }] });
});
