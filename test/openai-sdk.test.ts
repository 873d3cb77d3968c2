import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pixel } from '../src/core/testing/pixel.ts';
import { eventually, startTestServices, type TestServices, userTurn } from './support/services.ts';

let services: TestServices;
let client: OpenAI;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
  client = services.openai();
});
afterAll(() => services.close());

const weatherTool = {
  type: 'function' as const,
  function: {
    name: 'get_weather',
    description: 'The weather of a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

test('an answer is whole, with usage and a finish reason', async () => {
  const answer = await client.chat.completions.create(userTurn('sandbox', 'Hello'));
  expect(answer.choices[0]).toMatchObject({
    index: 0,
    message: { role: 'assistant', content: 'You said: Hello' },
    finish_reason: 'stop',
  });
  expect(answer.usage?.total_tokens).toBeGreaterThan(0);
  expect(answer.model).toBe('sandbox');
  expect(answer._request_id).toMatch(/.+/);
  expect(answer.system_fingerprint).toBeUndefined();
});

test('a stream brings the same answer in pieces and ends with its usage', async () => {
  const stream = await client.chat.completions.create({
    ...userTurn('sandbox', 'Hello'),
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')).toBe('You said: Hello');
  expect(chunks.filter((chunk) => chunk.choices[0]?.delta.content).length).toBeGreaterThan(1);
  expect(chunks[0]?.choices[0]?.delta.role).toBe('assistant');
  expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('stop');
  expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: expect.any(Number) } });
});

test("the SDK's own stream helper accepts the stream", async () => {
  const final = await client.chat.completions
    .stream(userTurn('sandbox-reasoning', 'Hello'))
    .finalChatCompletion();
  expect(final.choices[0]?.message.content).toBe('You said: Hello');
});

test('reasoning arrives apart from the text', async () => {
  const answer = await client.chat.completions.create(userTurn('sandbox-reasoning', 'Hello'));
  const message = answer.choices[0]?.message as { content: string; reasoning_content?: string };
  expect(message.reasoning_content).toContain('The user wrote');
  expect(message.content).toBe('You said: Hello');
});

test('a tool call makes the round trip in one remembered conversation', async () => {
  const before = services.upstream.turns.length;
  const messages: OpenAI.ChatCompletionMessageParam[] = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'call get_weather {"city": "Oslo"}' },
  ];
  const first = await client.chat.completions.create({ model: 'sandbox', messages, tools: [weatherTool] });
  const message = first.choices[0]?.message;
  expect(first.choices[0]?.finish_reason).toBe('tool_calls');
  const call = message?.tool_calls?.[0];
  if (!message || call?.type !== 'function') throw new Error('There is no call.');
  expect(call.function.name).toBe('get_weather');
  expect(JSON.parse(call.function.arguments)).toEqual({ city: 'Oslo' });

  messages.push(message, { role: 'tool', tool_call_id: call.id, content: '4 degrees' });
  const second = await client.chat.completions.create({ model: 'sandbox', messages, tools: [weatherTool] });
  expect(second.choices[0]?.message.content).toContain('Tool get_weather returned: 4 degrees');
  messages.push({ role: 'assistant', content: second.choices[0]?.message.content ?? '' });
  messages.push({ role: 'user', content: 'Thanks' });
  const third = await client.chat.completions.create({ model: 'sandbox', messages, tools: [weatherTool] });
  expect(third.choices[0]?.message.content).toBe('You said: Thanks');

  const turns = services.upstream.turns.slice(before);
  expect(new Set(turns.map((turn) => turn.conversationId)).size).toBe(1);
  expect(turns.map((turn) => turn.problems)).toEqual([[], [], []]);
  expect(turns[1]?.toolResults).toMatchObject([{ name: 'get_weather', text: '4 degrees', isError: false }]);
  expect(turns.every((turn) => turn.userAgent?.startsWith('warp2api/'))).toBe(true);
});

test('a streamed tool call can be put together by the SDK, also several at once', async () => {
  const final = await client.chat.completions
    .stream({
      ...userTurn('sandbox', 'call get_weather {"city": "Oslo"}\ncall get_weather {"city": "Rome"}'),
      tools: [weatherTool],
    })
    .finalChatCompletion();
  const calls = final.choices[0]?.message.tool_calls ?? [];
  expect(calls.map((call) => 'function' in call && JSON.parse(call.function.arguments))).toEqual([
    { city: 'Oslo' },
    { city: 'Rome' },
  ]);
  expect(final.choices[0]?.finish_reason).toBe('tool_calls');
});

test('a history nobody remembers is told anew', async () => {
  const answer = await client.chat.completions.create({
    model: 'sandbox',
    messages: [
      { role: 'user', content: 'My name is Ada.' },
      { role: 'assistant', content: 'Hello Ada, never said here.' },
      { role: 'user', content: 'Who am I?' },
    ],
  });
  const text = answer.choices[0]?.message.content ?? '';
  expect(text).toContain('My name is Ada.');
  expect(text).toContain('never said here');
  expect(text.trimEnd().endsWith('Who am I?')).toBe(true);
});

test('asking the same turn again does not continue what the first try began', async () => {
  const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'One' }];
  const first = await client.chat.completions.create({ model: 'sandbox', messages });
  messages.push({ role: 'assistant', content: first.choices[0]?.message.content ?? '' });
  messages.push({ role: 'user', content: 'Two' });
  const before = services.upstream.turns.length;
  await client.chat.completions.create({ model: 'sandbox', messages });
  const again = await client.chat.completions.create({ model: 'sandbox', messages });
  expect(again.choices[0]?.message.content).toContain('Two');
  const [second, third] = services.upstream.turns.slice(before);
  expect(second?.query).toBe('Two');
  expect(third?.query).not.toBe('Two');
  expect(third?.conversationId).not.toBe(second?.conversationId);
});

test('an image travels inline', async () => {
  await client.chat.completions.create({
    model: 'sandbox',
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is this?' },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } },
        ],
      },
    ],
  });
  expect(services.upstream.turns.at(-1)?.imageCount).toBe(1);
});

test('a token limit is kept by counting, streaming or not', async () => {
  const long = `repeat ${'word '.repeat(300)}`;
  const answer = await client.chat.completions.create({
    ...userTurn('sandbox', long),
    max_completion_tokens: 20,
  });
  expect(answer.choices[0]?.finish_reason).toBe('length');
  expect(answer.choices[0]?.message.content?.split(' ').length).toBeLessThanOrEqual(21);
  let text = '';
  let finish: string | null | undefined;
  for await (const chunk of await client.chat.completions.create({
    ...userTurn('sandbox', long),
    max_tokens: 20,
    stream: true,
  })) {
    text += chunk.choices[0]?.delta.content ?? '';
    finish = chunk.choices[0]?.finish_reason ?? finish;
  }
  expect(finish).toBe('length');
  expect(text).toBe(answer.choices[0]?.message.content);
});

test('a client that leaves in mid-stream cancels the upstream', async () => {
  const before = services.upstream.counts().cancelled;
  const stream = await client.chat.completions.create({ ...userTurn('sandbox-drip', 'Hello'), stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content) break;
  }
  stream.controller.abort();
  await eventually('the upstream is cancelled', () => services.upstream.counts().cancelled > before);
});

test('a client that leaves before the first event cancels the upstream', async () => {
  const before = services.upstream.counts().cancelled;
  const abort = new AbortController();
  const asked = client.chat.completions.create(userTurn('sandbox-hang', 'Hello'), { signal: abort.signal });
  const refused = expect(asked).rejects.toThrow(OpenAI.APIUserAbortError);
  await eventually('the upstream has the request', () => services.upstream.turns.at(-1)?.scenario === 'hang');
  abort.abort();
  await refused;
  await eventually('the upstream is cancelled', () => services.upstream.counts().cancelled > before);
});

test('models can be listed and looked up, also by a name that tools have built in', async () => {
  const models = await client.models.list();
  expect(models.data.map((model) => model.id)).toContain('auto');
  expect((await client.models.retrieve('sandbox')).id).toBe('sandbox');
  expect((await client.models.retrieve('claude-3-5-sonnet-20241022')).id).toBe('claude-3-5-sonnet-20241022');
  await expect(client.models.retrieve('sandbx')).rejects.toThrow(/did you mean "sandbox"/);
});

test('a built-in name of a tool is answered by the default alias', async () => {
  const answer = await client.chat.completions.create(userTurn('claude-3-5-sonnet-20241022', 'Hello'));
  expect(answer.model).toBe('claude-3-5-sonnet-20241022');
  expect(services.upstream.turns.at(-1)?.model).toBe('auto');
});

test('an unknown model is a 404 that names it', async () => {
  const error = await client.chat.completions
    .create(userTurn('no-such-model', 'Hello'))
    .catch((thrown) => thrown);
  expect(error).toBeInstanceOf(OpenAI.NotFoundError);
  expect(error).toMatchObject({ code: 'model_not_found', param: 'model' });
});

test('an upstream 429 is a RateLimitError with Retry-After', async () => {
  const error = await client.chat.completions
    .create(userTurn('sandbox-429', 'Hello'))
    .catch((thrown) => thrown);
  expect(error).toBeInstanceOf(OpenAI.RateLimitError);
  expect(error).toMatchObject({ status: 429, code: 'rate_limit_exceeded', type: 'rate_limit_error' });
  expect(Number(error.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  expect(error.requestID).toMatch(/.+/);
});

const citySchema = {
  type: 'object',
  properties: { city: { type: 'string' }, degrees: { type: 'number' } },
  required: ['city', 'degrees'],
  additionalProperties: false,
};

test('an answer by a JSON schema is asked for, checked and parsed by the SDK, streamed or not', async () => {
  const format = {
    type: 'json_schema' as const,
    json_schema: { name: 'weather', strict: true, schema: citySchema },
  };
  const ask = userTurn('sandbox-echo', '{"city": "Oslo", "degrees": 4}', { response_format: format });
  const parsed = await client.chat.completions.parse(ask);
  expect(parsed.choices[0]?.message.parsed).toEqual({ city: 'Oslo', degrees: 4 });
  expect(services.upstream.turns.at(-1)?.projectRules.join()).toContain('"required":["city","degrees"]');
  const final = await client.chat.completions.stream(ask).finalChatCompletion();
  expect(final.choices[0]?.message.parsed).toEqual({ city: 'Oslo', degrees: 4 });
  const object = await client.chat.completions.create(
    userTurn('sandbox-echo', '{"any": 1}', { response_format: { type: 'json_object' } }),
  );
  expect(object.choices[0]?.message.content).toBe('{"any": 1}');
});

test('an answer that is not the JSON asked for, twice, is an error and never passed on', async () => {
  const before = services.upstream.turns.length;
  const ask = userTurn('sandbox', 'Hello', { response_format: { type: 'json_object' } });
  await expect(client.chat.completions.create(ask)).rejects.toMatchObject({
    status: 502,
    code: 'upstream_protocol',
  });
  expect(services.upstream.turns).toHaveLength(before + 2);
  expect(services.upstream.turns.at(-1)?.query).toContain('mended, as JSON alone');
});

test('a schema that is none is refused by name', async () => {
  const format = { type: 'json_schema', json_schema: { name: 'x', schema: { $ref: '#/nowhere' } } };
  await expect(
    client.chat.completions.create(userTurn('sandbox', 'Hello', { response_format: format })),
  ).rejects.toMatchObject({ status: 400, param: 'response_format.json_schema.schema' });
});

test('a custom tool makes the round trip as the SDK knows it, in one remembered conversation', async () => {
  const before = services.upstream.turns.length;
  const tools: OpenAI.ChatCompletionTool[] = [
    { type: 'custom', custom: { name: 'apply_patch', description: 'Changes files' } },
  ];
  const messages: OpenAI.ChatCompletionMessageParam[] = [
    { role: 'user', content: 'call apply_patch {"input": "*** Begin"}' },
  ];
  const ask = { model: 'sandbox', messages, tools };
  const streamed = await client.chat.completions.stream(ask).finalChatCompletion();
  const whole = await client.chat.completions.create(ask);
  const custom = { name: 'apply_patch', input: '*** Begin' };
  for (const answer of [streamed, whole]) {
    expect(answer.choices[0]?.finish_reason).toBe('tool_calls');
    expect(answer.choices[0]?.message.tool_calls).toMatchObject([{ type: 'custom', custom }]);
  }
  const message = whole.choices[0]?.message;
  const call = message?.tool_calls?.[0];
  if (!message || !call) throw new Error('There is no call.');
  messages.push(message, { role: 'tool', tool_call_id: call.id, content: [{ type: 'text', text: 'done' }] });
  const next = await client.chat.completions.create(ask);
  expect(next.choices[0]?.message.content).toContain('Tool apply_patch returned: done');
  const turns = services.upstream.turns.slice(before);
  expect(turns.flatMap(({ problems }) => problems)).toEqual([]);
  expect(turns[2]?.conversationId).toBe(turns[1]?.conversationId);
});

test('a call that a person interrupted does not break the conversation', async () => {
  const before = services.upstream.turns.length;
  const messages: OpenAI.ChatCompletionMessageParam[] = [
    { role: 'user', content: 'call get_weather {"city": "Oslo"}\ncall get_weather {"city": "Rome"}' },
  ];
  const ask = { model: 'sandbox', messages, tools: [weatherTool] };
  const first = (await client.chat.completions.create(ask)).choices[0]?.message;
  const [answered] = first?.tool_calls ?? [];
  if (!first || !answered) throw new Error('There is no call.');
  messages.push(first, { role: 'tool', tool_call_id: answered.id, content: '4 degrees' });
  messages.push({ role: 'user', content: 'Never mind Rome.' });
  const second = await client.chat.completions.create(ask);
  expect(second.choices[0]?.message.content).toContain('You said: Never mind Rome.');
  expect(second.choices[0]?.message.content).toContain('failed: No result');
  messages.push(second.choices[0]?.message ?? first, { role: 'user', content: 'Thanks' });
  await client.chat.completions.create(ask);
  const turns = services.upstream.turns.slice(before);
  expect(turns.flatMap(({ problems }) => problems)).toEqual([]);
  expect(new Set(turns.map(({ conversationId }) => conversationId)).size).toBe(1);
});

test('the result of a call that was never made is refused by name', async () => {
  const orphan = { role: 'tool' as const, tool_call_id: 'call_gone', content: '4 degrees' };
  const messages = [{ role: 'user' as const, content: 'Hello' }, orphan];
  await expect(client.chat.completions.create({ model: 'sandbox', messages })).rejects.toMatchObject({
    status: 400,
    param: 'messages.1.tool_call_id',
  });
});

test('a text file travels as text, what is none is refused by name', async () => {
  const ask = (file: Record<string, string>) =>
    client.chat.completions.create({
      model: 'sandbox',
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Read it.' },
            { type: 'file', file },
          ],
        },
      ],
    });
  const file_data = `data:text/plain;base64,${Buffer.from('The secret is 42.').toString('base64')}`;
  const answer = await ask({ file_data, filename: 'notes.txt' });
  expect(answer.choices[0]?.message.content).toContain('notes.txt\n\nThe secret is 42.');
  await expect(ask({ file_id: 'file-1' })).rejects.toMatchObject({ param: 'messages.0.content.1.file' });
});
