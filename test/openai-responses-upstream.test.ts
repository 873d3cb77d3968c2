import type { ServerResponse } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import { expect, it } from 'vitest';
import { taken } from '../sandbox/vendor/taken.ts';
import { type ScriptedSetup, sendJson, type VendorRequest, withScripted } from './support/scripted-vendor.ts';
import { userTurn } from './support/services.ts';

const usage = {
  input_tokens: 21,
  input_tokens_details: { cached_tokens: 16, cache_write_tokens: 0 },
  output_tokens: 7,
  output_tokens_details: { reasoning_tokens: 3 },
  total_tokens: 28,
};

type Item = Record<string, unknown> & { readonly type: string };

function message(text: string): Item {
  const content = [{ type: 'output_text', text, annotations: [] }];
  return { id: 'msg_up', type: 'message', role: 'assistant', status: 'completed', content };
}

function responseOf(output: readonly Item[], more: object = {}) {
  return { id: 'resp_up', object: 'response', status: 'completed', model: 'm-2026', output, usage, ...more };
}

/** The events of the API's reference, in their order. */
class EventStream {
  readonly #response: ServerResponse;
  #sequence = 0;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    this.send('response.created', { response: { ...responseOf([]), status: 'in_progress', usage: null } });
  }

  send(type: string, fields: object): void {
    const event = { type, sequence_number: this.#sequence, ...fields };
    this.#sequence += 1;
    this.#response.write(`event: ${type}\ndata: ${JSON.stringify(event)}\n\n`);
  }

  item(item: Item, index: number): void {
    this.send('response.output_item.added', { output_index: index, item: { ...item, content: [] } });
    const place = { item_id: item['id'], output_index: index, content_index: 0 };
    if (item.type === 'reasoning') {
      this.send('response.reasoning_summary_text.delta', {
        ...place,
        summary_index: 0,
        delta: 'Let me see.',
      });
    } else if (item.type === 'function_call') {
      this.send('response.function_call_arguments.delta', { ...place, delta: item['arguments'] });
    } else {
      const [{ text = '' } = {}] = item['content'] as { text?: string }[];
      for (const half of [text.slice(0, 5), text.slice(5)])
        this.send('response.output_text.delta', { ...place, delta: half });
    }
    this.send('response.output_item.done', { output_index: index, item });
  }

  complete(output: readonly Item[]): void {
    for (const [index, item] of output.entries()) this.item(item, index);
    this.send('response.completed', { response: responseOf(output) });
    this.#response.end();
  }
}

function outputOf({ json }: VendorRequest): Item[] {
  if (json['model'] !== 'm-tools') return [message('Hello from the upstream – ünïcode.')];
  const outputs = (json['input'] as Item[]).filter(({ type }) => type === 'function_call_output');
  const step = outputs.length / 2;
  if (step === 3) return [message(`Results: ${outputs.map(({ output }) => output).join(' ')}`)];
  const call = (name: string): Item => ({
    id: `fc_${step}${name}`,
    type: 'function_call',
    status: 'completed',
    call_id: `call_${step}${name}`,
    name: 'look',
    arguments: `{"at":"${step}${name}"}`,
  });
  const reasoning = {
    id: `rs_${step}`,
    type: 'reasoning',
    summary: [{ type: 'summary_text', text: 'Let me see.' }],
    encrypted_content: `gAAAA-secret-${step}`,
  };
  return [reasoning, call('a'), call('b')];
}

function answer(request: VendorRequest, response: ServerResponse): void {
  const { model, stream } = request.json;
  if (model === 'm-400') {
    const error = {
      message: "Unsupported value: 'temperature'.",
      type: 'invalid_request_error',
      param: 'temperature',
    };
    sendJson(response, { error: { ...error, code: null } }, 400);
    return;
  }
  if (model === 'm-unverified' && (request.json['reasoning'] as { summary?: string } | undefined)?.summary) {
    const says =
      'Your organization must be verified to generate reasoning summaries. Please go to: https://platform.openai.com';
    const error = {
      message: says,
      type: 'invalid_request_error',
      param: 'reasoning.summary',
      code: 'unsupported_value',
    };
    sendJson(response, { error }, 400);
    return;
  }
  if (model === 'm-limited' || request.headers['authorization'] === 'Bearer sk-limited-1234567890') {
    response.setHeader('retry-after', '90');
    sendJson(response, { error: { message: 'Slow down.', code: 'rate_limit_exceeded' } }, 429);
    return;
  }
  if (request.path === '/v1/chat/completions') {
    const choice = { index: 0, finish_reason: 'stop' };
    if (stream === true) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const chunk = { choices: [{ ...choice, delta: { content: 'Chat.' } }] };
      response.end(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`);
    } else sendJson(response, { choices: [{ ...choice, message: { content: 'Chat.' } }] });
    return;
  }
  const sealed = JSON.stringify(request.json['input']).includes('gAAAA-secret');
  if (sealed && request.headers['authorization'] === 'Bearer sk-other-organisation-1') {
    const says = 'The encrypted content could not be verified.';
    sendJson(response, { error: { message: says, code: 'invalid_encrypted_content' } }, 400);
    return;
  }
  const output = outputOf(request);
  if (stream !== true) {
    sendJson(response, responseOf(output));
    return;
  }
  const events = new EventStream(response);
  if (model === 'm-cut' || model === 'm-fails') {
    events.item(message('Half an answer'), 0);
    // Content and failure must not arrive in one piece: such an answer was never begun.
    void taken().then(() => {
      const error = { code: 'server_error', message: 'It broke.' };
      if (model === 'm-fails')
        events.send('response.failed', { response: responseOf([], { status: 'failed', error }) });
      response.end();
    });
  } else events.complete(output);
}

const models = [
  'm',
  'gpt-5.4',
  'gpt-5.6-terra',
  'm-unverified',
  'm-tools',
  'm-400',
  'm-limited',
  'm-cut',
  'm-fails',
];
const setup = (fields = ', protocols: [responses]', keys?: string[]) =>
  withScripted(answer, { fields, models, ...(keys && { keys }) });
const anthropic = ({ gatewayUrl }: ScriptedSetup) =>
  new Anthropic({ baseURL: gatewayUrl, apiKey: 'any', maxRetries: 0 });
const post = ({ gatewayUrl }: ScriptedSetup, body: string, headers: Record<string, string> = {}) =>
  fetch(`${gatewayUrl}/v1/responses`, { method: 'POST', body, headers });

it("passes a request on as it came, and answers with the upstream's own bytes", async () => {
  const services = await setup();
  const body =
    '{ "input": [{"role":"user","content":"\\u0041 {["}],\n "model": "local/m", "store":false, "brand_new": {"model": 1e2},' +
    ' "include": ["reasoning.encrypted_content"] }';
  const whole = await post(services, body);
  expect(whole.headers.get('x-warp2api-model')).toBe('local/m');
  expect(await whole.json()).toMatchObject({ id: 'resp_up', model: 'm-2026', usage });
  const streamed = await post(services, body.replace('"brand_new"', '"stream":true, "brand_new"'));
  const text = await streamed.text();
  expect(text).toContain('"id":"resp_up"');
  expect(text.trimEnd().split('\n\n').at(-1)).toMatch(/^: x-warp2api|^event: response.completed/);
  const [first, second] = services.requests;
  expect(first?.text).toBe(body.replace('"local/m"', '"m"'));
  expect(second?.path).toBe('/v1/responses');
  expect(first?.headers['authorization']).toBe('Bearer sk-one-1234567890');
});

it('serves the official SDK over a relayed stream, with parallel calls', async () => {
  const services = await setup();
  const stream = services.openai().responses.stream({
    model: 'm-tools',
    input: [{ role: 'user', content: 'Look' }],
    store: false,
    tools: [{ type: 'function', name: 'look', parameters: {}, strict: false }],
  });
  const deltas: string[] = [];
  stream.on('response.function_call_arguments.delta', ({ delta }) => deltas.push(delta));
  const final = await stream.finalResponse();
  expect(deltas).toEqual(['{"at":"0a"}', '{"at":"0b"}']);
  expect(final.output.map(({ type }) => type)).toEqual(['reasoning', 'function_call', 'function_call']);
  expect(final.usage?.total_tokens).toBe(28);
});

it('translates what needs a response that is kept here, and never shows the upstream an id of ours', async () => {
  const services = await setup();
  const { responses } = services.openai();
  const first = await responses.create({ model: 'm', input: 'One' });
  expect(first.id).not.toBe('resp_up');
  for (const more of [{}, { store: false }]) {
    const next = await responses.create({
      model: 'm',
      input: 'Two',
      previous_response_id: first.id,
      ...more,
    });
    expect(next.output_text).toBe('Hello from the upstream – ünïcode.');
  }
  const sent = services.requests.map(({ json }) => json);
  expect(sent.map(({ store, previous_response_id: id }) => [store, id])).toEqual(
    Array(3).fill([false, undefined]),
  );
  expect(sent[1]?.['input']).toMatchObject([
    { role: 'user' },
    { role: 'assistant', content: [{ text: 'Hello from the upstream – ünïcode.' }] },
    { role: 'user' },
  ]);
});

it('opens reasoning that it sealed itself before it goes to the upstream, and passes on what the upstream sealed', async () => {
  const services = await setup();
  const { responses } = services.openai();
  const asked = { model: 'm-tools', include: ['reasoning.encrypted_content' as const] };
  const user = { role: 'user' as const, content: 'Look' };
  // Stored, so it is translated and what came of reasoning is sealed here.
  const kept = await responses.create({ ...asked, input: [user] });
  const relayed = await responses.create({ ...asked, input: [user], store: false });
  expect(relayed.output[0]).toMatchObject({ encrypted_content: 'gAAAA-secret-0' });
  expect(kept.output[0]).not.toMatchObject({ encrypted_content: 'gAAAA-secret-0' });
  const outputs = ['a', 'b'].map((name) => ({
    type: 'function_call_output' as const,
    call_id: `call_0${name}`,
    output: 'seen',
  }));
  for (const { output } of [kept, relayed]) {
    await responses.create({ ...asked, store: false, input: [user, ...output, ...outputs] as never });
    // A client that stores now goes on with what the upstream sealed.
    await responses.create({ ...asked, input: [user, ...output, ...outputs] as never });
  }
  for (const { json } of services.requests.slice(2)) {
    expect((json['input'] as Item[]).filter(({ type }) => type === 'reasoning')).toMatchObject([
      { encrypted_content: 'gAAAA-secret-0' },
    ]);
  }
});

it('ends a relayed stream that breaks off with a failed response that the SDK throws for', async () => {
  const services = await setup();
  for (const model of ['m-cut', 'm-fails']) {
    const body = JSON.stringify({ model, input: 'Hi', store: false, stream: true });
    const events = (await (await post(services, body)).text()).trimEnd().split('\n\n');
    const last = events.findLast((event) => event.startsWith('event:'));
    expect(last).toMatch(/^event: response.failed\n/);
    const failed = JSON.parse(last?.split('data: ')[1] ?? '');
    expect(failed).toMatchObject({ response: { id: 'resp_up', status: 'failed' }, error: { param: null } });
    const before = events.filter((event) => event.includes('sequence_number'));
    expect(failed.sequence_number).toBe(before.length - 1);
    expect(before.length).toBeGreaterThan(3);
    const stream = services.openai().responses.stream({ model, input: 'Hi', store: false });
    await expect(stream.finalResponse()).rejects.toThrow();
  }
});

it("shows the upstream's own words for a refused request, and goes to another account where one is limited", async () => {
  const services = await setup(undefined, ['sk-limited-1234567890']);
  await services.pool('/api/accounts', { provider: 'local', api_key: 'sk-one-1234567890', tier: 1 });
  const body = JSON.stringify({ model: 'm', input: 'Hi', store: false, stream: true });
  expect(await (await post(services, body)).text()).toContain('response.completed');
  expect(services.requests.map(({ headers }) => headers['authorization'])).toEqual([
    'Bearer sk-limited-1234567890',
    'Bearer sk-one-1234567890',
  ]);
  const refused = await post(services, body.replace('"m"', '"m-400"'));
  expect([refused.status, await refused.json()]).toMatchObject([
    400,
    { error: { param: 'temperature', message: "Unsupported value: 'temperature'." } },
  ]);
});

it('carries a Messages client through three tool turns, with its reasoning given back each time', async () => {
  const services = await setup();
  const client = anthropic(services);
  const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'Look three times' }];
  let final: Anthropic.Message | undefined;
  for (let turn = 0; turn < 4; turn += 1) {
    final = await client.messages
      .stream({
        model: 'm-tools',
        max_tokens: 4_000,
        thinking: { type: 'enabled', budget_tokens: 2_000 },
        metadata: { user_id: 'session-of-jane' },
        tools: [{ name: 'look', input_schema: { type: 'object', properties: { at: { type: 'string' } } } }],
        messages,
      })
      .finalMessage();
    messages.push({ role: 'assistant', content: final.content });
    const calls = final.content.filter((block) => block.type === 'tool_use');
    if (calls.length === 0) break;
    expect(final.content[0]).toMatchObject({ type: 'thinking', thinking: 'Let me see.' });
    messages.push({
      role: 'user',
      content: calls.map(({ id, input }) => ({
        type: 'tool_result',
        tool_use_id: id,
        content: `saw ${(input as { at: string }).at}`,
      })),
    });
  }
  expect(final?.content).toMatchObject([
    { type: 'text', text: 'Results: saw 0a saw 0b saw 1a saw 1b saw 2a saw 2b' },
  ]);
  expect(final?.usage).toMatchObject({ input_tokens: 5, cache_read_input_tokens: 16, output_tokens: 7 });
  const last = services.requests.at(-1)?.json ?? {};
  const step = (at: number) => [
    `reasoning gAAAA-secret-${at}`,
    `function_call call_${at}a`,
    `function_call call_${at}b`,
    `function_call_output call_${at}a`,
    `function_call_output call_${at}b`,
  ];
  expect(
    (last['input'] as Item[]).map(
      ({ type, encrypted_content: sealed = '', call_id: id = '' }) => `${type} ${sealed}${id}`,
    ),
  ).toEqual(['message ', ...step(0), ...step(1), ...step(2)]);
  expect(last).toMatchObject({
    store: false,
    include: ['reasoning.encrypted_content'],
    reasoning: { summary: 'auto' },
  });
});

it('answers a Chat client by the protocol that comes first, and relays the other', async () => {
  const translated = await setup();
  const chat = await translated.chat({ ...userTurn('m', 'Hi'), reasoning_effort: 'low', max_tokens: 5 });
  expect(await chat.json()).toMatchObject({
    choices: [{ finish_reason: 'length', message: { content: 'Hello from the upstream –' } }],
    usage: { prompt_tokens: 21, completion_tokens_details: { reasoning_tokens: 3 } },
  });
  expect(translated.requests[0]).toMatchObject({ path: '/v1/responses', json: { max_output_tokens: 16 } });
  const both = await setup(', protocols: [responses, chat]');
  await both.chat(userTurn('m', 'Hi'));
  await anthropic(both).messages.create({ ...userTurn('m', 'Hi'), max_tokens: 100 });
  const plain = await setup('');
  await post(plain, JSON.stringify({ model: 'm', input: 'Hi', store: false }));
  expect([...both.requests, ...plain.requests].map(({ path }) => path)).toEqual([
    '/v1/chat/completions',
    '/v1/responses',
    '/v1/chat/completions',
  ]);
});

it("names the cache of a client's session by a hash, and passes on the name that a client gives it", async () => {
  const services = await setup();
  const turn = (user: string) =>
    anthropic(services).messages.create({
      ...userTurn('m', 'Hi'),
      max_tokens: 100,
      metadata: { user_id: user },
    });
  for (const user of ['session-of-jane', 'session-of-jane', 'other']) await turn(user);
  await services.chat({ ...userTurn('m', 'Hi'), prompt_cache_key: 'mine' });
  await services.chat(userTurn('m', 'Hi'));
  const [first, again, other, ...rest] = services.requests.map(({ json }) => json['prompt_cache_key']);
  expect(first).toMatch(/^[\w-]{43}$/);
  expect([again === first, other === first, ...rest]).toEqual([true, false, 'mine', undefined]);
});

it.each([
  ['translated', {}],
  ['relayed', { store: false }],
])(
  'goes on at an account of another organisation without the reasoning that it cannot read: %s',
  async (_case, more) => {
    const services = await setup();
    const { responses } = services.openai();
    const asked = { model: 'm-tools', include: ['reasoning.encrypted_content' as const], ...more };
    const user = { role: 'user' as const, content: 'Look' };
    const { output } = await responses.create({ ...asked, input: [user] });
    const { accounts } = (await services.pool('/api/accounts')) as unknown as { accounts: { id: string }[] };
    await services.addAccount('sk-other-organisation-1', { provider: 'local' });
    await services.pool(`/api/accounts/${accounts[0]?.id}`, undefined, 'DELETE');
    const outputs = ['a', 'b'].map((name) => ({
      type: 'function_call_output',
      call_id: `call_0${name}`,
      output: 'seen',
    }));
    const next = await responses.create({ ...asked, input: [user, ...output, ...outputs] as never });
    expect(next.output.map(({ type }) => type)).toEqual(['reasoning', 'function_call', 'function_call']);
    const kinds = services.requests
      .slice(1)
      .map(({ json }) => (json['input'] as Item[]).map(({ type }) => type));
    const calls = ['function_call', 'function_call', 'function_call_output', 'function_call_output'];
    expect(kinds.map((types) => types.slice(1))).toEqual([['reasoning', ...calls], calls]);
  },
);

it('asks an account that may not have summaries of reasoning for an answer without, from then on at first', async () => {
  const services = await setup();
  for (let turn = 0; turn < 2; turn += 1) {
    const { content } = await anthropic(services).messages.create({
      ...userTurn('m-unverified', 'Hi'),
      max_tokens: 4_000,
      thinking: { type: 'enabled', budget_tokens: 2_000 },
    });
    expect(content).toMatchObject([{ type: 'text', text: 'Hello from the upstream – ünïcode.' }]);
  }
  const [asked, again, later] = services.requests.map(({ json }) => json['reasoning'] as object);
  expect(asked).toEqual({ ...again, summary: 'auto' });
  expect(later).toEqual(again);
  expect(services.requests).toHaveLength(3);
  // A client of the dialect has asked for it itself, and gets the refusal.
  const body = { model: 'm-unverified', input: 'Hi', store: false, reasoning: { summary: 'auto' } };
  expect(await (await post(services, JSON.stringify(body))).json()).toMatchObject({
    error: { param: 'reasoning.summary' },
  });
});

it.each([
  ['gpt-5.6-terra', undefined, '/v1/responses'],
  ['gpt-5.6-terra', 'none', '/v1/chat/completions'],
  ['gpt-5.4', 'high', '/v1/responses'],
  ['gpt-5.4', undefined, '/v1/chat/completions'],
  ['m', 'high', '/v1/chat/completions'],
])(
  'tools that %s does not take in Chat Completions with the effort %s go to %s',
  async (model, effort, path) => {
    const services = await setup(', protocols: [responses, chat]');
    const body = { model, messages: [{ role: 'user', content: 'Hi' }], reasoning_effort: effort };
    const tool = {
      type: 'function',
      function: { name: 'look', parameters: { type: 'object', properties: {} } },
    };
    await services.chat({ ...body, tools: [tool] });
    await services.chat({ ...body, max_completion_tokens: 100 });
    await services.chat({ ...body, max_tokens: 100 });
    const paths = services.requests.map((request) => request.path);
    expect(paths).toEqual([
      path,
      '/v1/chat/completions',
      `/v1/${model === 'm' ? 'chat/completions' : 'responses'}`,
    ]);
  },
);
