import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, startTestServices, type TestServices, userTurn } from './support/services.ts';

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
});
afterAll(() => services.close());

const anthropic = () => new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });

test('one token is one token, in all three dialects', async () => {
  const chat = await services
    .openai()
    .chat.completions.create({ ...userTurn('sandbox', 'Hello'), max_tokens: 1 });
  expect(chat.choices[0]).toMatchObject({ finish_reason: 'length', message: { content: 'You' } });
  const response = await services
    .openai()
    .responses.create({ model: 'sandbox', input: 'Hello', max_output_tokens: 1 });
  expect(response).toMatchObject({ status: 'incomplete', output_text: 'You' });
  const message = await anthropic().messages.create({ ...userTurn('sandbox', 'Hello'), max_tokens: 1 });
  expect(message).toMatchObject({ stop_reason: 'max_tokens', content: [{ type: 'text', text: 'You' }] });
});

test('a limit or a stop sequence that is met ends the upstream at once', async () => {
  for (const cut of [{ max_tokens: 4 }, { stop: 'tick 2' }]) {
    const stream = await services
      .openai()
      .chat.completions.create({ ...userTurn('sandbox-drip', 'Hello'), ...cut, stream: true });
    for await (const _ of stream);
    const turn = services.upstream.turns.at(-1);
    await eventually('the upstream hears of it', () => turn?.cancelled);
    expect(turn?.finished).toBe(false);
  }
});

test('a call that comes within the limit stays whole, and its answer ends as a call', async () => {
  const tools = [
    { type: 'function' as const, function: { name: 'get_weather', parameters: { type: 'object' } } },
  ];
  const long = 'x'.repeat(2_000);
  const answer = await services.openai().chat.completions.create({
    ...userTurn('sandbox', `call get_weather {"city": "${long}"}`),
    tools,
    max_tokens: 5,
    stop: 'xx',
  });
  const call = answer.choices[0]?.message.tool_calls?.[0];
  if (call?.type !== 'function') throw new Error('There is no call.');
  expect(JSON.parse(call.function.arguments)).toEqual({ city: long });
  expect(answer.choices[0]?.finish_reason).toBe('tool_calls');
});
