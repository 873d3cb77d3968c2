import Anthropic from '@anthropic-ai/sdk';
import { expect, it } from 'vitest';
import { modelOf, withUpstreams } from './support/upstreams.ts';

/** As MCP servers have them: longer than OpenAI takes, in other characters, and alike at their beginning. */
const names = ['mcp__files.read:all', `mcp__${'x'.repeat(70)}_one`, `mcp__${'x'.repeat(70)}_two`];

it.each(['chat', 'responses'] as const)(
  'tools of Anthropic have names there that OpenAI takes, and their own here: %s',
  async (protocol) => {
    const services = await withUpstreams({ up: { protocol } });
    const client = new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
    const asked = {
      model: modelOf(protocol, 'tools'),
      max_tokens: 100,
      tools: names.slice(1).map((name) => ({ name, input_schema: { type: 'object' as const } })),
    };
    const user = { role: 'user' as const, content: 'Both?' };
    const { content } = await client.messages.create({ ...asked, messages: [user] });
    const calls = content.filter((block) => block.type === 'tool_use');
    expect(calls.map(({ name }) => name)).toEqual(names.slice(1));
    const history = [
      user,
      { role: 'assistant' as const, content },
      {
        role: 'user' as const,
        content: calls.map(({ id }) => ({ type: 'tool_result' as const, tool_use_id: id, content: 'done' })),
      },
    ];
    await client.messages.create({ ...asked, messages: history });
    const dotted = { name: names[0] ?? '', input_schema: { type: 'object' as const } };
    const choice = { type: 'tool' as const, name: dotted.name };
    const chosen = await client.messages.create({
      ...asked,
      tools: [dotted],
      tool_choice: choice,
      messages: [user],
    });
    expect(chosen.content).toMatchObject([{ type: 'tool_use', name: names[0] }]);
    const sent = services.vendors.up.turns.flatMap(({ text }) => [...text.matchAll(/"name":"([^"]*)"/g)]);
    expect(new Set(sent.map(([, name]) => name))).toEqual(
      new Set(['mcp__files_read_all', `mcp__${'x'.repeat(59)}`, `mcp__${'x'.repeat(58)}_`]),
    );
  },
);
