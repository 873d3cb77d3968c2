import type Anthropic from '@anthropic-ai/sdk';
import type OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { pixel } from '../src/core/testing/pixel.ts';
import { type AnthropicSetup, withAnthropic } from './support/anthropic-vendor.ts';
import { eventually, userTurn } from './support/services.ts';

const pdf = Buffer.from('%PDF-1.7\n%âãÏÓ\n1 0 obj\n').toString('base64');
const names = ['get_weather', 'get_time'];
const parameters = { type: 'object' as const, properties: { city: { type: 'string' } } };
const chatTools = names.map((name) => ({ type: 'function' as const, function: { name, parameters } }));
const responsesTools = names.map((name) => ({
  type: 'function' as const,
  name,
  parameters,
  strict: false,
}));
const sentBy = ({ vendor }: AnthropicSetup) => JSON.parse(vendor.turns.at(-1)?.text ?? '{}');
const hello = 'Hello from the upstream – ünïcode.';

describe('a Chat Completions client', () => {
  it('runs tools side by side and sends their results with images back', async () => {
    const setup = await withAnthropic();
    const client = setup.openai();
    const asked = { ...userTurn('claude-tools', 'Both?'), tools: chatTools };
    const first = await client.chat.completions.create(asked);
    const message = first.choices[0]?.message;
    expect(first.choices[0]?.finish_reason).toBe('tool_calls');
    const calls = message?.tool_calls ?? [];
    expect(calls.map((call) => call.type === 'function' && JSON.parse(call.function.arguments))).toEqual([
      { city: 'Place 1' },
      { city: 'Place 2' },
    ]);
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } };
    const results = calls.map(({ id }, index) => ({
      role: 'tool' as const,
      tool_call_id: id,
      content: (index === 0 ? [{ type: 'text', text: 'sun' }, image] : 'noon') as string,
    }));
    const stream = client.chat.completions.stream({
      ...asked,
      messages: [...asked.messages, message as OpenAI.ChatCompletionMessage, ...results],
      stream_options: { include_usage: true },
    });
    const second = await stream.finalChatCompletion();
    expect(second.choices[0]?.message.content).toBe(
      'Results: get_weather(Place 1)=sun and 1 image; get_time(Place 2)=noon',
    );
    expect(second.usage).toMatchObject({
      prompt_tokens: 21,
      prompt_tokens_details: { cached_tokens: 16 },
    });
  });

  it('keeps signed thinking through a tool loop of three turns, streamed and whole', async () => {
    for (const isStream of [false, true]) {
      const setup = await withAnthropic();
      const client = setup.openai();
      const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Go.' }];
      for (let round = 0; round < 4; round += 1) {
        const asked = {
          model: 'claude-thinking',
          messages,
          tools: chatTools,
          reasoning_effort: 'high' as const,
        };
        const answer = isStream
          ? await client.chat.completions.stream(asked).finalChatCompletion()
          : await client.chat.completions.create(asked);
        const message = answer.choices[0]?.message as OpenAI.ChatCompletionMessage;
        expect(message).toMatchObject({ reasoning_content: expect.stringContaining('let me think.') });
        messages.push(message);
        for (const { id } of message.tool_calls ?? []) {
          messages.push({ role: 'tool', tool_call_id: id, content: `of ${round}` });
        }
      }
      expect(messages.at(-1)?.content).toContain('of 2');
      expect(setup.vendor.turns).toHaveLength(4);
      const sent = sentBy(setup);
      expect(sent.thinking).toEqual({ type: 'enabled', budget_tokens: 4_096 });
      const answers = sent.messages.filter(({ role }: { role: string }) => role === 'assistant');
      expect(answers.map(({ content }: Anthropic.Message) => content[0]?.type)).toEqual([
        'thinking',
        'thinking',
        'thinking',
      ]);
    }
  });

  it('reads which settings had no effect beside the others', async () => {
    const setup = await withAnthropic();
    const ignoredOf = async (settings: object) => {
      const asked = { ...userTurn('claude-text', 'Hi'), ...settings };
      const { response } = await setup.openai().chat.completions.create(asked).withResponse();
      return response.headers.get('x-warp2api-ignored');
    };
    const thinking = { reasoning_effort: 'high' as const, temperature: 0.5 };
    expect(await ignoredOf(thinking)).toBe('temperature');
    expect(await ignoredOf({ ...thinking, max_tokens: 1_500 })).toBe('reasoning_effort');
    expect(await ignoredOf({ ...thinking, reasoning_effort: 'none' })).toBeNull();
  });

  it('keeps it where it sends the calls back alone', async () => {
    const setup = await withAnthropic();
    const client = setup.openai();
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Go.' }];
    for (let round = 0; round < 4; round += 1) {
      const asked = {
        model: 'claude-thinking',
        messages,
        tools: chatTools,
        reasoning_effort: 'low' as const,
      };
      const { choices } = await client.chat.completions.create(asked);
      const calls = choices[0]?.message.tool_calls ?? [];
      messages.push(
        calls.length > 0
          ? { role: 'assistant', tool_calls: calls }
          : { role: 'assistant', content: choices[0]?.message.content ?? '' },
        ...calls.map(({ id }) => ({ role: 'tool' as const, tool_call_id: id, content: `of ${round}` })),
      );
    }
    expect(messages.at(-1)?.content).toContain('of 2');
    const sent = sentBy(setup);
    expect(sent.thinking).toEqual({ type: 'enabled', budget_tokens: 1_024 });
    const answers = sent.messages.filter(({ role }: { role: string }) => role === 'assistant');
    expect(answers.map(({ content }: Anthropic.Message) => content[0])).toMatchObject(
      [1, 2, 3].map((step) => ({ type: 'thinking', thinking: `Step ${step}: let me think.` })),
    );
  });

  it('whose thinking was lost continues without it, where Anthropic demands it', async () => {
    const setup = await withAnthropic();
    const messages = [
      { role: 'user' as const, content: 'Go.' },
      {
        role: 'assistant' as const,
        content: null,
        reasoning_content: 'Unsigned.',
        tool_calls: [
          { id: 'functions.x:0', type: 'function' as const, function: { name: 'get_time', arguments: '' } },
        ],
      },
      { role: 'tool' as const, tool_call_id: 'functions.x:0', content: 'noon' },
    ];
    const asked = { model: 'claude-thinking', messages, tools: chatTools, reasoning_effort: 'low' as const };
    expect((await setup.openai().chat.completions.create(asked)).choices[0]?.finish_reason).toBe(
      'tool_calls',
    );
    expect(sentBy(setup)).not.toHaveProperty('thinking');
    expect(sentBy(setup).messages[1].content).toEqual([
      { type: 'tool_use', id: 'functions_x_0', name: 'get_time', input: {} },
    ]);
  });

  it('has images, documents, stops, limits and structured output', async () => {
    const setup = await withAnthropic();
    const client = setup.openai();
    const url = `data:image/png;base64,${pixel}`;
    const seen = await client.chat.completions.create({
      model: 'claude-image',
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: { url } },
            { type: 'file', file: { filename: 'a.pdf', file_data: `data:application/pdf;base64,${pdf}` } },
          ],
        },
      ],
    });
    expect(seen.choices[0]?.message.content).toMatch(/image image\/png .*, document application\/pdf/);

    const stopped = await client.chat.completions.create(
      userTurn('claude-text', 'Hi', { stop: ['\n', ' the'], temperature: 1.5, top_p: 0.5 }) as never,
    );
    expect((stopped as OpenAI.ChatCompletion).choices[0]).toMatchObject({
      finish_reason: 'stop',
      message: { content: 'Hello from' },
    });
    expect(sentBy(setup)).toMatchObject({ stop_sequences: [' the'], temperature: 1 });
    const cut = await client.chat.completions.create({ ...userTurn('claude-text', 'Hi'), max_tokens: 2 });
    expect(cut.choices[0]).toMatchObject({ finish_reason: 'length', message: { content: 'Hello from' } });

    const schema = {
      type: 'object',
      properties: { city: { type: 'string', minLength: 2 } },
      required: ['city'],
    };
    const json = await client.chat.completions.create({
      ...userTurn('claude-json', 'Oslo'),
      response_format: { type: 'json_schema', json_schema: { name: 'place', schema } },
    });
    expect(JSON.parse(json.choices[0]?.message.content ?? '')).toHaveProperty('city');
    expect(sentBy(setup).output_config).toEqual({
      format: {
        type: 'json_schema',
        schema: {
          type: 'object',
          additionalProperties: false,
          properties: { city: { type: 'string', description: '(minLength: 2)' } },
          required: ['city'],
        },
      },
    });
  });

  it('has its prompts cached without asking for it', async () => {
    const setup = await withAnthropic();
    const client = setup.openai();
    const messages: OpenAI.ChatCompletionMessageParam[] = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'One.' },
    ];
    const ask = () =>
      client.chat.completions.create({
        model: 'claude-cache',
        messages,
        tools: chatTools,
        tool_choice: 'none',
      });
    const first = await ask();
    expect(first.usage?.prompt_tokens_details).toMatchObject({ cached_tokens: 0 });
    messages.push({ role: 'assistant', content: 'Yes.' }, { role: 'user', content: 'Two.' });
    const second = await ask();
    const read = second.usage?.prompt_tokens_details?.cached_tokens ?? 0;
    expect(read).toBeGreaterThan(0);
    expect(second.usage?.prompt_tokens).toBeGreaterThan(read);
    const sent = sentBy(setup);
    const mark = { type: 'ephemeral' };
    expect([sent.tools[0].cache_control, sent.tools[1].cache_control]).toEqual([undefined, mark]);
    expect(sent.system).toEqual([{ type: 'text', text: 'Be brief.', cache_control: mark }]);
    expect(sent.messages.map(({ content }: Anthropic.Message) => content.at(-1))).toMatchObject([
      { cache_control: mark },
      { text: 'Yes.' },
      { cache_control: mark },
    ]);
  });

  it('has them cached only by its own marks where the route says so', async () => {
    const routes =
      'routes:\n  - { model: plain, prompt_cache: off, candidates: [{ provider: anthropic, model: claude-text }] }\n';
    const setup = await withAnthropic(undefined, {}, {}, routes);
    await setup.openai().chat.completions.create(userTurn('plain', 'Hi'));
    expect(setup.vendor.turns.at(-1)?.text).not.toContain('cache_control');
    await setup.openai().chat.completions.create(userTurn('claude-text', 'Hi'));
    expect(setup.vendor.turns.at(-1)?.text).toContain('cache_control');
  });

  it('sees a refusal, a filter, a context that is too long and a broken stream', async () => {
    const setup = await withAnthropic();
    const client = setup.openai();
    const filtered = await client.chat.completions.create(userTurn('claude-filter', 'Hi'));
    expect(filtered.choices[0]?.finish_reason).toBe('content_filter');
    const create = (model: string) => client.chat.completions.create(userTurn(model, 'Hi'));
    await expect(create('claude-text-too-long')).rejects.toMatchObject({
      status: 400,
      code: 'context_length_exceeded',
    });
    for (const fault of ['cut', 'no-end-mark', 'accounting'] as const) {
      setup.vendor.script('claude-text', [], fault);
      const read = async () => {
        const asked = { ...userTurn('claude-text', 'Hi'), stream: true as const };
        for await (const _chunk of await client.chat.completions.create(asked));
      };
      await expect(read(), fault).rejects.toThrow();
    }
    const sound = await create('claude-text-malformed');
    expect(sound.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: hello } });
    await expect(create('claude-text-unavailable')).rejects.toMatchObject({ status: 503 });
  });

  it('waits out a Retry-After, goes to another account, and cuts the upstream off when it leaves', async () => {
    const setup = await withAnthropic(['sk-ant-limited-1', 'sk-ant-two-1']);
    const client = setup.openai();
    for (let turn = 0; turn < 2; turn += 1) {
      const answer = await client.chat.completions.create(userTurn('claude-text', `Hi ${turn}`));
      expect(answer.choices[0]?.message.content).toBe(hello);
    }
    const leaving = new AbortController();
    const stream = await client.chat.completions.create(
      { ...userTurn('claude-ticks', 'Hi'), stream: true },
      { signal: leaving.signal },
    );
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    leaving.abort();
    await eventually('the upstream is cut off', () => setup.vendor.turns.at(-1)?.wasCut);
  });
});

describe('a Responses client', () => {
  it('keeps signed and redacted thinking through a tool loop of three turns', async () => {
    for (const model of ['claude-thinking', 'claude-redacted']) {
      const setup = await withAnthropic();
      const client = setup.openai();
      const input: OpenAI.Responses.ResponseInputItem[] = [{ role: 'user', content: 'Go.' }];
      let text = '';
      for (let round = 0; round < 4; round += 1) {
        const answer = await client.responses.create({
          model,
          input,
          tools: responsesTools,
          reasoning: { effort: 'medium' },
          include: ['reasoning.encrypted_content'],
          store: false,
        });
        input.push(...(answer.output as OpenAI.Responses.ResponseInputItem[]));
        text = answer.output_text;
        for (const item of answer.output) {
          if (item.type !== 'function_call') continue;
          input.push({ type: 'function_call_output', call_id: item.call_id, output: `of ${round}` });
        }
      }
      expect(text).toContain('of 2');
      const sent = sentBy(setup);
      const answers = sent.messages.filter(({ role }: { role: string }) => role === 'assistant');
      expect(answers.map(({ content }: Anthropic.Message) => content[0]?.type)).toEqual(
        Array(3).fill(model === 'claude-redacted' ? 'redacted_thinking' : 'thinking'),
      );
    }
  });

  it('continues by previous_response_id with the tools side by side', async () => {
    const setup = await withAnthropic();
    const client = setup.openai();
    const asked = { model: 'claude-tools', tools: responsesTools };
    const first = await client.responses.create({ ...asked, input: 'Both?' });
    const calls = first.output.filter((item) => item.type === 'function_call');
    expect(calls).toHaveLength(2);
    const second = await client.responses.create({
      ...asked,
      previous_response_id: first.id,
      input: calls.map(({ call_id, name }) => ({
        type: 'function_call_output',
        call_id,
        output: `of ${name}`,
      })),
    });
    expect(second.output_text).toBe(
      'Results: get_weather(Place 1)=of get_weather; get_time(Place 2)=of get_time',
    );
  });
});
