import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, startTestServices, type TestServices } from './support/services.ts';

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
});
afterAll(() => services.close());

const dialects = {
  chat: {
    path: '/v1/chat/completions',
    body: { messages: [{ role: 'user', content: 'Hello' }], stream_options: { include_usage: true } },
    end: '"finish_reason":"stop"',
  },
  responses: { path: '/v1/responses', body: { input: 'Hello' }, end: 'event: response.completed' },
  messages: {
    path: '/v1/messages',
    body: { max_tokens: 1000, messages: [{ role: 'user', content: 'Hello' }] },
    end: 'event: message_delta',
  },
};

async function ask(dialect: keyof typeof dialects, model: string, isStream: boolean, signal?: AbortSignal) {
  const { path, body } = dialects[dialect];
  const { stream_options, ...rest } = body as { stream_options?: unknown };
  return await fetch(`${services.gatewayUrl}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, ...rest, ...(isStream ? { stream: true, stream_options } : {}) }),
    ...(signal ? { signal } : {}),
  });
}

describe.each(['chat', 'responses', 'messages'] as const)('in the dialect %s', (dialect) => {
  test('what the upstream charged is in the header of a whole answer and before the end of a stream', async () => {
    const whole = await ask(dialect, 'sandbox', false);
    expect(whole.headers.get('x-warp2api-credits')).toBe('1');
    expect(whole.headers.get('x-warp2api-usage')).toBeNull();
    const text = await (await ask(dialect, 'sandbox', true)).text();
    const note = text.indexOf(': x-warp2api-credits 1\n\n');
    expect(note).toBeGreaterThan(text.indexOf('You'));
    expect(note).toBeLessThan(text.indexOf(dialects[dialect].end));
    expect(text).not.toContain('x-warp2api-usage');
  });

  test('usage that was counted here is marked, and input tokens are never 0', async () => {
    const whole = await ask(dialect, 'sandbox-no-usage', false);
    expect(whole.headers.get('x-warp2api-usage')).toBe('estimated');
    expect(whole.headers.get('x-warp2api-credits')).toBeNull();
    const text = await (await ask(dialect, 'sandbox-no-usage', true)).text();
    expect(text).toContain(': x-warp2api-usage estimated\n\n');
    const end = text.slice(text.indexOf('x-warp2api-usage'));
    expect(end).toMatch(/"(prompt|input)_tokens":[1-9]/);
    expect(end).toMatch(/"(completion|output)_tokens":[1-9]/);
  });

  test('a client that leaves is counted with what was produced, neither in full nor not at all', async () => {
    const client = new AbortController();
    const lines = () =>
      services
        .log()
        .split('\n')
        .filter((line) => line.includes('"outcome":"cancelled"') && line.includes('sandbox-drip'));
    const before = lines().length;
    const answer = await ask(dialect, 'sandbox-drip', true, client.signal);
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    let seen = '';
    while (!seen.includes('tick 1')) seen += (await reader?.read())?.value ?? '';
    client.abort();
    const line = await eventually('the turn is logged', () => lines()[before]);
    const { usage } = JSON.parse(line) as { usage: { inputTokens: number; outputTokens: number } };
    expect(usage).toMatchObject({ isEstimated: true });
    expect(usage.inputTokens).toBeGreaterThan(0);
    expect(usage.outputTokens).toBeGreaterThan(0);
    expect(usage.outputTokens).toBeLessThan(100);
  });
});

test('an answer that was cut at a limit is counted', async () => {
  const answer = await services.openai().chat.completions.create({
    model: 'sandbox',
    messages: [{ role: 'user', content: 'Hello' }],
    max_tokens: 2,
  });
  expect(answer.choices[0]?.finish_reason).toBe('length');
  expect(answer.usage?.completion_tokens).toBe(2);
  expect(answer.usage?.prompt_tokens).toBeGreaterThan(0);
});

test("the official clients' streams survive the comments", async () => {
  const chat = await services
    .openai()
    .chat.completions.stream({ model: 'sandbox-no-usage', messages: [{ role: 'user', content: 'Hello' }] })
    .finalChatCompletion();
  expect(chat.choices[0]?.message.content).toBe('You said: Hello');
  const response = await services
    .openai()
    .responses.stream({ model: 'sandbox-no-usage', input: 'Hello' })
    .finalResponse();
  expect(response.output_text).toBe('You said: Hello');
  const anthropic = new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
  const message = await anthropic.messages
    .stream({ model: 'sandbox-no-usage', max_tokens: 100, messages: [{ role: 'user', content: 'Hello' }] })
    .finalMessage();
  expect(message.content).toMatchObject([{ type: 'text', text: 'You said: Hello' }]);
});
