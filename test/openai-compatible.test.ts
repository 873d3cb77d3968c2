import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { generateText, stepCountIs, streamText, tool } from 'ai';
import type OpenAI from 'openai';
import { describe, expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { pixel } from '../src/core/testing/pixel.ts';
import { type VendorSetup, withVendor } from './support/openai-vendor.ts';
import { eventually, servicesForTest, userTurn } from './support/services.ts';

const key = 'sk-one-1234567890';

/** The text of a streamed answer, event by event. */
async function eventsOf(answer: Response): Promise<string[]> {
  return (await answer.text()).split('\n\n').filter((event) => event !== '');
}

const weatherTools = ['get_weather', 'get_time'].map((name) => ({
  type: 'function' as const,
  function: {
    name,
    description: `Tells ${name}.`,
    parameters: { type: 'object', properties: { city: { type: 'string' } } },
  },
}));

describe('a Chat Completions client', () => {
  it("sends its own bytes up, but for the model's name and the wish for usage", async () => {
    const { chat, vendor, ...services } = await withVendor();
    const body =
      '{ "model": "local/chat-text", "n":1,\n  "messages": [{"role":"user","content":"\\u0041 \\"quoted\\" {[","x":1.0}],' +
      ' "logprobs": true, "brand_new": {"model": "inner", "deep": [1e2]}, "stream" : true , "stream_options": { "odd": 1 } }';
    const answer = await fetch(`${services.gatewayUrl}/v1/chat/completions`, { method: 'POST', body });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-warp2api-model')).toBe('local/chat-text');
    expect(answer.headers.get('x-warp2api-ignored')).toBeNull();
    const [turn] = vendor.turns;
    expect(turn?.text).toBe(
      body
        .replace('"local/chat-text"', '"chat-text"')
        .replace('{ "odd": 1 }', '{"odd":1,"include_usage":true}'),
    );
    expect(turn?.headers).toMatchObject({
      authorization: `Bearer ${key}`,
      'user-agent': expect.stringMatching(/^warp2api/),
    });
    const events = await eventsOf(answer);
    expect(events.at(-1)).toBe('data: [DONE]');
    expect(events.join('')).not.toContain('"usage":{');
    expect(JSON.parse(events[0]?.slice('data: '.length) ?? '')).toMatchObject({
      id: 'chatcmpl-up',
      model: 'chat-text-2026',
    });
  });

  it('gets the whole answer as the upstream wrote it, and the pool counts its usage', async () => {
    const { chat, pool, vendor } = await withVendor();
    const body = userTurn('chat-text', 'Hello', { seed: 7, unknown: null });
    const answer = await chat(body);
    expect(await answer.json()).toMatchObject({
      id: 'chatcmpl-up',
      service_tier: 'default',
      usage: { total_tokens: 28 },
    });
    expect(vendor.turns.map(({ text }) => text)).toEqual([JSON.stringify(body)]);
    await eventually('the usage is counted', async () => {
      const { accounts } = (await pool('/api/accounts')) as unknown as {
        accounts: { usage: { input_tokens: number } }[];
      };
      return accounts[0]?.usage.input_tokens === 21;
    });
  });

  it('has text, usage and several choices with the official SDK', async () => {
    const client = (await withVendor()).openai();
    const stream = client.chat.completions.stream({
      ...userTurn('chat-text', 'Hi'),
      n: 2,
      stream_options: { include_usage: true },
    });
    const final = await stream.finalChatCompletion();
    expect(final.choices.map(({ message }) => message.content)).toEqual(
      Array(2).fill('Hello from the upstream – ünïcode.'),
    );
    expect(final.usage).toMatchObject({
      prompt_tokens: 21,
      completion_tokens: 7,
      prompt_tokens_details: { cached_tokens: 16 },
    });
  });

  it('runs a loop of parallel tools with the official SDK', async () => {
    const { openai, vendor } = await withVendor();
    const seen: string[] = [];
    const runner = openai().chat.completions.runTools({
      ...userTurn('chat-tools', 'Weather?'),
      stream: true,
      tools: weatherTools.map((one) => ({
        type: 'function' as const,
        function: {
          ...one.function,
          parse: JSON.parse,
          function: ({ city }: { city: string }) => {
            seen.push(city);
            return `sunny in ${city}`;
          },
        },
      })),
    });
    expect(await runner.finalContent()).toBe(
      'Results: call_up_1=sunny in Place 1; call_up_2=sunny in Place 2',
    );
    expect(seen).toEqual(['Place 1', 'Place 2']);
    expect(vendor.turns).toHaveLength(2);
  });

  it("gets the upstream's own words for a request that it refuses, without our key", async () => {
    const { chat, vendor } = await withVendor();
    const answer = await chat(userTurn('chat-400', 'Hi', { temperature: 9 }));
    expect([answer.status, await answer.json()]).toEqual([
      400,
      {
        error: {
          message: "Unsupported value: 'temperature'.",
          type: 'invalid_request_error',
          param: 'temperature',
          code: 'unsupported_value',
        },
      },
    ]);
    expect(vendor.turns).toHaveLength(1);
    expect((await chat(userTurn('chat-too-long', 'Hi'))).status).toBe(400);
  });

  it('gets an error for a cut stream, a late error and an early end, which never look whole', async () => {
    const { chat } = await withVendor();
    for (const model of ['chat-cut', 'chat-error-late', 'chat-early-end']) {
      const events = await eventsOf(await chat(userTurn(model, 'Hi', { stream: true })));
      expect(events[0]).toContain('Half');
      expect(JSON.parse(events.at(-1)?.slice('data: '.length) ?? '')).toMatchObject({
        error: { type: 'server_error' },
      });
      expect(events.join('')).not.toContain('[DONE]');
    }
    const stream = await chat(userTurn('chat-malformed', 'Hi', { stream: true }));
    const events = await eventsOf(stream);
    expect([events.at(-1), events.join('').includes(' after')]).toEqual(['data: [DONE]', true]);
    const whole = await eventsOf(await chat(userTurn('chat-no-done', 'Hi', { stream: true })));
    expect(whole.at(-2)).toContain('"finish_reason":"stop"');
    expect(whole.at(-1)).toBe('data: [DONE]');
  });

  it('cuts the upstream off when it leaves, and ends a stream that stalls', async () => {
    const { gatewayUrl, vendor } = await withVendor([key], { UPSTREAM_IDLE_SECONDS: '1' });
    const leave = new AbortController();
    const request = {
      method: 'POST',
      body: JSON.stringify(userTurn('chat-stall', 'Hi', { stream: true })),
      signal: leave.signal,
    };
    const answer = await fetch(`${gatewayUrl}/v1/chat/completions`, request);
    await answer.body?.getReader().read();
    leave.abort();
    await eventually('the upstream is cut off', () => vendor.turns[0]?.wasCut);
    const stalled = await fetch(`${gatewayUrl}/v1/chat/completions`, { ...request, signal: null });
    const events = await eventsOf(stalled);
    expect(events.at(-1)).toContain('upstream_timeout');
  });

  it('ends a whole answer well whose upstream falls silent without an end mark', async () => {
    const { chat, gatewayUrl, vendor } = await withVendor([key], { UPSTREAM_IDLE_SECONDS: '1' });
    const relayed = await eventsOf(await chat(userTurn('chat-open', 'Hi', { stream: true })));
    expect(relayed.slice(-2)).toEqual([expect.stringContaining('"finish_reason":"stop"'), 'data: [DONE]']);
    await eventually('the connection is given up', () => vendor.turns[0]?.wasCut);
    const body = JSON.stringify({ ...userTurn('chat-open', 'Hi', { stream: true }), max_tokens: 100 });
    const headers = { 'content-type': 'application/json' };
    const translated = await fetch(`${gatewayUrl}/v1/messages`, { method: 'POST', headers, body });
    expect((await eventsOf(translated)).at(-1)).toContain('message_stop');
  });
});

describe('failover', () => {
  it.each([
    ['sk-limited-1234567890', 'cooldown'],
    ['sk-broken-1234567890', 'active'],
    ['sk-spent-1234567890', 'cooldown'],
  ])('goes from the account with %s to the next one before anything is sent', async (bad, status) => {
    const { chat, vendor, pool } = await withVendor([bad]);
    const first = vendor.turns.length;
    expect(first).toBe(0);
    await pool('/api/accounts', { provider: 'local', api_key: key, tier: 1 });
    const answer = await chat(userTurn('chat-text', 'Hi', { stream: true }));
    expect(answer.status).toBe(200);
    expect((await eventsOf(answer)).at(-1)).toBe('data: [DONE]');
    // A 500 is met with a second try.
    const tries = status === 'active' ? [bad, bad, key] : [bad, key];
    expect(vendor.turns.map((turn) => turn.key)).toEqual(tries);
    const { accounts } = (await pool('/api/accounts')) as unknown as {
      accounts: { status: string; tier: number }[];
    };
    expect(accounts.find(({ tier }) => tier === 0)?.status).toBe(status);
  });

  it.each([
    ['chat-429', 429],
    ['chat-429-bare', 429],
    ['chat-500', 502],
    ['chat-error-in-200', 502],
    ['chat-cut-early', 502],
  ])('shows %s, and when to come again, where no account is left', async (model, status) => {
    const { chat } = await withVendor();
    const answer = await chat(userTurn(model, 'Hi', { stream: true }));
    expect(answer.status).toBe(status);
    if (status === 429) expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  });

  it('finds another account for a model that one may not use, and says so where none may', async () => {
    const { chat } = await withVendor();
    const answer = await chat(userTurn('local/chat-unknown', 'Hi'));
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ error: { code: 'model_not_found' } });
  });
});

describe('accounts', () => {
  it('are checked when they are added, and refused with a bad key', async () => {
    const { pool, vendor } = await withVendor([]);
    const refused = await pool('/api/accounts', {
      provider: 'local',
      api_key: 'sk-bad-1234567890',
      on_refusal: 'reject',
    });
    expect(refused).toMatchObject({ httpStatus: 422, error: { code: 'credential_refused' } });
    const added = await pool('/api/accounts', { provider: 'local', api_key: key });
    expect(added).toMatchObject({ httpStatus: 201, account: { status: 'active', probe: 'proved' } });
    expect(vendor.others.map(({ path }) => path)).toEqual(['/v1/models', '/v1/models']);
    const without = await pool('/api/accounts', { provider: 'openrouter' });
    expect(without).toMatchObject({ httpStatus: 400, error: { param: 'api_key' } });
  });

  it('need no key at a server of the owner, to which none is sent', async () => {
    const { pool, chat, vendor } = await withVendor([], {}, { needsKey: false, prefix: '/deep/api' });
    const added = await pool('/api/accounts', { provider: 'local' });
    expect(added).toMatchObject({
      httpStatus: 201,
      account: { status: 'active', probe: 'proved', credential_hint: '' },
    });
    const answer = await chat(userTurn('chat-text', 'Hi'));
    expect(answer.status).toBe(200);
    expect(vendor.turns.map(({ path, headers }) => [path, headers.authorization])).toEqual([
      ['/deep/api/chat/completions', undefined],
    ]);
  });
});

describe('models', () => {
  it('are listed beside those of other providers, and found by plain names, prefixes and aliases', async () => {
    const { chat, gatewayUrl, addAccount } = await withVendor(
      [key],
      {},
      {},
      'aliases: { fast: local/chat-length }\n',
    );
    const listed = async () =>
      ((await (await fetch(`${gatewayUrl}/v1/models`)).json()) as { data: { id: string }[] }).data.map(
        ({ id }) => id,
      );
    const mustList = (ids: readonly string[]) =>
      eventually(`${ids} are listed`, async () => {
        const found = await listed();
        return ids.every((id) => found.includes(id));
      });
    await mustList(['local/chat-text', 'local/chat-tools', 'fast']);
    await addAccount('wk-1');
    await mustList(['auto', 'local/chat-text', 'fast']);
    const answeredBy = async (model: string) =>
      (await chat(userTurn(model, 'Hi'))).headers.get('x-warp2api-model');
    expect(await answeredBy('chat-text')).toBe('local/chat-text');
    expect(await answeredBy('local/chat-text')).toBe('local/chat-text');
    expect(await answeredBy('fast')).toBe('local/chat-length');
    expect(await answeredBy('gpt-4o')).toBe('warp/auto');
  });

  it('that no account lists are refused with STRICT_MODELS', async () => {
    const { chat } = await withVendor([key], { STRICT_MODELS: 'yes' });
    await eventually(
      'the gateway knows of the account',
      async () => (await chat(userTurn('chat-text', 'Hi'))).ok,
    );
    expect((await chat(userTurn('gpt-4o', 'Hi'))).status).toBe(404);
  });
});

describe('a Messages client', () => {
  const anthropic = ({ gatewayUrl }: VendorSetup) =>
    new Anthropic({ baseURL: gatewayUrl, apiKey: 'any', maxRetries: 0 });

  it('has text, usage with cache figures, and its limits and rules travel', async () => {
    const setup = await withVendor();
    const message = await anthropic(setup)
      .messages.stream({
        model: 'chat-text',
        max_tokens: 50,
        system: [{ type: 'text', text: 'Be kind.', cache_control: { type: 'ephemeral' } }],
        temperature: 0.5,
        messages: [{ role: 'user', content: 'Hi' }],
      })
      .finalMessage();
    expect(message.content).toMatchObject([{ type: 'text', text: 'Hello from the upstream – ünïcode.' }]);
    expect(message.usage).toMatchObject({ input_tokens: 5, cache_read_input_tokens: 16, output_tokens: 7 });
    expect(message.stop_reason).toBe('end_turn');
    expect(JSON.parse(setup.vendor.turns[0]?.text ?? '')).toEqual({
      model: 'chat-text',
      messages: [
        { role: 'system', content: 'Be kind.' },
        { role: 'user', content: 'Hi' },
      ],
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 50,
      temperature: 0.5,
    });
  });

  it('runs parallel tools, whose results and images come to the upstream', async () => {
    const setup = await withVendor();
    const client = anthropic(setup);
    const tools = ['get_weather', 'get_time'].map((name) => ({
      name,
      input_schema: { type: 'object' as const, properties: { city: { type: 'string' } } },
    }));
    const asked = { model: 'chat-tools-stop', max_tokens: 99, tools };
    const question = { role: 'user' as const, content: 'Weather?' };
    const first = await client.messages.create({ ...asked, messages: [question] });
    expect(first.stop_reason).toBe('tool_use');
    expect(first.content).toMatchObject([
      { type: 'tool_use', id: 'call_up_1', name: 'get_weather', input: { city: 'Place 1' } },
      { type: 'tool_use', id: 'call_up_2', name: 'get_time', input: { city: 'Place 2' } },
    ]);
    const image = {
      type: 'image' as const,
      source: { type: 'base64' as const, media_type: 'image/png' as const, data: pixel },
    };
    const second = await client.messages.create({
      ...asked,
      messages: [
        question,
        { role: 'assistant', content: first.content },
        {
          role: 'user',
          content: [
            {
              type: 'tool_result',
              tool_use_id: 'call_up_1',
              content: [{ type: 'text', text: 'sunny' }, image],
            },
            { type: 'tool_result', tool_use_id: 'call_up_2', content: 'noon' },
          ],
        },
      ],
    });
    expect(second.content).toMatchObject([{ text: 'Results: call_up_1=sunny; call_up_2=noon' }]);
    const { messages } = JSON.parse(setup.vendor.turns[1]?.text ?? '') as {
      messages: { role: string; content: unknown }[];
    };
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'tool', 'user']);
    expect(messages[4]?.content).toMatchObject([
      { type: 'text' },
      { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } },
    ]);
  });

  it('gives signed thinking back to the upstream that signed it, by way of its own signature', async () => {
    const setup = await withVendor();
    const client = anthropic(setup);
    const tools = [{ name: 'get_weather', input_schema: { type: 'object' as const } }];
    const thinking = { type: 'enabled' as const, budget_tokens: 1_024 };
    const asked = { model: 'chat-signed', max_tokens: 2_000, tools, thinking };
    const question = { role: 'user' as const, content: 'Weather?' };
    const whole = await client.messages.create({ ...asked, messages: [question] });
    const streamed = await client.messages.stream({ ...asked, messages: [question] }).finalMessage();
    for (const { content } of [whole, streamed]) {
      expect(content).toMatchObject([{ type: 'thinking', thinking: 'Let me think.' }, { type: 'tool_use' }]);
      const result = { type: 'tool_result' as const, tool_use_id: 'call_up_1', content: 'sunny' };
      const answered = [
        question,
        { role: 'assistant' as const, content },
        { role: 'user' as const, content: [result] },
      ];
      await client.messages.create({ ...asked, messages: answered });
      const sent = JSON.parse(setup.vendor.turns.at(-1)?.text ?? '') as { messages: object[] };
      expect(sent.messages[1]).toMatchObject({
        role: 'assistant',
        reasoning_details: [{ type: 'reasoning.text', text: 'Let me think.', signature: 'c2ln', index: 0 }],
        tool_calls: [{ id: 'call_up_1' }],
      });
    }
  });

  it.each([
    [
      'as an empty block that is signed, where the client omits its words',
      'omitted',
      ['thinking', 'tool_use'],
    ],
    ['as it remembers it, where the client asks for no thinking', undefined, ['tool_use']],
  ] as const)('gives signed thinking back %s', async (_how, display, kinds) => {
    const setup = await withVendor();
    const client = anthropic(setup);
    const asked = {
      model: 'chat-signed',
      max_tokens: 2_000,
      tools: [{ name: 'get_weather', input_schema: { type: 'object' as const } }],
      ...(display && { thinking: { type: 'adaptive' as const, display } }),
    };
    const question = { role: 'user' as const, content: 'Weather?' };
    const whole = await client.messages.create({ ...asked, messages: [question] });
    const streamed = await client.messages.stream({ ...asked, messages: [question] }).finalMessage();
    for (const { content } of [whole, streamed]) {
      expect(content.map(({ type }) => type)).toEqual(kinds);
      if (display)
        expect(content[0]).toEqual({ type: 'thinking', thinking: '', signature: expect.stringMatching(/./) });
      const result = { type: 'tool_result' as const, tool_use_id: 'call_up_1', content: 'sunny' };
      const answer = { role: 'assistant' as const, content };
      await client.messages.create({
        ...asked,
        messages: [question, answer, { role: 'user' as const, content: [result] }],
      });
      const sent = JSON.parse(setup.vendor.turns.at(-1)?.text ?? '') as { messages: object[] };
      expect(sent.messages[1]).toMatchObject({ reasoning_details: [{ signature: 'c2ln' }] });
    }
  });

  it('sees thinking, stop sequences by name, limits and errors in its own words', async () => {
    const setup = await withVendor();
    const client = anthropic(setup);
    const ask = (model: string, more: object = {}) =>
      client.messages.create({
        model,
        max_tokens: 2_000,
        messages: [{ role: 'user', content: 'Hi' }],
        ...more,
      });
    const thought = await ask('chat-reasoning', { thinking: { type: 'enabled', budget_tokens: 1_024 } });
    expect(thought.content).toMatchObject([
      { type: 'thinking', thinking: 'Let me think.' },
      { type: 'text' },
    ]);
    expect(await ask('chat-text', { stop_sequences: [' the'] })).toMatchObject({
      stop_reason: 'stop_sequence',
      stop_sequence: ' the',
      content: [{ text: 'Hello from' }],
    });
    expect(await ask('chat-length')).toMatchObject({ stop_reason: 'max_tokens' });
    expect(await ask('chat-filter')).toMatchObject({ stop_reason: 'refusal' });
    await expect(ask('chat-400')).rejects.toMatchObject({
      status: 400,
      error: { error: { message: "Unsupported value: 'temperature'." } },
    });
    await expect(ask('chat-cut-early')).rejects.toMatchObject({ status: 500 });
    const stream = client.messages.stream({
      model: 'chat-cut',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'Hi' }],
    });
    await expect(stream.finalMessage()).rejects.toThrow(/broke/);
  });
});

describe('a Responses client', () => {
  it('has text, structured output, tools and usage with the official SDK', async () => {
    const setup = await withVendor();
    const client: OpenAI = setup.openai();
    const text = await client.responses.create({
      model: 'chat-text',
      input: 'Hi',
      reasoning: { effort: 'low' },
    });
    expect(text.output_text).toBe('Hello from the upstream – ünïcode.');
    // Said to be ignored, and an unknown server may refuse it.
    expect(JSON.parse(setup.vendor.turns[0]?.text ?? '{}')).not.toHaveProperty('reasoning_effort');
    expect(text.usage).toMatchObject({
      input_tokens: 21,
      input_tokens_details: { cached_tokens: 16 },
      output_tokens: 7,
    });
    const closed = {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    };
    const format = { type: 'json_schema' as const, name: 'place', schema: closed, strict: true };
    await client.responses.create({ model: 'chat-text', input: 'Hi', text: { format } });
    expect(JSON.parse(setup.vendor.turns[1]?.text ?? '').response_format).toEqual({
      type: 'json_schema',
      json_schema: { name: 'answer', schema: closed, strict: true },
    });
    const tools = weatherTools.map(({ function: one }) => ({
      type: 'function' as const,
      strict: false,
      ...one,
    }));
    const called = await client.responses.create({ model: 'chat-tools', input: 'Weather?', tools });
    const calls = called.output.filter((item) => item.type === 'function_call');
    expect(calls.map(({ call_id, arguments: given }) => [call_id, given])).toEqual([
      ['call_up_1', '{"city":"Place 1"}'],
      ['call_up_2', '{"city":"Place 2"}'],
    ]);
    const results = calls.map(({ call_id }) => ({
      type: 'function_call_output' as const,
      call_id,
      output: 'fine',
    }));
    const stream = client.responses.stream({
      model: 'chat-tools',
      previous_response_id: called.id,
      input: results,
      tools,
    });
    const final = await stream.finalResponse();
    expect(final.output_text).toBe('Results: call_up_1=fine; call_up_2=fine');
  });
});

it('a Responses client carries signed reasoning, sealed, back to the upstream that signed it', async () => {
  const { openai, vendor } = await withVendor();
  const client = openai();
  const tools = weatherTools.map(({ function: one }) => ({
    type: 'function' as const,
    strict: false,
    ...one,
  }));
  const asked = {
    model: 'chat-signed',
    tools,
    store: false,
    include: ['reasoning.encrypted_content' as const],
  };
  const question = { role: 'user' as const, content: 'Weather?' };
  const whole = await client.responses.create({ ...asked, input: [question] });
  const streamed = await client.responses.stream({ ...asked, input: [question] }).finalResponse();
  for (const { output } of [whole, streamed]) {
    const results = output.flatMap((item) =>
      item.type === 'function_call'
        ? [{ type: 'function_call_output' as const, call_id: item.call_id, output: 'fine' }]
        : [],
    );
    await client.responses.create({ ...asked, input: [question, ...output, ...results] as never });
    const sent = JSON.parse(vendor.turns.at(-1)?.text ?? '') as { messages: object[] };
    expect(sent.messages[1]).toMatchObject({
      role: 'assistant',
      reasoning_details: [{ text: 'Let me think.', signature: 'c2ln' }],
      tool_calls: [{ id: 'call_up_1' }, { id: 'call_up_2' }],
    });
  }
});

it('the AI SDK loops over tools by Chat Completions', async () => {
  const { gatewayUrl } = await withVendor();
  const provider = createOpenAICompatible({ name: 'gw', baseURL: `${gatewayUrl}/v1`, includeUsage: true });
  const city = z.object({ city: z.string() });
  const tools = {
    get_weather: tool({ inputSchema: city, execute: async ({ city: place }) => `sun in ${place}` }),
    get_time: tool({ inputSchema: city, execute: async ({ city: place }) => `noon in ${place}` }),
  };
  const asked = { prompt: 'Weather?', tools, stopWhen: stepCountIs(3), maxRetries: 0 };
  const { text } = await generateText({ ...asked, model: provider('chat-tools') });
  expect(text).toBe('Results: call_up_1=sun in Place 1; call_up_2=noon in Place 2');
  const streamed = streamText({ ...asked, model: provider('chat-tools') });
  expect(await streamed.text).toBe(text);
  expect(await streamed.usage).toMatchObject({ inputTokens: 42, outputTokens: 14 });
});

it.each([
  ['{ type: openai_compatible }', /providers\.local\.base_url: is missing/],
  ['{ type: openai_compatible, base_url: "http://10.0.0.7/v1" }', /base_url: .*private_network: true/],
  ['{ type: openai_compatible, base_url: "https://192.168.1.4/v1" }', /base_url: .*private_network: true/],
  ['{ type: openai_compatible, base_url: "http://box.lan/v1" }', /base_url: .*private_network: true/],
  ...['169.254.169.254', '[::ffff:a9fe:a9fe]', '100.100.100.200', 'metadata.google.internal.', '0.0.0.0'].map(
    (host): [string, RegExp] => [
      `{ type: openai_compatible, base_url: "http://${host}/v1", private_network: true }`,
      /providers\.local\.base_url: must be a server/,
    ],
  ),
  ['{ type: openai_compatible, base_url: "ftp://x" }', /base_url: must be a URL/],
  [
    '{ type: openai_compat }',
    /providers\.local\.type: must be oauth2, api_key, openai_compatible, anthropic_compatible or gemini/,
  ],
])('the configuration %s is a fault that says what to do', async (provider, message) => {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-openai-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'warp2api.yaml');
  writeFileSync(file, `providers:\n  local: ${provider}\n`);
  await expect(servicesForTest({ CONFIG_FILE: file })).rejects.toThrow(message);
});

describe('ACCOUNTS_FROM_ENV', () => {
  it('makes accounts of the keys of the named providers, and of no others', async () => {
    const { chat, pool, vendor, log } = await withVendor([], {
      ACCOUNTS_FROM_ENV: 'local',
      LOCAL_API_KEY: key,
      OPENAI_API_KEY: 'sk-of-another-program',
    });
    expect((await chat(userTurn('chat-text', 'Hi'))).status).toBe(200);
    expect(vendor.turns[0]?.key).toBe(key);
    const { accounts } = (await pool('/api/accounts')) as unknown as {
      accounts: { provider: string; source: string }[];
    };
    expect(accounts).toMatchObject([{ provider: 'local', source: 'env' }]);
    expect(log()).not.toContain(key);
  });

  it.each([
    ['opnai', /ACCOUNTS_FROM_ENV: there is no provider "opnai"/],
    ['groq', /ACCOUNTS_FROM_ENV: GROQ_API_KEY is not set/],
  ])('%s is a fault that says what is wrong', async (named, message) => {
    await expect(servicesForTest({ ACCOUNTS_FROM_ENV: named })).rejects.toThrow(message);
  });
});
