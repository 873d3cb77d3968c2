import OpenAI from 'openai';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { responseAnswer } from '../src/gateway/http/api-answers.ts';
import { eventually, startTestServices, type TestServices } from './support/services.ts';

let services: TestServices;
let client: OpenAI;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
  client = services.openai();
});
afterAll(() => services.close());

const weatherTool: OpenAI.Responses.FunctionTool = {
  type: 'function',
  name: 'get_weather',
  description: 'The weather of a city',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  strict: false,
};

async function eventsOf(body: OpenAI.Responses.ResponseCreateParamsStreaming) {
  const events: OpenAI.Responses.ResponseStreamEvent[] = [];
  for await (const event of await client.responses.create(body)) events.push(event);
  return events;
}

test('an answer is a whole response object', async () => {
  const response = await client.responses.create({
    model: 'sandbox',
    input: 'Hello',
    instructions: 'Be brief.',
  });
  expect(response.output_text).toBe('You said: Hello');
  expect(response).toMatchObject({ object: 'response', status: 'completed', instructions: 'Be brief.' });
  expect(response.usage?.total_tokens).toBeGreaterThan(0);
  const { output_text: _, _request_id: __, ...wire } = response as typeof response & { _request_id?: string };
  expect(responseAnswer.safeParse(wire).error).toBeUndefined();
  expect(services.upstream.turns.at(-1)?.projectRules.join()).toContain('Be brief.');
});

test('a stream has every event in its place, numbered, and ends completed', async () => {
  const events = await eventsOf({ model: 'sandbox', input: 'Hello', stream: true });
  const types = events.map(({ type }) => type).filter((type, index, all) => type !== all[index - 1]);
  expect(types).toEqual([
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_text.delta',
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.completed',
  ]);
  expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, index) => index));
  const last = events.at(-1);
  if (last?.type !== 'response.completed') throw new Error('It did not end completed.');
  expect(last.response.output).toMatchObject([
    { type: 'message', status: 'completed', content: [{ type: 'output_text', text: 'You said: Hello' }] },
  ]);
  expect(last.response.usage?.input_tokens).toBeGreaterThan(0);
});

test("the SDK's own stream helper accepts reasoning, text and calls", async () => {
  const plain = await client.responses.stream({ model: 'sandbox-reasoning', input: 'Hello' }).finalResponse();
  expect(plain.output.map(({ type }) => type)).toEqual(['reasoning', 'message']);
  const called = await client.responses
    .stream({
      model: 'sandbox',
      input: 'call get_weather {"city": "Oslo"}\ncall get_weather {"city": "Rome"}',
      tools: [weatherTool],
    })
    .finalResponse();
  const calls = called.output.filter((item) => item.type === 'function_call');
  expect(calls.map((call) => JSON.parse(call.arguments))).toEqual([{ city: 'Oslo' }, { city: 'Rome' }]);
  expect(new Set(called.output.map(({ id }) => id)).size).toBe(called.output.length);
});

test('a tool loop works by resending items, in one remembered conversation', async () => {
  const before = services.upstream.turns.length;
  const input: OpenAI.Responses.ResponseInput = [
    { role: 'developer', content: 'Be brief.' },
    { role: 'user', content: [{ type: 'input_text', text: 'call get_weather {"city": "Oslo"}' }] },
  ];
  const ask = { model: 'sandbox', tools: [weatherTool], store: false };
  const first = await client.responses.create({ ...ask, input });
  const call = first.output.find((item) => item.type === 'function_call');
  if (call === undefined) throw new Error('There is no call.');
  input.push(...(first.output as OpenAI.Responses.ResponseInputItem[]), {
    type: 'function_call_output',
    call_id: call.call_id,
    output: '4 degrees',
  });
  const second = await client.responses.create({ ...ask, input });
  expect(second.output_text).toBe('Tool get_weather returned: 4 degrees');
  const turns = services.upstream.turns.slice(before);
  expect(turns.flatMap(({ problems }) => problems)).toEqual([]);
  expect(turns[1]?.conversationId).toBe(turns[0]?.conversationId);
});

test('a tool loop works by previous_response_id, and each response can be read until it is deleted', async () => {
  const first = await client.responses.create({
    model: 'sandbox',
    input: 'call get_weather {"city": "Oslo"}',
    tools: [weatherTool],
  });
  const call = first.output.find((item) => item.type === 'function_call');
  const second = await client.responses.create({
    model: 'sandbox',
    previous_response_id: first.id,
    input: [{ type: 'function_call_output', call_id: call?.call_id ?? '', output: '4 degrees' }],
    tools: [weatherTool],
  });
  expect(second.output_text).toBe('Tool get_weather returned: 4 degrees');
  expect(second.previous_response_id).toBe(first.id);

  expect((await client.responses.retrieve(second.id)).output_text).toBe(second.output_text);
  const items = await client.responses.inputItems.list(second.id, { order: 'asc', limit: 2 });
  expect(items.data.map((item) => item.type)).toEqual(['message', 'function_call']);
  expect(items.has_more).toBe(true);
  await client.responses.delete(second.id);
  await expect(client.responses.retrieve(second.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  await expect(client.responses.cancel(first.id)).rejects.toBeInstanceOf(OpenAI.BadRequestError);
});

test('the items a response was made from are listed page by page, with ids that can be referred to', async () => {
  const first = await client.responses.create({ model: 'sandbox', input: 'Hello' });
  const second = await client.responses.create({
    model: 'sandbox',
    previous_response_id: first.id,
    input: 'And you?',
  });
  const seen: OpenAI.Responses.ResponseItem[] = [];
  for await (const item of client.responses.inputItems.list(second.id, { order: 'asc', limit: 1 }))
    seen.push(item);
  expect(seen).toMatchObject([
    { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello' }] },
    { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'You said: Hello' }] },
    { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'And you?' }] },
  ]);
  const latest = await client.responses.inputItems.list(second.id, { limit: 1 });
  expect(latest.data).toEqual([seen[2]]);

  const before = services.upstream.turns.length;
  const third = await client.responses.create({
    model: 'sandbox',
    input: [
      { type: 'item_reference', id: seen[0]?.id ?? '' },
      { type: 'item_reference', id: first.output[0]?.id ?? '' },
      { role: 'user', content: 'Go on' },
    ],
  });
  expect(third.output_text).toMatch(/Hello[\s\S]*You said: Hello[\s\S]*Go on$/);
  expect(services.upstream.turns[before]?.problems).toEqual([]);
  await expect(
    client.responses.create({ model: 'sandbox', input: [{ type: 'item_reference', id: 'msg_gone' }] }),
  ).rejects.toMatchObject({ status: 404, param: 'input.0.id' });
  await expect(
    services.openai({ apiKey: 'another' }).responses.create({
      model: 'sandbox',
      input: [{ type: 'item_reference', id: first.output[0]?.id ?? '' }],
    }),
  ).rejects.toMatchObject({ status: 404, param: 'input.0.id' });
});

test('items of one id or none to speak of are listed once each', async () => {
  const said = (id: unknown, content: string) => ({ id, role: 'user', content });
  const input = [said('msg_1', 'a'), said('msg_1', 'b'), said('msg_2', 'c'), said('', 'd'), said(5, 'e')];
  const { id } = await client.responses.create({ model: 'sandbox', input: input as never });
  const seen: OpenAI.Responses.ResponseItem[] = [];
  for await (const item of client.responses.inputItems.list(id, { order: 'asc', limit: 1 })) {
    seen.push(item);
    if (seen.length > input.length) break;
  }
  expect(seen.map((item) => item.type === 'message' && item.content[0])).toMatchObject(
    ['a', 'b', 'c', 'd', 'e'].map((text) => ({ text })),
  );
  expect(new Set(seen.map((item) => item.id)).size).toBe(input.length);
});

test('tokens of an input are counted, with what it continues', async () => {
  const first = await client.responses.create({ model: 'sandbox', input: 'Hello, how are you today?' });
  const alone = await client.responses.inputTokens.count({ model: 'sandbox', input: 'Fine.' });
  const after = await client.responses.inputTokens.count({
    model: 'sandbox',
    input: 'Fine.',
    previous_response_id: first.id,
  });
  expect(alone).toMatchObject({ object: 'response.input_tokens' });
  expect(alone.input_tokens).toBeGreaterThan(0);
  expect(after.input_tokens).toBeGreaterThan(alone.input_tokens + 8);
});

test('reasoning comes sealed when it is asked for, and is taken back', async () => {
  const ask = { model: 'sandbox-reasoning', store: false, include: ['reasoning.encrypted_content' as const] };
  const first = await client.responses.create({ ...ask, input: 'Hello' });
  const [reasoning] = first.output;
  if (reasoning?.type !== 'reasoning') throw new Error('There is no reasoning.');
  expect(reasoning.encrypted_content).toMatch(/^[A-Za-z0-9_-]{40,}$/);
  const second = await client.responses.create({
    ...ask,
    input: [
      { role: 'user', content: 'Hello' },
      ...(first.output as OpenAI.Responses.ResponseInputItem[]),
      { role: 'user', content: 'Go on' },
    ],
  });
  expect(second.output_text).toBe('You said: Go on');
});

test('a response is kept for the key that made it only, and not at all when the client says so', async () => {
  const mine = await client.responses.create({ model: 'sandbox', input: 'Hello' });
  const other = services.openai({ apiKey: 'another' });
  await expect(other.responses.retrieve(mine.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  await expect(
    other.responses.create({ model: 'sandbox', input: 'Go on', previous_response_id: mine.id }),
  ).rejects.toMatchObject({
    status: 400,
    code: 'previous_response_not_found',
    param: 'previous_response_id',
  });
  await expect(other.responses.delete(mine.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  const unstored = await client.responses.create({ model: 'sandbox', input: 'Hello', store: false });
  await expect(client.responses.retrieve(unstored.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
});

test('an effort that has no effect is named as the dialect calls it', async () => {
  const { response } = await client.responses
    .create({ model: 'sandbox', input: 'Hello', reasoning: { effort: 'high' } })
    .withResponse();
  expect(response.headers.get('x-warp2api-ignored')).toBe('reasoning.effort');
});

test('tools of a namespace and custom tools come back in the form they were offered', async () => {
  const tools = [
    { type: 'namespace', name: 'files', tools: [{ type: 'function', name: 'read', parameters: {} }] },
    { type: 'custom', name: 'patch', description: 'Changes a file' },
    { type: 'web_search', external_web_access: false },
  ] as unknown as OpenAI.Responses.Tool[];
  const { data, response } = await client.responses
    .create({
      model: 'sandbox',
      input: 'call files__read {"path": "a"}\ncall patch {"input": "*** Begin"}',
      tools,
    })
    .withResponse();
  expect(response.headers.get('x-warp2api-ignored')).toContain('tools.web_search');
  expect(data.output).toMatchObject([
    { type: 'function_call', name: 'read', namespace: 'files', arguments: expect.stringContaining('"path"') },
    { type: 'custom_tool_call', name: 'patch', input: '*** Begin' },
  ]);
  const [read, patch] = data.output as { call_id: string }[];
  const next = await client.responses.create({
    model: 'sandbox',
    previous_response_id: data.id,
    tools,
    input: [
      { type: 'function_call_output', call_id: read?.call_id ?? '', output: 'one' },
      { type: 'custom_tool_call_output', call_id: patch?.call_id ?? '', output: 'two' },
    ],
  });
  expect(next.output_text).toBe('Tool files__read returned: one\nTool patch returned: two');
});

const pixel =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

test('an image reaches the upstream', async () => {
  await client.responses.create({
    model: 'sandbox',
    input: [
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'What is it?' },
          { type: 'input_image', image_url: pixel, detail: 'high' },
        ],
      },
    ],
  });
  expect(services.upstream.turns.at(-1)?.imageCount).toBe(1);
});

test('an answer by a JSON schema is checked', async () => {
  const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
  const ask = {
    model: 'sandbox-echo',
    text: { format: { type: 'json_schema' as const, name: 'city', schema, strict: false } },
  };
  const response = await client.responses.parse({ ...ask, input: '{"city": "Oslo"}' });
  expect(response.output_parsed).toEqual({ city: 'Oslo' });
  await expect(client.responses.create({ ...ask, input: '{"town": "Oslo"}' })).rejects.toMatchObject({
    code: 'upstream_protocol',
  });
});

test('a token limit ends a response incomplete', async () => {
  const response = await client.responses.create({
    model: 'sandbox',
    input: 'one two three four five',
    max_output_tokens: 3,
  });
  expect(response).toMatchObject({
    status: 'incomplete',
    incomplete_details: { reason: 'max_output_tokens' },
  });
  const events = await eventsOf({
    model: 'sandbox-burst',
    input: 'Hello',
    max_output_tokens: 3,
    stream: true,
  });
  expect(events.at(-1)?.type).toBe('response.incomplete');
});

test.each([
  [{ top_logprobs: 2 }, 'top_logprobs'],
  [{ text: { format: { type: 'xml' } } }, 'text.format'],
  [{ text: { format: { type: 'json_schema', name: 'x' } } }, 'text.format.schema'],
  [{ conversation: 'conv_1' }, 'conversation'],
  [
    { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'https://x/y.png' }] }] },
    'input.0.content.0.image_url',
  ],
  [{ tool_choice: { type: 'function', name: 'gone' } }, 'tool_choice'],
])('%j is refused with the name of the parameter', async (more, param) => {
  const body = {
    model: 'sandbox',
    input: 'Hello',
    ...more,
  } as OpenAI.Responses.ResponseCreateParamsNonStreaming;
  await expect(client.responses.create(body)).rejects.toMatchObject({ status: 400, param });
});

test('reasoning is left out with effort none, and part of the token limit where it was asked for', async () => {
  const ask = (more: Partial<OpenAI.Responses.ResponseCreateParamsNonStreaming>) =>
    client.responses.create({ model: 'sandbox-reasoning', input: 'Hello', ...more });
  const types = async (answer: ReturnType<typeof ask>) => (await answer).output.map(({ type }) => type);
  expect(await types(ask({ reasoning: { effort: 'none' } }))).toEqual(['message']);
  expect(await types(ask({ reasoning: { effort: 'low' } }))).toEqual(['reasoning', 'message']);
  const cut = await ask({ reasoning: { effort: 'low' }, max_output_tokens: 14 });
  expect(cut).toMatchObject({ status: 'incomplete', usage: { output_tokens: 14 } });
  expect(cut.output_text).toBe('You said: Hello'.slice(0, cut.output_text.length));
  expect(cut.output_text.length).toBeLessThan('You said: Hello'.length);
});

test('a stream that breaks ends with an error event and is not completed', async () => {
  const own = await startTestServices({ UPSTREAM_IDLE_SECONDS: '2' });
  onTestFinished(() => own.close());
  await own.addAccount('wk-1.good');
  const types: string[] = [];
  const stream = await own
    .openai()
    .responses.create({ model: 'sandbox-stall', input: 'Hello', stream: true });
  const reading = (async () => {
    for await (const event of stream) types.push(event.type);
  })();
  await expect(reading).rejects.toMatchObject({
    code: 'upstream_timeout',
    message: expect.stringContaining('fell silent'),
  });
  expect(types).toContain('response.output_text.delta');
  expect(types).not.toContain('response.completed');
});

test('a whole stream ends with the line [DONE], a broken one does not', async () => {
  const streamed = async (model: string) => {
    const answer = await fetch(`${services.gatewayUrl}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, input: 'Hello', stream: true }),
    });
    return await answer.text();
  };
  expect(await streamed('sandbox')).toMatch(/"type":"response\.completed".*\n\ndata: \[DONE\]\n\n$/);
  expect(await streamed('sandbox-max-tokens')).toMatch(/\n\ndata: \[DONE\]\n\n$/);
  expect(await streamed('sandbox-eof')).not.toContain('[DONE]');
});

test('a client that leaves cancels the upstream at once', async () => {
  const abort = new AbortController();
  const stream = await client.responses.create(
    { model: 'sandbox-drip', input: 'Hello', stream: true },
    { signal: abort.signal },
  );
  for await (const event of stream) if (event.type === 'response.output_text.delta') break;
  abort.abort();
  await eventually('the upstream turn is closed', () => services.upstream.counts().open === 0);
});
