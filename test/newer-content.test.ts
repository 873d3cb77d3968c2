// What newer clients send of tools, over simulated vendors of every protocol that refuse what theirs does not take.
import { describe, expect, it } from 'vitest';
import { pixel } from '../src/core/testing/pixel.ts';
import { modelOf, protocols, withUpstreams } from './support/upstreams.ts';

const schema = { type: 'object', properties: { city: { type: 'string' } } };
const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } };
const use = (id: string, name: string) => ({ type: 'tool_use', id, name, input: {} });
const result = (id: string, content: unknown) => ({ type: 'tool_result', tool_use_id: id, content });

const messages = {
  path: '/v1/messages',
  body: {
    max_tokens: 4_000,
    thinking: { type: 'adaptive', display: 'omitted' },
    tools: [
      { name: 'search_tools', input_schema: schema },
      { name: 'look', input_schema: schema, defer_loading: true },
      { type: 'web_search_20250305', name: 'web_search' },
    ],
    messages: [
      { role: 'user', content: 'Look.' },
      { role: 'assistant', content: [use('toolu_1', 'search_tools')] },
      { role: 'user', content: [result('toolu_1', [{ type: 'tool_reference', tool_name: 'look' }])] },
      {
        role: 'assistant',
        content: [
          { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: { query: 'Oslo' } },
          { type: 'web_search_tool_result', tool_use_id: 'srvtoolu_1', content: [] },
          { type: 'text', text: 'Found.' },
          use('toolu_2', 'look'),
        ],
      },
      {
        role: 'user',
        content: [
          result('toolu_2', [{ type: 'text', text: 'Two:' }, image, { type: 'text', text: 'and' }, image]),
        ],
      },
      { role: 'system', content: [{ type: 'tool_removal', tool: { type: 'tool_reference', name: 'look' } }] },
    ],
  },
};

const output = [
  { type: 'input_text', text: 'Patched:' },
  { type: 'input_image', detail: 'auto', image_url: `data:image/png;base64,${pixel}` },
];
const responses = {
  path: '/v1/responses',
  body: {
    store: false,
    tools: [
      {
        type: 'custom',
        name: 'patch',
        format: { type: 'grammar', syntax: 'lark', definition: 'start: /.+/' },
      },
    ],
    input: [
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Patch it.' }] },
      { type: 'custom_tool_call', call_id: 'call_1', name: 'patch', input: '*** Begin' },
      { type: 'custom_tool_call_output', call_id: 'call_1', output },
    ],
  },
};

describe.each(protocols)('over an upstream of %s', (protocol) => {
  it.each([
    ['Messages', messages],
    ['Responses', responses],
  ])('the content of a client of %s goes through', async (_dialect, { path, body }) => {
    const services = await withUpstreams({ up: { protocol } });
    const answer = await fetch(services.gatewayUrl + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: modelOf(protocol, 'text'), ...body }),
    });
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('"usage"')]);
    expect(services.vendors.up.turns).toHaveLength(1);
  });
});
