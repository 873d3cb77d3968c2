import { describe, expect, it } from 'vitest';
import { askGateway } from '../src/compose/ask-gateway.ts';
import type { Config } from '../src/config.ts';
import { shownTurn, shownTurns } from '../src/core/shown-turn.ts';
import { withVendor } from './support/openai-vendor.ts';
import { servicesForTest, userTurn } from './support/services.ts';

const good = 'sk-one-1234567890';
const limited = 'sk-limited-1234567890';

function recordsOf(gatewayUrl: string, adminKey?: string) {
  const config = { pool: { adminKey }, gateway: { apiKeys: [] } } as unknown as Config;
  const ask = (path: string) => askGateway(config, path, gatewayUrl);
  return {
    one: async (id: string) => shownTurn.parse(await ask(`/api/turns/${encodeURIComponent(id)}`)),
    list: async (query = '') => shownTurns.parse(await ask(`/api/turns${query}`)),
  };
}

describe('the record of a turn', () => {
  it('is summed up in a header and has every attempt, by the request id', async () => {
    const { chat, gatewayUrl, addAccount } = await withVendor([limited]);
    await addAccount(good, { provider: 'local', tier: 5 });
    const { one } = recordsOf(gatewayUrl);
    for (const stream of [true, false]) {
      const answer = await chat({ ...userTurn('chat-text', 'Hello'), stream });
      await answer.text();
      const route = answer.headers.get('x-warp2api-route') ?? '';
      expect(route).toMatch(/^local\/chat-text#acc_[0-9a-f]{8}; attempts=\d/);
      const turn = await one(answer.headers.get('x-request-id') ?? '');
      expect(turn).toMatchObject({
        model: 'chat-text',
        dialect: 'chat',
        stream,
        outcome: 'success',
        status: 200,
        finish: 'stop',
        route,
        usage: { input_tokens: 21, output_tokens: 7, cached_input_tokens: 16, cost_cents: null },
        candidates: [{ provider: 'local', model: 'chat-text' }],
      });
      const last = turn.attempts.at(-1);
      expect(last).toMatchObject({ status: 200, outcome: 'success' });
      expect(last?.first_content_ms).toBeGreaterThanOrEqual(last?.connected_ms ?? Number.POSITIVE_INFINITY);
      expect(last?.ended_ms).toBeGreaterThanOrEqual(last?.first_content_ms ?? Number.POSITIVE_INFINITY);
    }
    const all = (await recordsOf(gatewayUrl).list()).turns;
    const tried = all.flatMap(({ attempts }) => attempts).find(({ outcome }) => outcome !== 'success');
    expect(tried).toMatchObject({
      outcome: 'upstream_rate_limited',
      status: 429,
      account_status: 'cooldown',
    });
    expect(all.map(({ route }) => route).join()).toMatch(
      /attempts=2; tried=local\/chat-text#acc_[0-9a-f]{8}:upstream_rate_limited/,
    );
    expect(JSON.stringify(all)).not.toMatch(/sk-|Hello/);
  });

  it('is there for a request that was refused before it', async () => {
    const { chat, gatewayUrl } = await withVendor([good]);
    const asked = { ...userTurn('chat-text', 'Hello'), stream: true };
    const answer = await chat(asked, { 'x-warp2api-delivery': 'by post' });
    expect(answer.status).toBe(400);
    expect(await recordsOf(gatewayUrl).one(answer.headers.get('x-request-id') ?? '')).toMatchObject({
      model: 'chat-text',
      stream: true,
      outcome: 'invalid_request',
      status: 400,
      attempts: [],
      candidates: [],
    });
  });

  it('says why no account could be had', async () => {
    const { chat, gatewayUrl, pool } = await withVendor([good]);
    const { accounts } = (await pool('/api/accounts')) as unknown as { accounts: { id: string }[] };
    await pool(`/api/accounts/${accounts[0]?.id}`, { enabled: false }, 'PATCH');
    const answer = await chat(userTurn('local/chat-text', 'Hello'), { 'x-request-id': 'mine' });
    expect(answer.status).toBe(503);
    expect(answer.headers.get('x-warp2api-route')).toBe(
      'local/chat-text; attempts=0; passed=local/chat-text:none-lent',
    );
    const turn = await recordsOf(gatewayUrl).one('mine');
    expect(turn).toMatchObject({ outcome: 'no_account_available', status: 503, attempts: [], usage: null });
    expect(turn.candidates[0]?.skipped[0]).toEqual({
      reason: 'none_lent',
      account_id: null,
      says: 'no free account: 1 disabled',
      at_ms: expect.any(Number),
    });
  });

  it('names the account whose limit is used up', async () => {
    const { chat, gatewayUrl } = await withVendor([good, 'sk-two-1234567890']);
    await chat(userTurn('chat-last-request', 'Hello'));
    await chat(userTurn('chat-last-request', 'Hello'), { 'x-request-id': 'second' });
    const [skip] = (await recordsOf(gatewayUrl).one('second')).candidates[0]?.skipped ?? [];
    expect(skip?.says).toMatch(
      /^account acc_[0-9a-f]{8}: requests 0 of 1 left, resets \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/,
    );
  });

  it('is there for turns over WebSockets and in the background, under the newest of equal ids', async () => {
    const { gatewayUrl } = await withVendor();
    const headers = { 'content-type': 'application/json', 'x-request-id': 'again' };
    const body = { model: 'chat-text', input: 'Hello', background: true };
    await fetch(`${gatewayUrl}/v1/responses`, { method: 'POST', headers, body: JSON.stringify(body) });
    await fetch(`${gatewayUrl}/v1/messages`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ ...userTurn('chat-text', 'Hi'), max_tokens: 9 }),
    });
    const { one, list } = recordsOf(gatewayUrl);
    expect((await one('again')).dialect).toBe('messages');
    expect((await list()).turns.map(({ dialect }) => dialect)).toEqual(['messages', 'responses']);
  });
});

describe('the list of turns', () => {
  it('is filtered and comes page by page', async () => {
    const { chat, gatewayUrl } = await withVendor();
    const since = new Date().toISOString();
    for (const model of ['chat-text', 'chat-400', 'chat-text'])
      await (await chat(userTurn(model, 'Hi'))).text();
    const { list } = recordsOf(gatewayUrl);
    const outcomes = async (query: string) => (await list(query)).turns.map(({ outcome }) => outcome);
    const { turns } = await list();
    const account = turns[0]?.attempts[0]?.account_id ?? '';
    expect(await outcomes('?outcome=error')).toEqual(['invalid_request']);
    expect(await outcomes('?outcome=success')).toEqual(['success', 'success']);
    expect(await outcomes('?model=chat-400')).toEqual(['invalid_request']);
    expect(await outcomes('?provider=other')).toEqual([]);
    expect(await outcomes(`?provider=local&account=${account.slice(0, 12)}`)).toHaveLength(3);
    expect(await outcomes('?account=acc_zzzz')).toEqual([]);
    expect(await outcomes(`?client_key=${encodeURIComponent(turns[0]?.client_key ?? '')}`)).toHaveLength(3);
    expect(await outcomes(`?since=${encodeURIComponent(since)}`)).toHaveLength(3);
    expect(await outcomes('?since=2999-01-01T00:00:00Z')).toEqual([]);
    expect(await outcomes('?min_duration_ms=600000')).toEqual([]);
    const first = await list('?limit=2');
    expect(first.turns).toEqual(turns.slice(0, 2));
    expect(await list(`?limit=2&before=${first.next_before}`)).toEqual({
      turns: turns.slice(2),
      next_before: null,
    });
    expect((await list('?limit=3')).next_before).toBeNull();
    await expect(list('?limit=0')).rejects.toThrow(/limit/);
  });

  it('is the operator’s alone', async () => {
    const { gatewayUrl } = await servicesForTest({ ADMIN_KEY: 'the-admin-key-1', API_KEYS: 'client-key-1' });
    for (const path of ['/api/turns', '/api/turns/r']) {
      const answer = await fetch(gatewayUrl + path, { headers: { authorization: 'Bearer client-key-1' } });
      expect(answer.status).toBe(401);
    }
    const { list, one } = recordsOf(gatewayUrl, 'the-admin-key-1');
    expect(await list()).toEqual({ turns: [], next_before: null });
    await expect(one('r')).rejects.toThrow(/No turn with that request id/);
  });
});
