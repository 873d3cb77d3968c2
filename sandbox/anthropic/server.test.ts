import Anthropic from '@anthropic-ai/sdk';
import { describe, expect, it, onTestFinished } from 'vitest';
import { soundText } from '../vendor/scenarios.ts';
import { startAnthropicSandbox } from './server.ts';

type Params = Anthropic.MessageCreateParamsNonStreaming;

async function started() {
  const vendor = await startAnthropicSandbox();
  onTestFinished(() => vendor.close());
  const client = new Anthropic({ baseURL: vendor.url, apiKey: 'sk-ant-1', maxRetries: 0 });
  return { vendor, client };
}

const question = { role: 'user' as const, content: 'Weather?' };
const asked = { model: 'claude-text', max_tokens: 5_000, messages: [question] };
const tools = ['get_weather', 'get_time'].map((name) => ({
  name,
  input_schema: { type: 'object' as const, properties: { city: { type: 'string' } } },
}));
const format = {
  type: 'json_schema',
  schema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
};
const thinking = { type: 'enabled' as const, budget_tokens: 1_024 };

describe('the official SDK', () => {
  it('reads a text, whole and streamed, with its usage', async () => {
    const { client } = await started();
    const whole = await client.messages.create(asked);
    const streamed = await client.messages.stream(asked).finalMessage();
    for (const message of [whole, streamed]) {
      expect(message.content).toMatchObject([{ type: 'text', text: soundText }]);
      expect(message.stop_reason).toBe('end_turn');
      expect(message.usage).toMatchObject({ input_tokens: 5, cache_read_input_tokens: 16, output_tokens: 7 });
    }
  });

  it.each(['claude-thinking', 'claude-redacted', 'claude-adaptive'])(
    'goes through three calls of %s with its thoughts',
    async (model) => {
      const { client } = await started();
      const messages: Anthropic.MessageParam[] = [question];
      const mode = model === 'claude-adaptive' ? { type: 'adaptive' as const } : thinking;
      const kinds: string[] = [];
      for (let turn = 0; turn < 4; turn++) {
        const answer = await client.messages
          .stream({ ...asked, model, tools, thinking: mode, messages })
          .finalMessage();
        kinds.push(answer.content.map(({ type }) => type).join());
        messages.push({ role: 'assistant', content: answer.content });
        const results = answer.content.flatMap((block) =>
          block.type === 'tool_use'
            ? [{ type: 'tool_result' as const, tool_use_id: block.id, content: `sunny ${turn}` }]
            : [],
        );
        if (results.length > 0) messages.push({ role: 'user', content: results });
      }
      const thought = model === 'claude-redacted' ? 'redacted_thinking' : 'thinking';
      expect(kinds).toEqual([...Array(3).fill(`${thought},tool_use`), `${thought},text`]);
      expect(JSON.stringify(messages.at(-1))).toContain(
        'Results: get_weather(Place 1)=sunny 0; get_weather(Place 2)=sunny 1; get_weather(Place 3)=sunny 2',
      );
    },
  );

  it('pairs each result with its call', async () => {
    const { client } = await started();
    const first = await client.messages.create({ ...asked, model: 'claude-tools', tools });
    expect(first.stop_reason).toBe('tool_use');
    const results = first.content.flatMap((block) =>
      block.type === 'tool_use'
        ? [{ type: 'tool_result' as const, tool_use_id: block.id, content: `of ${block.name}` }]
        : [],
    );
    const messages = [
      question,
      { role: 'assistant' as const, content: first.content },
      { role: 'user' as const, content: results.toReversed() },
    ];
    const second = await client.messages.create({ ...asked, model: 'claude-tools', tools, messages });
    expect(second.content).toMatchObject([
      { text: 'Results: get_weather(Place 1)=of get_weather; get_time(Place 2)=of get_time' },
    ]);
  });

  it('sees what was written to and read from the cache by the breakpoints', async () => {
    const { client } = await started();
    const cached = (more: string): Params => ({
      ...asked,
      model: 'claude-cache',
      system: [{ type: 'text', text: 'Rules. '.repeat(100), cache_control: { type: 'ephemeral' } }],
      messages: [{ role: 'user', content: more }],
    });
    const first = (await client.messages.create(cached('One'))).usage;
    const second = (await client.messages.create(cached('Two'))).usage;
    expect(first.cache_creation_input_tokens).toBeGreaterThan(150);
    expect(first.cache_read_input_tokens).toBe(0);
    expect(second.cache_creation_input_tokens).toBe(0);
    expect(second.cache_read_input_tokens).toBe(first.cache_creation_input_tokens);
  });

  it('pages through the models, and counts tokens', async () => {
    const { client, vendor } = await started();
    const ids: string[] = [];
    for await (const model of client.models.list({ limit: 7 })) ids.push(model.id);
    expect(ids.slice(0, 2)).toEqual(['claude-text', 'claude-echo']);
    expect(ids).toContain('claude-text-cut');
    expect(vendor.others.length).toBeGreaterThan(3);
    const { max_tokens: _limit, ...counted } = asked;
    expect((await client.messages.countTokens(counted)).input_tokens).toBeGreaterThan(5);
  });
});

const call = { type: 'tool_use' as const, id: 'toolu_1', name: 'get_weather', input: {} };
const result = { type: 'tool_result' as const, tool_use_id: 'toolu_1', content: 'sunny' };
const loop = [question, { role: 'assistant', content: [call] }, { role: 'user', content: [result] }];
const mark = { cache_control: { type: 'ephemeral' } };

describe('a request is refused', () => {
  it.each<[string, string, object]>([
    [
      'names a tool as found that is not offered',
      "Tool reference 'look' not found in available tools",
      {
        tools,
        messages: [
          question,
          { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'get_time', input: {} }] },
          {
            role: 'user',
            content: [
              {
                type: 'tool_result',
                tool_use_id: 'toolu_1',
                content: [{ type: 'tool_reference', tool_name: 'look' }],
              },
            ],
          },
        ],
      },
    ],
    ['has a field that is not known', 'brand_new: Extra inputs are not permitted', { brand_new: 1 }],
    ['lacks its limit', 'max_tokens: Field required', { max_tokens: undefined }],
    [
      'has a block with another field',
      'messages.0.content.0.odd: Extra inputs',
      {
        messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi', odd: 1 }] }],
      },
    ],
    [
      'names another role',
      'messages.0.role: Input should be',
      {
        messages: [{ role: 'tool', content: 'Hi' }],
      },
    ],
    [
      'begins with the model',
      'messages: first message must use the',
      {
        messages: [{ role: 'assistant', content: 'Hi' }, question],
      },
    ],
    [
      'has an empty text',
      'text content blocks must be non-empty',
      {
        messages: [{ role: 'user', content: [{ type: 'text', text: '' }] }],
      },
    ],
    [
      'has a call without a result',
      'without `tool_result` blocks',
      {
        messages: [...loop.slice(0, 2), question],
      },
    ],
    ['has a result without a call', 'unexpected `tool_use_id`', { messages: [question, loop[2]] }],
    [
      'has text before its results',
      'without `tool_result` blocks',
      {
        messages: [...loop.slice(0, 2), { role: 'user', content: [{ type: 'text', text: 'So' }, result] }],
      },
    ],
    [
      'has no thinking in a loop',
      'Expected `thinking` or `redacted_thinking`',
      {
        messages: loop,
        tools,
        thinking,
      },
    ],
    [
      'has another signature',
      'messages.1.content.0: Invalid `signature` in `thinking` block',
      {
        messages: [
          question,
          { role: 'assistant', content: [{ type: 'thinking', thinking: 'Hm', signature: 'c2ln' }, call] },
          loop[2],
        ],
      },
    ],
    [
      'marks five blocks',
      'A maximum of 4 blocks with cache_control may be provided. Found 5.',
      {
        messages: [{ role: 'user', content: Array(5).fill({ type: 'text', text: 'Hi', ...mark }) }],
      },
    ],
    ['thinks more than it may say', '`max_tokens` must be greater', { max_tokens: 1_000, thinking }],
    ['thinks and is forced', 'forces tool use', { thinking, tools, tool_choice: { type: 'any' } }],
    [
      'ends in a blank',
      'trailing whitespace',
      {
        messages: [question, { role: 'assistant', content: 'Well ' }],
      },
    ],
    [
      'is prefilled for a new model',
      'does not support assistant message prefill',
      {
        model: 'claude-adaptive',
        messages: [question, { role: 'assistant', content: 'Well' }],
      },
    ],
    ['has a sampling that this version took away', 'temperature: Extra inputs', { temperature: 1 }],
    ['uses what a beta adds', 'context_management: Extra inputs', { context_management: {} }],
    ['names the format as a beta did', 'output_format: Extra inputs', { output_format: format }],
  ])('that %s', async (_name, message, more) => {
    const { client } = await started();
    const refused = client.messages.create({ ...asked, ...more } as Params);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toMatchObject({ status: 400, type: 'invalid_request_error' });
  });

  it('but that asks for a format as a beta did is answered', async () => {
    const { client } = await started();
    const headers = { 'anthropic-beta': 'structured-outputs-2025-11-13' };
    const asking = { ...asked, model: 'claude-json', output_format: format } as unknown as Params;
    const { content } = await client.messages.create(asking, { headers });
    expect(content).toMatchObject([{ type: 'text', text: '{"name":"name"}' }]);
  });

  it.each([
    ['names two samplings', 'cannot both be specified', { temperature: 0.5, top_p: 0.5 }],
    ['is too hot', 'temperature: Input should be less than or equal to 1', { temperature: 1.5 }],
    ['thinks and is cool', '`temperature` may only be set to 1', { thinking, temperature: 0.5 }],
  ])('of the older version that %s', async (_name, message, more) => {
    const { client } = await started();
    const headers = { 'anthropic-version': '2023-06-01' };
    await expect(client.messages.create({ ...asked, ...more } as Params, { headers })).rejects.toThrow(
      message,
    );
    const warm = { ...asked, temperature: 0.5 } as Params;
    expect((await client.messages.create(warm, { headers })).stop_reason).toBe('end_turn');
  });

  it('without a key or a version, or for an unknown model', async () => {
    const { vendor, client } = await started();
    const post = (headers: Record<string, string>) =>
      fetch(`${vendor.url}/v1/messages`, { method: 'POST', headers, body: JSON.stringify(asked) });
    expect((await post({ 'anthropic-version': '2023-06-01' })).status).toBe(401);
    expect((await post({ 'x-api-key': 'sk-1' })).status).toBe(400);
    await expect(client.messages.create({ ...asked, model: 'claude-none' })).rejects.toMatchObject({
      status: 404,
    });
  });
});
