import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServices, type TestServices, userTurn } from './support/services.ts';

let services: TestServices;
let openai: OpenAI;
let anthropic: Anthropic;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
  openai = services.openai();
  anthropic = new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
});
afterAll(() => services.close());

const parameters = { type: 'object' as const, properties: { city: { type: 'string' } }, required: ['city'] };
const names = ['get_weather', 'get_time'] as const;
const chatTools = names.map((name) => ({ type: 'function' as const, function: { name, parameters } }));
const named = { type: 'function' as const, function: { name: 'get_time' } };

test('a demanded call comes in all three dialects, and no other tool is offered with it', async () => {
  const asked = userTurn('sandbox-obedient', 'It is about Oslo');
  const chat = await openai.chat.completions.create({ ...asked, tools: chatTools, tool_choice: named });
  expect(chat.choices[0]).toMatchObject({
    finish_reason: 'tool_calls',
    message: { tool_calls: [{ function: { name: 'get_time' } }] },
  });
  expect(services.upstream.turns.at(-1)?.problems).toEqual([]);
  const response = await openai.responses.create({
    model: 'sandbox-obedient',
    input: 'It is about Oslo',
    tools: names.map((name) => ({ type: 'function', name, parameters, strict: false })),
    tool_choice: 'required',
  });
  expect(response.output).toMatchObject([{ type: 'function_call' }]);
  const message = await anthropic.messages.create({
    ...asked,
    max_tokens: 100,
    tools: names.map((name) => ({ name, input_schema: parameters })),
    tool_choice: { type: 'tool', name: 'get_time' },
  });
  expect(message).toMatchObject({
    stop_reason: 'tool_use',
    content: [{ type: 'tool_use', name: 'get_time' }],
  });
});

test('a model that only talks is told once more, and then it is a 502 and never a text', async () => {
  const before = services.upstream.turns.length;
  const asked = { ...userTurn('sandbox', 'Hello'), tools: chatTools, tool_choice: 'required' as const };
  await expect(openai.chat.completions.create(asked)).rejects.toMatchObject({
    status: 502,
    code: 'upstream_protocol',
    message: expect.stringContaining('did not call a tool'),
  });
  expect(services.upstream.turns.slice(before).map(({ query }) => query)).toEqual([
    'Hello',
    expect.stringContaining('You called no tool'),
  ]);
  const stream = await openai.chat.completions.create({ ...asked, stream: true }).catch((error) => error);
  expect(stream).toBeInstanceOf(OpenAI.InternalServerError);
});

test('a stream holds the answer until the call is there, and then brings it whole', async () => {
  const stream = await openai.chat.completions.create({
    ...userTurn('sandbox', 'call get_weather {"city": "Oslo"}'),
    tools: chatTools,
    tool_choice: 'required',
    stream: true,
  });
  let args = '';
  let finish: string | null | undefined;
  for await (const { choices } of stream) {
    args += choices[0]?.delta.tool_calls?.[0]?.function?.arguments ?? '';
    finish = choices[0]?.finish_reason ?? finish;
  }
  expect(JSON.parse(args)).toEqual({ city: 'Oslo' });
  expect(finish).toBe('tool_calls');
});

test('none offers no tool, in a conversation that has called one too', async () => {
  const messages: OpenAI.ChatCompletionMessageParam[] = [
    { role: 'user', content: 'call get_weather {"city": "Oslo"}' },
  ];
  const first = await openai.chat.completions.create({ model: 'sandbox', messages, tools: chatTools });
  const said = first.choices[0]?.message;
  if (!said) throw new Error('There is no answer.');
  const result = {
    role: 'tool' as const,
    tool_call_id: said.tool_calls?.[0]?.id ?? '',
    content: '4 degrees',
  };
  const second = await openai.chat.completions.create({
    model: 'sandbox',
    messages: [...messages, said, result, { role: 'user', content: 'call get_weather {"city": "Rome"}' }],
    tools: chatTools,
    tool_choice: 'none',
  });
  expect(second.choices[0]?.finish_reason).toBe('stop');
  expect(second.choices[0]?.message.content).toContain('Tool get_weather returned: 4 degrees');
});

test('one call at a time is all that a client gets who wants it so', async () => {
  const both = 'call get_weather {"city": "Oslo"} call get_time {"city": "Oslo"}';
  const answer = await openai.chat.completions.create({
    ...userTurn('sandbox', both),
    tools: chatTools,
    parallel_tool_calls: false,
  });
  expect(answer.choices[0]?.message.tool_calls).toHaveLength(1);
});
