import { once } from 'node:events';
import { expect, test } from 'vitest';
import { sendJson, withScripted } from './support/scripted-vendor.ts';
import { eventually, servicesForTest, type TestServices, userTurn } from './support/services.ts';
import { withUpstreams } from './support/upstreams.ts';

type Json = Record<string, unknown>;

async function makeKey({ gatewayUrl }: TestServices, asked: Json): Promise<string> {
  const answer = await fetch(`${gatewayUrl}/api/keys`, { method: 'POST', body: JSON.stringify(asked) });
  const { secret } = (await answer.json()) as { secret: string };
  expect(answer.status).toBe(201);
  return secret;
}

const yaml = `aliases: { quick: one/chat-text, odd: no-such-model }
routes:
  - model: best
    candidates:
      - { provider: one, model: chat-text }
      - { provider: two, model: claude-text }
  - model: "any-*"
    candidates: [{ provider: one, model: "*" }]
`;

/** Two providers, the second of Anthropic's dialect. */
function twoProviders(environment: Record<string, string> = {}) {
  return withUpstreams({ one: { protocol: 'chat' }, two: { protocol: 'messages' } }, yaml, environment);
}

function asker({ gatewayUrl }: TestServices, key: string) {
  return async (path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const answer = await fetch(gatewayUrl + path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${key}`, ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    const { headers: told } = answer;
    const ignored = told.get('x-warp2api-ignored');
    return { status: answer.status, text, model: told.get('x-warp2api-model'), ignored };
  };
}

test('a turn goes only to the models and providers of its key, by whatever name', async () => {
  const services = await twoProviders();
  const turn = async (key: string, model: string) => {
    const answer = await asker(services, key)('/v1/chat/completions', userTurn(model, 'Hi'));
    return answer.status === 200 ? answer.model : answer.status;
  };
  const chat = await makeKey(services, { name: 'chat', models: ['chat-text'] });
  expect(await turn(chat, 'chat-text')).toBe('one/chat-text');
  expect(await turn(chat, 'one/chat-text')).toBe('one/chat-text');
  expect(await turn(chat, 'quick')).toBe('one/chat-text');
  // Of the route only what the key is for.
  for (let count = 0; count < 4; count += 1) expect(await turn(chat, 'best')).toBe('one/chat-text');
  expect(await turn(chat, 'claude-text')).toBe(403);
  expect(await turn(chat, 'two/claude-text')).toBe(403);
  expect(await turn(chat, 'any-thing')).toBe(403);
  // The name of a model that is not known opens nothing.
  expect(await turn(chat, 'chat-text-unheard-of')).not.toBe(200);

  // A name that the operator has given a meaning is as good as the model.
  const best = await makeKey(services, { name: 'best', models: ['best', 'quick'] });
  expect(['one/chat-text', 'two/claude-text']).toContain(await turn(best, 'best'));
  expect(await turn(best, 'quick')).toBe('one/chat-text');
  expect(await turn(best, 'chat-text')).toBe(403);
  // A pattern of a route lets no name through that only looks like the key's.
  const any = await makeKey(services, { name: 'any', models: ['any-*'] });
  expect(await turn(any, 'chat-text')).toBe(403);

  const two = await makeKey(services, { name: 'two', providers: ['two'] });
  expect(await turn(two, 'claude-text')).toBe('two/claude-text');
  for (let count = 0; count < 4; count += 1) expect(await turn(two, 'best')).toBe('two/claude-text');
  expect(await turn(two, 'chat-text')).not.toBe('one/chat-text');
  expect(await turn(two, 'quick')).toBe(403);
  expect(await turn(two, 'one/chat-text')).toBe(403);
});

test('a key for labelled accounts borrows no other', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1', { label: 'team-a' });
  await services.addAccount('wk-2', { label: 'team-b' });
  const key = await makeKey(services, { name: 'a', labels: ['team-a'] });
  const none = await makeKey(services, { name: 'none', labels: ['team-c'] });
  const ask = asker(services, key);
  for (let count = 0; count < 5; count += 1)
    expect((await ask('/v1/chat/completions', userTurn('auto', `Hi ${count}`))).status).toBe(200);
  expect(new Set(services.upstream.turns.map(({ bearer }) => bearer))).toEqual(new Set(['wk-1']));
  const refused = await asker(services, none)('/v1/chat/completions', userTurn('auto', 'Hi'));
  expect(refused.status).not.toBe(200);
});

test('the lists of models hold what the key may use, in every dialect', async () => {
  const services = await twoProviders();
  const ids = async (key: string, path: string, headers: Record<string, string> = {}) => {
    const { text } = await asker(services, key)(path, undefined, headers);
    const { data, models } = JSON.parse(text) as { data?: { id: string }[]; models?: { name: string }[] };
    return (data?.map(({ id }) => id) ?? models?.map(({ name }) => name) ?? []).sort();
  };
  const all = await makeKey(services, { name: 'all' });
  const key = await makeKey(services, { name: 'ci', models: ['chat-text', 'best'] });
  await eventually('models are listed', async () => (await ids(all, '/v1/models')).includes('one/chat-text'));
  const own = ['best', 'one/chat-text', 'quick'];
  expect(await ids(key, '/v1/models')).toEqual(own);
  expect(await ids(key, '/v1/models', { 'anthropic-version': '2023-06-01' })).toEqual(own);
  expect(await ids(key, '/v1beta/models')).toEqual(own.map((id) => `models/${id}`));
  expect((await ids(all, '/v1/models')).length).toBeGreaterThan(own.length);
  const one = asker(services, key);
  expect((await one('/v1/models/chat-text')).status).toBe(200);
  expect((await one('/v1/models/two%2Fclaude-text')).status).toBe(403);
  expect((await one('/v1beta/models/two%2Fclaude-text')).status).toBe(403);
});

test("a refused model is said in the dialect's own words, also where no turn begins", async () => {
  const services = await servicesForTest();
  const key = await makeKey(services, { name: 'ci', models: ['claude-*'] });
  const ask = asker(services, key);
  const message =
    'The key "ci" may not use the model "gpt-5": it is for the models claude-*. GET /v1/models lists what it may use.';
  const parsed = async (...given: Parameters<typeof ask>) => {
    const { status, text } = await ask(...given);
    return [status, JSON.parse(text)];
  };
  const input = [{ role: 'user', content: 'Hi' }];
  const openai = { error: { message, type: 'permission_error', param: 'model', code: 'model_not_allowed' } };
  expect(await parsed('/v1/chat/completions', userTurn('gpt-5', 'Hi'))).toEqual([403, openai]);
  expect(await parsed('/v1/responses', { model: 'gpt-5', input: 'Hi' })).toEqual([403, openai]);
  const background = { model: 'gpt-5', input: 'Hi', background: true };
  expect(await parsed('/v1/responses', background)).toEqual([403, openai]);
  expect(await parsed('/v1/responses/compact', { model: 'gpt-5', input })).toEqual([403, openai]);
  expect(await parsed('/v1/responses/input_tokens', { model: 'gpt-5', input })).toEqual([403, openai]);
  expect((await ask('/v1/embeddings', { model: 'gpt-5', input: 'x' })).status).toBe(403);
  const anthropic = { model: 'gpt-5', max_tokens: 9, messages: input };
  const said = [403, { type: 'error', error: { type: 'permission_error', message } }];
  expect(await parsed('/v1/messages', anthropic)).toMatchObject(said);
  expect(await parsed('/v1/messages/count_tokens', anthropic)).toMatchObject(said);
  const contents = { contents: [{ role: 'user', parts: [{ text: 'Hi' }] }] };
  const google = [403, { error: { code: 403, status: 'PERMISSION_DENIED', message } }];
  for (const method of ['generateContent', 'countTokens'])
    expect(await parsed(`/v1beta/models/gpt-5:${method}`, contents)).toMatchObject(google);

  const socket = new WebSocket(`${services.gatewayUrl.replace('http', 'ws')}/v1/responses`, {
    headers: { authorization: `Bearer ${key}` },
  } as never);
  await once(socket, 'open');
  for (const generate of [true, false]) {
    const frame = once(socket, 'message') as Promise<[MessageEvent]>;
    socket.send(JSON.stringify({ type: 'response.create', model: 'gpt-5', input: 'Hi', generate }));
    const [{ data }] = await frame;
    expect(JSON.parse(String(data))).toMatchObject({ type: 'error', error: { code: 'model_not_allowed' } });
  }
  socket.close();
});

test('a key for some models has no other one named to the upstream, in whatever field', async () => {
  const said = { role: 'assistant', content: 'Hi' };
  const choices = [{ index: 0, message: said, delta: said, finish_reason: 'stop' }];
  // A stream where it is asked for one: of one event.
  const services = await withScripted(
    ({ json }, response) => {
      response.setHeader('content-type', 'text/event-stream');
      if (json['stream'] === true) response.end(`data: ${JSON.stringify({ choices })}\n\ndata: [DONE]\n\n`);
      else sendJson(response, { id: 'x', object: 'chat.completion', choices });
    },
    { models: ['m', 'dear'] },
  );
  const some = await makeKey(services, { name: 'some', models: ['m'] });
  const all = await makeKey(services, { name: 'all' });
  for (const more of [{ models: ['dear'] }, { fallbacks: [{ model: 'dear' }] }, { MODEL: 'dear' }]) {
    const body = { ...userTurn('m', 'Hi'), ...more };
    expect((await asker(services, all)('/v1/chat/completions', body)).status).toBe(200);
    expect(services.requests.at(-1)?.json).toEqual(body);
    const answer = await asker(services, some)('/v1/chat/completions', body);
    expect(answer).toMatchObject({ status: 200, ignored: Object.keys(more).join() });
    expect(services.requests.at(-1)?.json['model']).toBe('m');
    expect(services.requests.at(-1)?.text).not.toContain('dear');
    const { length } = services.requests;
    const prompt = { model: 'm', prompt: 'Hi', ...more };
    expect((await asker(services, some)('/v1/completions', prompt)).status).toBe(403);
    expect(services.requests).toHaveLength(length);
    expect((await asker(services, all)('/v1/completions', prompt)).status).toBe(200);
  }
});
