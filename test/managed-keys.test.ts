import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { newDatabase } from '../src/db/testing/shared-postgres.ts';
import { eventually, servicesForTest, type TestServices, userTurn } from './support/services.ts';

type Json = Record<string, unknown>;

interface Answer {
  readonly status: number;
  readonly body: Json;
}

/** Asks the gateway, as the operator of this machine unless a key is given. */
async function ask(
  { gatewayUrl }: Pick<TestServices, 'gatewayUrl'>,
  path: string,
  {
    method = 'GET',
    key,
    body,
    headers = {},
  }: { method?: string; key?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const answer = await fetch(gatewayUrl + path, {
    method,
    headers: { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as Json };
}

async function makeKey(
  services: Pick<TestServices, 'gatewayUrl'>,
  asked: Json,
  key?: string,
): Promise<{ readonly id: string; readonly secret: string }> {
  const made = await ask(services, '/api/keys', { method: 'POST', body: asked, ...(key && { key }) });
  expect(made).toMatchObject({ status: 201 });
  const { key: shown, secret } = made.body as { key: { id: string }; secret: string };
  return { id: shown.id, secret };
}

const chat = (services: TestServices, key: string | undefined, model = 'sandbox', content = 'Hi') =>
  ask(services, '/v1/chat/completions', {
    method: 'POST',
    body: userTurn(model, content),
    ...(key !== undefined && { key }),
  });

const errorOf = ({ status, body }: Answer) => {
  const { code, message } = body['error'] as Json;
  return [status, code, message];
};

test('from the first key on every client needs one, also when it is revoked', async () => {
  const services = await servicesForTest();
  expect((await chat(services, 'anything')).status).toBe(200);
  const odd = { name: 'odd', owner: 'team\u202e a' };
  expect(await ask(services, '/api/keys', { method: 'POST', body: odd })).toMatchObject({ status: 400 });
  const { id, secret } = await makeKey(services, { name: 'ci', owner: 'team a' });
  expect(secret).toMatch(/^w2a_[\w-]{43}$/);
  expect((await chat(services, secret)).status).toBe(200);
  expect(errorOf(await chat(services, undefined))).toEqual([
    401,
    'invalid_api_key',
    'No key was sent: send a key that this gateway has issued as "Authorization: Bearer KEY" or "x-api-key: KEY".',
  ]);
  expect(errorOf(await chat(services, 'anything'))[0]).toBe(401);
  // In every place where clients put keys.
  const message = { model: 'sandbox', max_tokens: 9, messages: [{ role: 'user', content: 'Hi' }] };
  const anthropic = { 'x-api-key': secret, 'anthropic-version': '2023-06-01' };
  expect(
    (await ask(services, '/v1/messages', { method: 'POST', body: message, headers: anthropic })).status,
  ).toBe(200);
  const gemini = `/v1beta/models/sandbox:generateContent?key=${secret}`;
  const contents = { contents: [{ role: 'user', parts: [{ text: 'Hi' }] }] };
  expect((await ask(services, gemini, { method: 'POST', body: contents })).status).toBe(200);

  const me = await ask(services, '/api/keys/me', { key: secret });
  expect(me).toMatchObject({ status: 200, body: { id, name: 'ci', owner: 'team a', state: 'active' } });
  expect(me.body['last_used_at']).not.toBeNull();
  expect(await ask(services, `/api/keys/${id}/revoke`, { method: 'POST' })).toMatchObject({ status: 200 });
  expect(errorOf(await chat(services, secret))).toEqual([
    401,
    'invalid_api_key',
    'The key "ci" was revoked: ask the operator of this gateway for another one.',
  ]);
  expect(errorOf(await chat(services, undefined))[0]).toBe(401);
  expect(services.log()).toContain('"key_name":"ci"');
  const metrics = await (await fetch(`${services.gatewayUrl}/metrics`)).text();
  expect(metrics).toContain('warp2api_gateway_key_turns_total{key="ci",outcome="success"} 3');
  expect(services.log()).not.toContain(secret);
  expect(services.log()).toMatch(/"msg":"a client key was (made|revoked)"/);
});

test('keys are made with the ADMIN_KEY alone, and open nothing of the operator', async () => {
  const services = await servicesForTest({ ADMIN_KEY: 'the-operator', API_KEYS: 'plain-key' });
  const body = { name: 'ci' };
  expect((await ask(services, '/api/keys', { method: 'POST', body })).status).toBe(401);
  expect((await ask(services, '/api/keys', { method: 'POST', body, key: 'plain-key' })).status).toBe(401);
  const { id, secret } = await makeKey(services, body, 'the-operator');
  for (const path of ['/api/keys', `/api/keys/${id}`, '/metrics', '/api/turns', '/api/settings'])
    expect([
      path,
      (await fetch(services.gatewayUrl + path, { headers: { 'x-api-key': secret } })).status,
    ]).toEqual([path, 401]);
  expect((await ask(services, `/api/keys/${id}/revoke`, { method: 'POST', key: secret })).status).toBe(401);
  const changed = { method: 'PATCH', body: { models: null }, key: secret };
  expect((await ask(services, `/api/keys/${id}`, changed)).status).toBe(401);
  expect((await chat(services, secret)).status).toBe(200);
  expect((await chat(services, 'plain-key')).status).toBe(200);
  expect((await ask(services, '/api/keys/me', { key: 'plain-key' })).status).toBe(404);
});

test('with API_KEYS and no ADMIN_KEY keys are shown and not changed', async () => {
  const services = await servicesForTest({ API_KEYS: 'plain-key' });
  expect((await ask(services, '/api/keys', { key: 'plain-key' })).status).toBe(200);
  const made = await ask(services, '/api/keys', { method: 'POST', body: { name: 'ci' }, key: 'plain-key' });
  expect(errorOf(made)).toEqual([
    403,
    'operator_only',
    'Keys are made and changed with the ADMIN_KEY, and so is the pool from here: set it, beside API_KEYS.',
  ]);
});

test('without any key of the operator, only this machine is the operator', async () => {
  const services = await servicesForTest();
  const body = { name: 'ci' };
  const post = (headers: Record<string, string>) =>
    ask(services, '/api/keys', { method: 'POST', body, headers });
  expect((await post({ 'x-forwarded-for': '203.0.113.9' })).status).toBe(403);
  expect((await post({ origin: 'https://elsewhere.example' })).status).toBe(403);
  const { id, secret } = await makeKey(services, body);
  const asClient = (path: string, method = 'GET') => ask(services, path, { method, key: secret });
  expect((await asClient('/api/turns')).status).toBe(403);
  expect((await asClient('/api/keys')).status).toBe(403);
  expect(errorOf(await asClient(`/api/keys/${id}/rotate`, 'POST'))[1]).toBe('operator_only');
  expect((await ask(services, '/api/turns')).status).toBe(200);
});

test('fields are checked, names are unique, and a change touches what it names', async () => {
  const services = await servicesForTest();
  const post = (body: unknown) => ask(services, '/api/keys', { method: 'POST', body });
  const faults: [Json, string][] = [
    [{}, 'name: is missing'],
    [{ name: 'key_x' }, 'name: must be 1 to 64'],
    [{ name: 'me' }, '"me" is taken'],
    [{ name: 'a/b' }, 'name: must be 1 to 64'],
    [{ name: 'ci', model: ['x'] }, 'model: is no field of this request'],
    [{ name: 'ci', models: [] }, 'models: must have at least 1'],
    [
      { name: 'ci', providers: ['warpp'] },
      'providers.0: is no provider of this gateway; did you mean "warp"?',
    ],
    [{ name: 'ci', expires_at: '2020-01-01T00:00:00Z' }, 'expires_at: has passed'],
    [{ name: 'ci', limits: { time_zone: 'Mars/Olympus' } }, 'limits.time_zone: must be a time zone'],
    [{ name: 'ci', limits: { requests_per_minute: 0 } }, 'limits.requests_per_minute: must be at least 1'],
    [
      { name: 'ci', limits: { budgets: [{ meter: 'tokens', window: 'day', limit: 1.5 }] } },
      'limits.budgets.0.limit: must be a whole number',
    ],
  ];
  for (const [body, message] of faults) {
    const refused = await post(body);
    expect(refused.status).toBe(400);
    expect(errorOf(refused)[2]).toContain(message);
  }
  const limits = {
    requests_per_minute: 60,
    budgets: [{ meter: 'cost_cents', window: 'month', limit: 2000 }],
  };
  const { id } = await makeKey(services, { name: '测试 1', models: ['claude-*'], limits });
  expect((await post({ name: 'no limits', owner: null, limits: null, expires_at: null })).status).toBe(201);
  expect(errorOf(await post({ name: '测试 1' }))[2]).toContain('there is another key');
  const patch = (body: unknown) => ask(services, `/api/keys/${id}`, { method: 'PATCH', body });
  expect((await patch({ secret: 'x' })).status).toBe(400);
  expect((await patch({ limits: { parallel_turns: 3, requests_per_minute: null } })).body).toMatchObject({
    name: '测试 1',
    models: ['claude-*'],
    limits: { parallel_turns: 3, budgets: limits.budgets },
  });
  expect((await patch({ limits: { budgets: null } })).body).toHaveProperty('limits', {
    parallel_turns: 3,
    budgets: [],
  });
  expect((await patch({ limits: null })).body).toHaveProperty('limits', { budgets: [] });
  expect((await patch({ models: null, enabled: false })).body).toMatchObject({
    models: null,
    state: 'disabled',
  });
  expect((await ask(services, `/api/keys/${encodeURIComponent('测试 1')}`)).body).toMatchObject({ id });
  expect((await ask(services, '/api/keys/key_none')).status).toBe(404);
  expect((await ask(services, '/api/keys')).body).toMatchObject({
    keys: [{ name: 'no limits' }, { id }],
    next_before: null,
  });
});

test('a rotated key has two secrets for a while, and what was kept for it', async () => {
  const services = await servicesForTest();
  const { id, secret } = await makeKey(services, { name: 'ci' });
  const first = await ask(services, '/v1/responses', {
    method: 'POST',
    key: secret,
    body: { model: 'sandbox', input: 'Hi' },
  });
  const rotate = async (grace_seconds: number) => {
    const rotated = await ask(services, `/api/keys/${id}/rotate`, {
      method: 'POST',
      body: { grace_seconds },
    });
    return rotated.body['secret'] as string;
  };
  const next = await rotate(3_600);
  const stored = `/v1/responses/${first.body['id']}`;
  expect((await ask(services, stored, { key: next })).status).toBe(200);
  expect((await ask(services, stored, { key: secret })).status).toBe(200);
  const other = await makeKey(services, { name: 'other' });
  expect((await ask(services, stored, { key: other.secret })).status).toBe(404);
  const last = await rotate(1);
  const refused = await eventually('the former secret ends', async () => {
    const answer = await ask(services, stored, { key: next });
    return answer.status === 401 && answer;
  });
  expect(errorOf(refused)[2]).toBe('The key "ci" has another secret now: use that one.');
  expect((await ask(services, stored, { key: last })).status).toBe(200);
});

test('a disabled or expired key is refused on the connection that showed it before', async () => {
  const services = await servicesForTest();
  const { id, secret } = await makeKey(services, { name: 'ci' });
  expect((await chat(services, secret)).status).toBe(200);
  const change = (body: object) => ask(services, `/api/keys/${id}`, { method: 'PATCH', body });
  await change({ enabled: false });
  expect(errorOf(await chat(services, secret))[2]).toContain('is disabled');
  await change({ enabled: true });
  expect((await chat(services, secret)).status).toBe(200);
  // A time that has passed when it arrives is refused.
  const expires_at = await eventually('the key is to expire', async () => {
    const soon = new Date(Date.now() + 1_500).toISOString();
    return (await change({ expires_at: soon })).status === 200 && soon;
  });
  const refused = await eventually('the key expires', async () => {
    const answer = await chat(services, secret);
    return answer.status === 401 && answer;
  });
  expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expires_at));
  expect(errorOf(refused)[2]).toContain(`expired at ${expires_at}`);
});

test('a revoked key stops everywhere: at another gateway, in running turns, over a WebSocket, in the background', async () => {
  const url = await newDatabase();
  const shared = { GATEWAY_DATABASE_URL: url, KEEP_URL: url };
  const one = await servicesForTest(shared);
  const other = await servicesForTest(shared);
  const { id, secret } = await makeKey(one, { name: 'ci' });
  await eventually(
    'the other gateway knows of it',
    async () => (await chat(other, undefined)).status === 401,
  );

  const authorization = `Bearer ${secret}`;
  // It begins, and then the upstream says nothing more.
  const slow = { model: 'sandbox-stall', messages: [{ role: 'user', content: 'Hi' }], stream: true };
  const streamed = await other.chat(slow, { authorization });
  expect(streamed.status).toBe(200);
  const socket = new WebSocket(`${other.gatewayUrl.replace('http', 'ws')}/v1/responses`, {
    headers: { authorization },
  } as never);
  await once(socket, 'open');
  const frames: Json[] = [];
  socket.addEventListener('message', ({ data }) => frames.push(JSON.parse(String(data)) as Json));
  const closed = once(socket, 'close') as Promise<[CloseEvent]>;
  const background = { model: 'sandbox-stall', input: 'Hi', background: true };
  const queued = await ask(other, '/v1/responses', { method: 'POST', key: secret, body: background });
  expect(queued).toMatchObject({ status: 200, body: { status: 'queued' } });
  const turns = async () =>
    ((await ask(other, '/api/turns')).body['turns'] as Json[]).filter(
      ({ model }) => model === 'sandbox-stall',
    );
  await eventually('both run', async () => (await turns()).length === 2);

  await ask(one, `/api/keys/${id}/revoke`, { method: 'POST' });
  const text = await streamed.text();
  expect(text).toContain('was revoked');
  expect(text).not.toContain('[DONE]');
  const [{ code }] = await closed;
  expect(code).toBe(1008);
  expect(frames.at(-1)).toMatchObject({ type: 'error', error: { code: 'invalid_api_key' } });
  expect(await turns()).toMatchObject([
    { outcome: 'invalid_key', key_name: 'ci' },
    { outcome: 'invalid_key', key_name: 'ci' },
  ]);
  for (const services of [one, other]) expect((await chat(services, secret)).status).toBe(401);
});

test('keys are there after a restart, and known while their database is away at the next', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-keys-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const first = await servicesForTest({ DATA_DIR: folder });
  const { secret } = await makeKey(first, { name: 'ci' });
  await first.close();
  const second = await servicesForTest({ DATA_DIR: folder });
  expect((await chat(second, secret)).status).toBe(200);
  expect((await chat(second, undefined)).status).toBe(401);
  await second.close();
  const unknown = await servicesForTest({
    GATEWAY_DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
    API_KEYS: 'plain-key',
  });
  expect((await chat(unknown, 'plain-key')).status).toBe(200);
  expect(await chat(unknown, secret)).toMatchObject({ status: 503 });
  expect((await ask(unknown, '/health')).body['reason']).toMatch(/^Clients get 503 .* could not be read yet/);
  expect((await chat(unknown, undefined)).status).toBe(401);
});

test('a gateway that other machines reach needs keys from the start, which ADMIN_KEY makes', async () => {
  const services = await servicesForTest({
    HOST: '0.0.0.0',
    ADMIN_KEY: 'an-operator-key-of-its-own',
    SANDBOX: 'on',
  });
  const gatewayUrl = services.gatewayUrl.replace('0.0.0.0', '127.0.0.1');
  const reached = { ...services, gatewayUrl };
  const chatHere = (key?: string) =>
    ask(reached, '/v1/chat/completions', {
      method: 'POST',
      body: userTurn('sandbox', 'Hi'),
      headers: { host: 'gateway.example' },
      ...(key !== undefined && { key }),
    });
  expect((await chatHere()).status).toBe(401);
  expect((await chatHere('anything')).status).toBe(401);
  expect((await chatHere('an-operator-key-of-its-own')).status).toBe(401);
  const { secret } = await makeKey(reached, { name: 'ci' }, 'an-operator-key-of-its-own');
  expect((await chatHere(secret)).status).toBe(200);
});
