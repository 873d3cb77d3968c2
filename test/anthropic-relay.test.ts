import type Anthropic from '@anthropic-ai/sdk';
import { describe, expect, it } from 'vitest';
import { type AnthropicSetup, withAnthropic } from './support/anthropic-vendor.ts';
import { eventually, userTurn } from './support/services.ts';
import { withUpstreams } from './support/upstreams.ts';

const messagesTools = ['get_weather', 'get_time'].map((name) => ({
  name,
  input_schema: { type: 'object' as const, properties: { city: { type: 'string' } } },
}));
const sentBy = ({ vendor }: AnthropicSetup) => JSON.parse(vendor.turns.at(-1)?.text ?? '{}');
const hello = 'Hello from the upstream – ünïcode.';

describe('a Messages client is relayed', () => {
  it("its bytes travel but for the model's name, with its headers, and so does the answer", async () => {
    const { gatewayUrl, vendor } = await withAnthropic();
    const body =
      '{ "max_tokens": 50, "model": "anthropic/claude-text",\n "messages": [{"role":"user","content":"\\u0041"}], "stream" : true }';
    const headers = { 'anthropic-beta': 'odd-2026-01-01', 'anthropic-version': '2023-01-01' };
    const answer = await fetch(`${gatewayUrl}/v1/messages`, { method: 'POST', body, headers });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-warp2api-ignored')).toBeNull();
    const [turn] = vendor.turns;
    expect(turn?.text).toBe(body.replace('anthropic/claude-text', 'claude-text'));
    expect(turn?.headers).toMatchObject({ ...headers, 'x-api-key': 'sk-ant-one-1234567890' });
    const direct = await fetch(`${vendor.url}/v1/messages`, {
      method: 'POST',
      body: turn?.text ?? '',
      headers: { ...headers, 'x-api-key': 'any' },
    });
    expect(await answer.text()).toBe(await direct.text());
  });

  it('hears that it has to send the whole conversation where a server other than Anthropic’s would have to keep threads', async () => {
    const services = await withUpstreams({ other: { protocol: 'messages', keys: ['sk-other-1234567890'] } });
    const send = async (thread: object | undefined) => {
      const body = { ...userTurn('other/claude-text', 'Hi'), max_tokens: 50, thread };
      const url = `${services.gatewayUrl}/v1/messages`;
      return fetch(url, { method: 'POST', body: JSON.stringify(body) });
    };
    const refused = await send({ type: 'create' });
    expect([refused.status, await refused.json()]).toMatchObject([
      400,
      { error: { details: { error_code: 'thread_unsupported_request', unsupported: ['thread'] } } },
    ]);
    expect(services.vendors.other.turns).toEqual([]);
    const answer = await send(undefined);
    expect(await answer.text()).toBe(services.vendors.other.turns[0]?.answer);
  });

  it('sends every field as it is written, also those that are unknown here', async () => {
    const { gatewayUrl, vendor } = await withAnthropic();
    const fields = {
      cache_control: { type: 'ephemeral', ttl: '1h' },
      container: 'c',
      context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] },
      inference_geo: 'eu',
      mcp_servers: [{ type: 'url', url: 'https://x.example', name: 'x' }],
      metadata: { user_id: 'me' },
      output_config: { effort: 'low', format: { type: 'json_schema', schema: { minimum: 1 } } },
      service_tier: 'auto',
      speed: 'fast',
      stop_sequences: ['\n'],
      system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }],
      temperature: 1.0,
      thinking: { type: 'adaptive', display: 'omitted', block_binding: null },
      thread: { id: 't' },
      tool_choice: { type: 'auto', disable_parallel_tool_use: true },
      tools: [
        { type: 'web_search_20260209', name: 'web_search' },
        { name: 'f', input_schema: {}, strict: 'odd' },
      ],
      top_k: 5,
      top_p: 0.5,
      brand_new: { model: 'inner', deep: [1e2, '\u2028', null] },
    };
    const messages = [{ role: 'user', content: [{ type: 'hologram', model: 'x' }] }];
    const body = `{"model":"anthropic/claude-text" ,\n${JSON.stringify({ max_tokens: 9, messages, ...fields }).slice(1)}`;
    const answer = await fetch(`${gatewayUrl}/v1/messages`, { method: 'POST', body });
    expect(vendor.turns.map(({ text }) => text)).toEqual([
      body.replace('anthropic/claude-text', 'claude-text'),
    ]);
    // Anthropic judges them, and its words are the client's.
    expect([answer.status, await answer.json()]).toMatchObject([400, { request_id: 'req_up' }]);
  });

  it('has parallel tools, thinking over three turns and usage with the official SDK', async () => {
    const setup = await withAnthropic();
    const client = setup.anthropic();
    const asked = { max_tokens: 4_000, tools: messagesTools };
    const tools = await client.messages
      .stream({ ...asked, ...userTurn('claude-tools', 'Both?') })
      .finalMessage();
    expect(tools.content.map(({ type }) => type)).toEqual(['tool_use', 'tool_use']);
    expect(tools.usage).toMatchObject({ cache_read_input_tokens: 16 });

    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'Go.' }];
    const thinking = { type: 'enabled' as const, budget_tokens: 1_024 };
    for (let round = 0; round < 4; round += 1) {
      const answer = await client.messages.create({ ...asked, model: 'claude-thinking', thinking, messages });
      messages.push({ role: 'assistant', content: answer.content });
      const calls = answer.content.filter((block) => block.type === 'tool_use');
      expect(calls).toHaveLength(round < 3 ? 1 : 0);
      messages.push({
        role: 'user',
        content: calls.map(({ id }) => ({
          type: 'tool_result' as const,
          tool_use_id: id,
          content: `of ${round}`,
        })),
      });
    }
    expect(JSON.stringify(messages.at(-2))).toContain('of 2');
    await eventually('the usage is counted', async () => {
      const { accounts } = (await setup.pool('/api/accounts')) as unknown as {
        accounts: { usage: { input_tokens: number } }[];
      };
      return accounts[0]?.usage.input_tokens === 5 * 21;
    });
  });

  it('is translated where its history has thinking of an upstream of another dialect', async () => {
    const setup = await withAnthropic();
    const signature = Buffer.from('warp2api msg_1').toString('base64');
    const answer = await setup.anthropic().messages.create({
      model: 'claude-echo',
      max_tokens: 2_000,
      messages: [
        { role: 'user', content: 'One.' },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'Hm.', signature },
            { type: 'text', text: 'Yes.' },
          ],
        },
        { role: 'user', content: 'Two.' },
      ],
    });
    expect(answer.content).toMatchObject([{ type: 'text', text: 'You said: Two.' }]);
    expect(sentBy(setup).messages[1].content).toEqual([{ type: 'text', text: 'Yes.' }]);
  });

  it('has its tokens counted by Anthropic, and here where its history is of another upstream', async () => {
    const setup = await withAnthropic();
    const client = setup.anthropic();
    const asked = { ...userTurn('anthropic/claude-text', 'Hello there.'), system: 'Be brief.' };
    const { input_tokens: counted } = await client.messages.countTokens(asked);
    const [call] = setup.vendor.others.filter(({ method }) => method === 'POST');
    expect(JSON.parse(call?.text ?? '')).toEqual({ ...asked, model: 'claude-text' });
    expect(call?.headers['x-api-key']).toBe('sk-ant-one-1234567890');
    expect(counted).toBeGreaterThan(0);
    const signature = Buffer.from('warp2api msg_1').toString('base64');
    const thinking = { type: 'thinking' as const, thinking: 'Hm.', signature };
    const messages = [
      ...asked.messages,
      { role: 'assistant' as const, content: [thinking] },
      ...asked.messages,
    ];
    const here = await client.messages.countTokens({ ...asked, messages });
    expect(here.input_tokens).toBeGreaterThan(0);
    expect(setup.vendor.others.filter(({ method }) => method === 'POST')).toHaveLength(1);
    const bad = { ...asked, tools: [{ name: 'a b', input_schema: { type: 'object' as const } }] };
    await expect(client.messages.countTokens(bad)).rejects.toMatchObject({
      status: 400,
      error: { request_id: 'req_up' },
    });
  });

  it("gets a 400 in Anthropic's own words", async () => {
    const setup = await withAnthropic();
    const client = setup.anthropic();
    const bad = { ...userTurn('claude-text', 'Hi'), max_tokens: 9, temperature: 0.5 };
    await expect(client.messages.create(bad)).rejects.toMatchObject({
      status: 400,
      error: {
        error: { message: 'temperature: Extra inputs are not permitted' },
        request_id: 'req_up',
      },
    });
    const long = { ...userTurn('claude-text-too-long', 'Hi'), max_tokens: 9 };
    await expect(client.messages.create(long)).rejects.toMatchObject({
      status: 400,
      error: { error: { message: expect.stringMatching(/^prompt is too long/) } },
    });
    expect(setup.vendor.turns).toHaveLength(2);
  });
});

describe('what goes wrong under a relayed Messages client', () => {
  const ask = { max_tokens: 50 };

  it.each([
    ['rate-limited', 'sound'],
    ['unavailable', 'sound'],
    ['error', 'sound'],
    ['reset', 'sound'],
    ['malformed', 'sound'],
  ] as const)('%s is not seen', async (fault, then) => {
    const setup = await withAnthropic(['sk-ant-one-1', 'sk-ant-two-1']);
    setup.vendor.script('claude-text', [fault], then);
    const message = await setup.anthropic().messages.create({ ...ask, ...userTurn('claude-text', 'Hi') });
    expect(message.content).toMatchObject([{ type: 'text', text: hello }]);
  });

  it.each(['cut', 'no-end-mark', 'accounting'] as const)('%s is an error to both', async (fault) => {
    const setup = await withAnthropic();
    const client = setup.anthropic();
    const asked = { ...ask, ...userTurn(`claude-text-${fault}`, 'Hi') };
    await expect(client.messages.stream(asked).finalMessage()).rejects.toThrow();
  });

  it('a stream that falls silent is ended with an error', async () => {
    const setup = await withAnthropic(undefined, { UPSTREAM_IDLE_SECONDS: '1' });
    const asked = { ...ask, ...userTurn('claude-text-stall', 'Hi') };
    const answer = await fetch(`${setup.gatewayUrl}/v1/messages`, {
      method: 'POST',
      body: JSON.stringify({ ...asked, stream: true }),
    });
    const events = (await answer.text()).trimEnd().split('\n\n');
    expect(events.at(-1)).toMatch(/^event: error\ndata: .*fell silent/);
    expect(events.join()).not.toContain('message_stop');
  });

  it('a refusal of every account says so in its dialect, and when to come again', async () => {
    const setup = await withAnthropic(['sk-ant-limited-1']);
    await expect(
      setup.anthropic().messages.create({ ...ask, ...userTurn('claude-text', 'Hi') }),
    ).rejects.toMatchObject({ status: 429, error: { error: { type: 'rate_limit_error' } } });
  });

  it('a client that leaves takes the upstream with it', async () => {
    const setup = await withAnthropic();
    const stream = setup
      .anthropic()
      .messages.stream({ ...ask, ...userTurn('claude-ticks', 'Hi'), max_tokens: 500 });
    await new Promise((resolve) => stream.once('text', resolve));
    const ended = expect(stream.done()).rejects.toThrow();
    stream.abort();
    await ended;
    await eventually('the upstream is cut off', () => setup.vendor.turns.at(-1)?.wasCut);
  });
});
