import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { eventually, servicesForTest, type TestServices } from './support/services.ts';

const hello = [{ role: 'user', content: 'Hello' }];

/** Every call that starts a turn, by the name of the model it asks for. */
const turns: Readonly<Record<string, (model: string) => readonly [path: string, body: object]>> = {
  chat: (model) => ['/v1/chat/completions', { model, messages: hello }],
  'chat, streamed': (model) => ['/v1/chat/completions', { model, messages: hello, stream: true }],
  'chat, two answers': (model) => ['/v1/chat/completions', { model, messages: hello, n: 2 }],
  'chat, two streamed': (model) => ['/v1/chat/completions', { model, messages: hello, n: 2, stream: true }],
  messages: (model) => ['/v1/messages', { model, max_tokens: 100, messages: hello }],
  'messages, streamed': (model) => [
    '/v1/messages',
    { model, max_tokens: 100, messages: hello, stream: true },
  ],
  responses: (model) => ['/v1/responses', { model, input: 'Hello' }],
  'responses, streamed': (model) => ['/v1/responses', { model, input: 'Hello', stream: true }],
  'responses, background': (model) => ['/v1/responses', { model, input: 'Hello', background: true }],
  'responses, followed': (model) => [
    '/v1/responses',
    { model, input: 'Hello', background: true, stream: true },
  ],
  compact: (model) => ['/v1/responses/compact', { model, input: 'Hello' }],
};

/** Those that name a model and start none. */
const counts: typeof turns = {
  count_tokens: (model) => ['/v1/messages/count_tokens', { model, messages: hello }],
  input_tokens: (model) => ['/v1/responses/input_tokens', { model, input: 'Hello' }],
};

async function post(services: TestServices, [path, body]: readonly [string, object]) {
  const answer = await fetch(`${services.gatewayUrl}${path}`, { method: 'POST', body: JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, model: answer.headers.get('x-warp2api-model'), text };
}

async function ask(services: TestServices, message: object): Promise<Record<string, unknown>[]> {
  const socket = new WebSocket(`${services.gatewayUrl.replace('http', 'ws')}/v1/responses`);
  onTestFinished(() => socket.terminate());
  const frames: Record<string, unknown>[] = [];
  socket.on('message', (data) => frames.push(JSON.parse(String(data))));
  await once(socket, 'open');
  socket.send(JSON.stringify({ type: 'response.create', ...message }));
  await eventually('the turn ends', () =>
    frames.some(({ type }) => type === 'error' || type === 'response.completed'),
  );
  return frames;
}

async function services(environment: Record<string, string> = {}): Promise<TestServices> {
  const started = await servicesForTest({ MAX_CHOICES: '2', ...environment }, (config) => ({
    ...config,
    aliases: { quick: 'gpt-5', 'team-*': 'gemini-2.5-pro' },
  }));
  await started.addAccount('wk-1');
  // A turn waits three seconds for the list of models, which may take longer on a busy machine.
  await eventually(
    'the models are known',
    async () => (await fetch(`${started.gatewayUrl}/v1/models/gpt-5`)).ok,
  );
  return started;
}

test('every answer of a turn names the provider and the model that gave it', async () => {
  const running = await services();
  for (const [name, turn] of Object.entries(turns)) {
    const models = await Promise.all(
      ['sandbox', 'quick', 'team-4', 'claude-3-5-sonnet-20241022'].map((model) => post(running, turn(model))),
    );
    expect([name, ...models.map(({ model }) => model)]).toEqual([
      name,
      'warp/sandbox',
      'warp/gpt-5',
      'warp/gemini-2.5-pro',
      'warp/auto',
    ]);
  }
  const first = await post(running, ['/v1/chat/completions', { model: 'quick', messages: hello }]);
  const again = await post(running, ['/v1/chat/completions', { model: first.model, messages: hello }]);
  expect(again).toMatchObject({ status: 200, model: first.model });
  expect(running.log()).toMatch(/"upstream_model":"gpt-5","provider":"warp"/);
});

test('an error of the upstream and a stored response say it as well, and so does a WebSocket', async () => {
  const running = await services();
  expect(
    await post(running, ['/v1/messages', { model: 'sandbox-400', max_tokens: 9, messages: hello }]),
  ).toMatchObject({
    status: 400,
    model: 'warp/sandbox-400',
  });
  for (const more of [{}, { background: true }]) {
    const { text } = await post(running, ['/v1/responses', { model: 'quick', input: 'Hello', ...more }]);
    const { id } = JSON.parse(text);
    const shown = await eventually('the response is stored', async () => {
      const answer = await fetch(`${running.gatewayUrl}/v1/responses/${id}`);
      const { status } = (await answer.json()) as { status: string };
      return status === 'completed' && answer;
    });
    expect(shown.headers.get('x-warp2api-model')).toBe('warp/gpt-5');
  }
  const [created, ...others] = await ask(running, { model: 'quick', input: 'Hello', stream_id: 'one' });
  expect(created).toMatchObject({
    type: 'response.created',
    stream_id: 'one',
    headers: { 'x-warp2api-model': 'warp/gpt-5', 'x-request-id': expect.any(String) },
  });
  expect(others.every((frame) => frame['headers'] === undefined)).toBe(true);
  const [refused] = await ask(running, { model: 'sandbox-400', input: 'Hello' });
  expect(refused).toMatchObject({
    type: 'error',
    error: { headers: { 'x-warp2api-model': 'warp/sandbox-400' } },
  });
});

test('after a failover it is the model of the account that answered', async () => {
  const running = await services();
  await running.addAccount('wk-2');
  const ask = () => post(running, ['/v1/chat/completions', { model: 'quick', messages: hello }]);
  await ask();
  running.upstream.setKeyScenario(running.upstream.turns.at(-1)?.bearer ?? '', '500');
  expect(await ask()).toMatchObject({ status: 200, model: 'warp/gpt-5' });
  expect(running.log()).toContain('"attempts":3');
});

test('the sandbox is named where it answers in place of a model', async () => {
  const running = await servicesForTest();
  const answer = await post(running, turns['chat']?.('claude-3-5-sonnet-20241022') ?? ['', {}]);
  expect(answer).toMatchObject({ status: 200, model: 'sandbox/sandbox' });
  const named = await post(running, turns['chat']?.('sandbox/sandbox-reasoning') ?? ['', {}]);
  expect(named).toMatchObject({ status: 200, model: 'sandbox/sandbox-reasoning' });
});

test('no name breaks a header', async () => {
  const running = await servicesForTest();
  running.upstream.setModels([{ id: 'größe 🎈 \u0000,x' }, { id: 'x'.repeat(250) }]);
  await running.addAccount('wk-1');
  const answer = await post(running, turns['chat']?.('größe 🎈 \u0000,x') ?? ['', {}]);
  expect(answer).toMatchObject({ status: 200, model: 'warp/gr%C3%B6%C3%9Fe%20%F0%9F%8E%88%20%00,x' });
});

test('web pages may read it', async () => {
  const running = await servicesForTest({ CORS_ORIGINS: 'https://chat.example' });
  const answer = await fetch(`${running.gatewayUrl}/health`, { headers: { origin: 'https://chat.example' } });
  expect(answer.headers.get('access-control-expose-headers')).toContain('x-warp2api-model');
});

test('STRICT_MODELS=yes refuses unknown names on every path that takes one', async () => {
  const running = await services({ STRICT_MODELS: 'yes' });
  const unknown = 'claude-3-5-sonnet-20241022';
  for (const [name, turn] of Object.entries({ ...turns, ...counts })) {
    const good = await Promise.all(
      ['gpt-5', 'warp/gpt-5', 'quick', 'team-9'].map((model) => post(running, turn(model))),
    );
    expect([name, ...good.map(({ status, model }) => `${status} ${model}`)]).toEqual([
      name,
      '200 warp/gpt-5',
      '200 warp/gpt-5',
      '200 warp/gpt-5',
      '200 warp/gemini-2.5-pro',
    ]);
    const refused = await post(running, turn(unknown));
    const { error } = JSON.parse(refused.text);
    expect([name, refused.status, error.code ?? error.type]).toEqual([
      name,
      404,
      /^(messages|count_tokens)/.test(name) ? 'not_found_error' : 'model_not_found',
    ]);
    expect(error.message).toContain(`There is no model "${unknown}"`);
  }
  for (const more of [{}, { generate: false }]) {
    const [frame] = await ask(running, { model: unknown, input: 'Hello', ...more });
    expect(frame).toMatchObject({ type: 'error', status: 404, error: { code: 'model_not_found' } });
  }
  const shown = async (id: string) => (await fetch(`${running.gatewayUrl}/v1/models/${id}`)).status;
  expect([await shown('gpt-5'), await shown('quick'), await shown(unknown)]).toEqual([200, 200, 404]);
  expect(running.upstream.turns.every(({ model }) => model !== 'auto')).toBe(true);
});

test('with STRICT_MODELS=yes the sandbox answers to its own models alone', async () => {
  const running = await servicesForTest({ STRICT_MODELS: 'yes' });
  const ofChat = async (model: string) => (await post(running, turns['chat']?.(model) ?? ['', {}])).status;
  const { data } = (await (await fetch(`${running.gatewayUrl}/v1/models`)).json()) as {
    data: { id: string }[];
  };
  expect(data.length).toBeGreaterThan(3);
  expect(data.length).toBeLessThan(12);
  const names = data.map(({ id }) => id).filter((id) => !/429|error|slow/.test(id));
  for (const name of [...names, 'sandbox-unicode']) expect([name, await ofChat(name)]).toEqual([name, 200]);
  for (const name of ['gpt-4o', 'auto', 'sandbox-unicod'])
    expect([name, await ofChat(name)]).toEqual([name, 404]);
});
