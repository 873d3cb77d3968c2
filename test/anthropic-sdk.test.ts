import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { pixel } from '../src/core/testing/pixel.ts';
import { messagesAnswer } from '../src/gateway/http/api-answers.ts';
import { eventually, startTestServices, type TestServices } from './support/services.ts';

let services: TestServices;
let client: Anthropic;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
  client = new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
});
afterAll(() => services.close());

function turn(model: string, content: string, more: Partial<Anthropic.MessageCreateParamsNonStreaming> = {}) {
  return { model, max_tokens: 1_000, messages: [{ role: 'user' as const, content }], ...more };
}

const weatherTool: Anthropic.Tool = {
  name: 'get_weather',
  description: 'The weather of a city',
  input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

test('an answer is a message with usage and a stop reason', async () => {
  const { data, response } = await client.messages.create(turn('sandbox', 'Hello')).withResponse();
  expect(data).toMatchObject({
    type: 'message',
    role: 'assistant',
    model: 'sandbox',
    content: [{ type: 'text', text: 'You said: Hello' }],
    stop_reason: 'end_turn',
    stop_sequence: null,
  });
  expect(data.usage.input_tokens).toBeGreaterThan(0);
  expect(data.usage.output_tokens).toBeGreaterThan(0);
  expect(messagesAnswer.safeParse(data).error).toBeUndefined();
  expect(data.id).toMatch(/^msg_/);
  expect(response.headers.get('request-id')).toBe(response.headers.get('x-request-id'));
});

test('a stream has its events in the order of the dialect, and input tokens in the end', async () => {
  const types: string[] = [];
  const stream = client.messages.stream(turn('sandbox', 'Hello'));
  stream.on('streamEvent', (event) => types.push(event.type));
  const message = await stream.finalMessage();
  expect(message.content).toEqual([{ type: 'text', text: 'You said: Hello' }]);
  expect(message.stop_reason).toBe('end_turn');
  expect(message.usage.input_tokens).toBeGreaterThan(0);
  expect(message.usage.output_tokens).toBeGreaterThan(0);
  const shape = types.filter((type, index) => type !== types[index - 1]);
  expect(shape).toEqual([
    'message_start',
    'content_block_start',
    'content_block_delta',
    'content_block_stop',
    'message_delta',
    'message_stop',
  ]);
  expect(types.filter((type) => type === 'content_block_delta').length).toBeGreaterThan(1);
});

test('thinking is a block of its own, shown to those who asked for it', async () => {
  const asked = { thinking: { type: 'enabled' as const, budget_tokens: 1_024 } };
  const shown = await client.messages.stream(turn('sandbox-reasoning', 'Hello', asked)).finalMessage();
  expect(shown.content.map((block) => block.type)).toEqual(['thinking', 'text']);
  expect(shown.content[0]).toMatchObject({ thinking: expect.stringContaining('The user wrote') });
  const whole = await client.messages.create(turn('sandbox-reasoning', 'Hello', asked));
  expect(whole.content.map((block) => block.type)).toEqual(['thinking', 'text']);
  const unasked = await client.messages.create(turn('sandbox-reasoning', 'Hello'));
  expect(unasked.content.map((block) => block.type)).toEqual(['text']);
});

test('a tool call makes the round trip in one remembered conversation, thinking sent back and all', async () => {
  const before = services.upstream.turns.length;
  const more = { system: 'Be brief.', tools: [weatherTool] };
  const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'call get_weather {"city": "Oslo"}' }];
  const first = await client.messages
    .stream({ model: 'sandbox', max_tokens: 1_000, messages, ...more })
    .finalMessage();
  expect(first.stop_reason).toBe('tool_use');
  const call = first.content.find((block) => block.type === 'tool_use');
  if (call === undefined) throw new Error('There is no call.');
  expect(call).toMatchObject({ name: 'get_weather', input: { city: 'Oslo' } });

  messages.push(
    { role: 'assistant', content: first.content },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: '4 degrees' }] },
  );
  const second = await client.messages.create({ model: 'sandbox', max_tokens: 1_000, messages, ...more });
  expect(second.content).toEqual([{ type: 'text', text: 'Tool get_weather returned: 4 degrees' }]);
  expect(second.stop_reason).toBe('end_turn');
  const turns = services.upstream.turns.slice(before);
  expect(turns.flatMap(({ problems }) => problems)).toEqual([]);
  expect(turns).toHaveLength(2);
});

test('several calls of one answer are blocks with their own indexes, and their results go back together', async () => {
  const content = 'call get_weather {"city": "Oslo"}\ncall get_weather {"city": "Rome"}';
  const first = await client.messages
    .stream(turn('sandbox', content, { tools: [weatherTool] }))
    .finalMessage();
  const calls = first.content.filter((block) => block.type === 'tool_use');
  expect(calls.map(({ input }) => input)).toEqual([{ city: 'Oslo' }, { city: 'Rome' }]);
  const second = await client.messages.create({
    ...turn('sandbox', content, { tools: [weatherTool] }),
    messages: [
      { role: 'user', content },
      { role: 'assistant', content: first.content },
      {
        role: 'user',
        content: [
          ...calls.map((call, index) => ({
            type: 'tool_result' as const,
            tool_use_id: call.id,
            content: [{ type: 'text' as const, text: `${index} degrees` }],
            is_error: index === 1,
          })),
          { type: 'text', text: 'And now?' },
        ],
      },
    ],
  });
  expect(second.content[0]).toMatchObject({
    text: 'Tool get_weather returned: 0 degrees\nTool get_weather failed: 1 degrees\nYou said: And now?',
  });
});

const image: Anthropic.ImageBlockParam = {
  type: 'image',
  source: { type: 'base64', media_type: 'image/png', data: pixel },
};

test('an image reaches the upstream, in a message and in the result of a tool', async () => {
  const messages: Anthropic.MessageParam[] = [
    { role: 'user', content: [image, { type: 'text', text: 'call get_weather {"city": "Oslo"}' }] },
  ];
  const ask = { model: 'sandbox', max_tokens: 1_000, tools: [weatherTool] };
  const first = await client.messages.create({ ...ask, messages });
  const call = first.content.find((block) => block.type === 'tool_use');
  if (call === undefined) throw new Error('There is no call.');
  messages.push(
    { role: 'assistant', content: first.content },
    {
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: call.id, content: [{ type: 'text', text: 'a map' }, image] },
      ],
    },
  );
  const second = await client.messages.create({ ...ask, messages });
  expect(second.content[0]).toMatchObject({
    text: expect.stringMatching(/a map\n\[image image\/png, \d+ bytes\]/),
  });
  expect(services.upstream.turns.at(-2)?.imageCount).toBe(1);
});

test('a token limit ends an answer with max_tokens, a stop sequence with its name', async () => {
  const short = await client.messages.create(turn('sandbox', 'one two three four', { max_tokens: 3 }));
  expect(short.stop_reason).toBe('max_tokens');
  const stopped = await client.messages.create(
    turn('sandbox', 'one STOP two', { stop_sequences: ['STOP', 'never'] }),
  );
  expect(stopped).toMatchObject({ stop_reason: 'stop_sequence', stop_sequence: 'STOP' });
  expect(stopped.content).toEqual([{ type: 'text', text: 'You said: one ' }]);
});

test('tokens are counted without a turn', async () => {
  const before = services.upstream.turns.length;
  const small = await client.messages.countTokens({
    model: 'sandbox',
    messages: [{ role: 'user', content: 'Hello' }],
  });
  const large = await client.messages.countTokens({
    model: 'sandbox',
    system: 'Be brief.',
    messages: [{ role: 'user', content: 'Hello '.repeat(100) }],
    tools: [weatherTool],
  });
  expect(small.input_tokens).toBeGreaterThan(0);
  expect(large.input_tokens).toBeGreaterThan(small.input_tokens + 90);
  expect(services.upstream.turns).toHaveLength(before);
});

test('the models are listed in the shape of the dialect', async () => {
  const page = await client.models.list();
  expect(page.data.map(({ id }) => id)).toContain('sandbox');
  expect(await client.models.retrieve('sandbox')).toMatchObject({ type: 'model', id: 'sandbox' });
  await expect(client.models.retrieve('sandbx')).rejects.toBeInstanceOf(Anthropic.NotFoundError);
});

test.each([
  ['sandbox-400', Anthropic.BadRequestError, 'invalid_request_error'],
  ['sandbox-403', Anthropic.PermissionDeniedError, 'permission_error'],
  ['sandbox-429', Anthropic.RateLimitError, 'rate_limit_error'],
  ['sandbox-500', Anthropic.InternalServerError, 'api_error'],
  ['sandbox-unavailable', Anthropic.InternalServerError, 'overloaded_error'],
  ['no-such-model-anywhere', Anthropic.NotFoundError, 'not_found_error'],
])('%s becomes the class of error that the SDK has for it', async (model, Kind, type) => {
  const own = await startTestServices();
  onTestFinished(() => own.close());
  for (const key of ['wk-1.good', 'wk-2.good']) await own.addAccount(key);
  const failing = new Anthropic({ baseURL: own.gatewayUrl, apiKey: 'any', maxRetries: 0 });
  const error = await failing.messages.create(turn(model, 'Hello')).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(Kind);
  expect(error).toMatchObject({ error: { type: 'error', error: { type }, request_id: expect.any(String) } });
});

test('a stream that breaks ends with an error and never as a whole message', async () => {
  const own = await startTestServices({ UPSTREAM_IDLE_SECONDS: '2' });
  onTestFinished(() => own.close());
  await own.addAccount('wk-1.good');
  const breaking = new Anthropic({ baseURL: own.gatewayUrl, apiKey: 'any', maxRetries: 0 });
  const stream = breaking.messages.stream(turn('sandbox-stall', 'Hello'));
  const types: string[] = [];
  stream.on('streamEvent', (event) => types.push(event.type));
  await expect(stream.finalMessage()).rejects.toMatchObject({ error: { error: { type: 'api_error' } } });
  expect(types).toContain('content_block_delta');
  expect(types).not.toContain('message_stop');
});

test('a client that leaves cancels the upstream at once', async () => {
  const stream = client.messages.stream(turn('sandbox-drip', 'Hello'));
  await new Promise<void>((resolve) => stream.once('text', () => resolve()));
  stream.abort();
  await expect(stream.finalMessage()).rejects.toBeInstanceOf(Anthropic.APIUserAbortError);
  await eventually('the upstream turn is closed', () => services.upstream.counts().open === 0);
});

test('headers and fields of newer clients are taken, and what is left out is named', async () => {
  const answer = await fetch(`${services.gatewayUrl}/v1/messages?beta=true`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-api-key': 'any',
      'anthropic-version': '2023-06-01',
      'anthropic-beta': 'claude-code-20250219,interleaved-thinking-2025-05-14,unheard-of-2099-01-01',
    },
    body: JSON.stringify({
      ...turn('sandbox', 'Hello'),
      top_k: 5,
      temperature: 0.5,
      metadata: { user_id: '{"session_id":"1"}' },
      context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] },
      system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }],
      messages: [
        { role: 'system', content: 'More rules.' },
        {
          role: 'user',
          content: [{ type: 'text', text: 'Hello', cache_control: { type: 'ephemeral' } }],
        },
      ],
      tools: [
        { type: 'web_search_20250305', name: 'web_search', max_uses: 5 },
        { ...weatherTool, defer_loading: true, cache_control: { type: 'ephemeral' } },
      ],
      output_config: { effort: 'high' },
      thinking: { type: 'adaptive', display: 'omitted' },
    }),
  });
  expect(answer.status).toBe(200);
  const ignored = answer.headers.get('x-warp2api-ignored') ?? '';
  for (const name of ['top_k', 'context_management', 'tools.web_search_20250305', 'temperature']) {
    expect(ignored).toContain(name);
  }
  expect(ignored).not.toContain('metadata');
  expect(services.upstream.turns.at(-1)?.projectRules.join('\n')).toContain('More rules.');
});

test('a client that keeps threads is told to send the whole conversation', async () => {
  const answer = await fetch(`${services.gatewayUrl}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': 'any' },
    body: JSON.stringify({ ...turn('sandbox', 'Hello'), thread: { type: 'create' } }),
  });
  expect(answer.status).toBe(400);
  expect(await answer.json()).toMatchObject({
    type: 'error',
    error: {
      type: 'invalid_request_error',
      details: { error_code: 'thread_unsupported_request', unsupported: ['thread'] },
    },
  });
});

test('thinking is signed, streamed or not, so that clients send it back', async () => {
  const asked = { thinking: { type: 'adaptive' as const } };
  const before = services.upstream.turns.length;
  const streamed = await client.messages.stream(turn('sandbox-reasoning', 'Hello', asked)).finalMessage();
  const whole = await client.messages.create(turn('sandbox-reasoning', 'Hello', asked));
  for (const { content } of [streamed, whole]) {
    expect(content[0]).toMatchObject({ type: 'thinking', signature: expect.stringMatching(/.+/) });
  }
  await client.messages.create({
    ...turn('sandbox-reasoning', '', asked),
    messages: [
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: whole.content },
      { role: 'user', content: 'Go on' },
    ],
  });
  const turns = services.upstream.turns.slice(before);
  expect(turns[2]?.conversationId).toBe(turns[1]?.conversationId);
});

test('the first event of a stream tells the input tokens, the last one has the figures', async () => {
  const inputTokens: (number | null)[] = [];
  const stream = client.messages.stream(turn('sandbox', 'Hello '.repeat(200)));
  stream.on('streamEvent', (event) => {
    if (event.type === 'message_start') inputTokens.push(event.message.usage.input_tokens);
    if (event.type === 'message_delta') inputTokens.push(event.usage.input_tokens);
  });
  const message = await stream.finalMessage();
  expect(inputTokens[0]).toBeGreaterThan(200);
  expect(inputTokens[1]).toBeGreaterThan(0);
  expect(message.usage.input_tokens).toBe(inputTokens[1]);
});

test('tools that are loaded on demand can be found and called', async () => {
  const tools = [
    { name: 'ToolSearch', description: 'Finds tools', input_schema: { type: 'object' as const } },
    { ...weatherTool, defer_loading: true },
  ];
  const messages: Anthropic.MessageParam[] = [
    { role: 'user', content: 'call ToolSearch {"query": "weather"}' },
  ];
  const ask = { model: 'sandbox', max_tokens: 1_000, tools };
  const searched = await client.messages.create({ ...ask, messages });
  const search = searched.content.find((block) => block.type === 'tool_use');
  if (search === undefined) throw new Error('There is no call.');
  const found: Anthropic.ToolReferenceBlockParam = { type: 'tool_reference', tool_name: 'get_weather' };
  messages.push(
    { role: 'assistant', content: searched.content },
    {
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: search.id, content: [found] },
        { type: 'text', text: 'call get_weather {"city": "Oslo"}' },
      ],
    },
  );
  const called = await client.messages.create({ ...ask, messages });
  expect(called.content.at(-1)).toMatchObject({ type: 'tool_use', name: 'get_weather' });
  expect(services.upstream.turns.at(-1)?.toolResults).toMatchObject([
    { name: 'ToolSearch', text: 'The tool get_weather can be used now.' },
  ]);
});

test('a call that a person interrupted does not break the conversation', async () => {
  const before = services.upstream.turns.length;
  const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'call get_weather {"city": "Oslo"}' }];
  const ask = { model: 'sandbox', max_tokens: 1_000, tools: [weatherTool] };
  const first = await client.messages.create({ ...ask, messages });
  messages.push({ role: 'assistant', content: first.content }, { role: 'user', content: 'Never mind.' });
  const second = await client.messages.create({ ...ask, messages });
  expect(second.content[0]).toMatchObject({ text: expect.stringContaining('You said: Never mind.') });
  const turns = services.upstream.turns.slice(before);
  expect(turns.flatMap(({ problems }) => problems)).toEqual([]);
  expect(turns[1]?.conversationId).toBe(turns[0]?.conversationId);
});

test.each([[{}], [{ 'anthropic-version': 'tomorrow' }]])(
  'any version header will do: %j',
  async (headers) => {
    const answer = await fetch(`${services.gatewayUrl}/v1/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-key': 'any', ...headers },
      body: JSON.stringify({ ...turn('sandbox', 'Hello'), thread: false }),
    });
    expect(answer.status).toBe(200);
  },
);
