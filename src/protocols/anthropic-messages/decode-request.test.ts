import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { atBareUpstream } from '../../core/testing/bare-upstream.ts';
import { decodeCountRequest, decodeMessagesRequest } from './decode-request.ts';

const user = { role: 'user', content: 'Hello' };
const decode = (more: Record<string, unknown>) =>
  atBareUpstream(decodeMessagesRequest({ model: 'm', max_tokens: 10, messages: [user], ...more }));

describe('a request', () => {
  it('has its system text in front, wherever the client put it', () => {
    const { request } = decode({
      system: 'first',
      messages: [{ role: 'system', content: [{ type: 'text', text: 'second' }] }, user],
    });
    expect(request.messages.map(({ role }) => role)).toEqual(['system', 'system', 'user']);
  });

  it('has the results of tools before what the user says beside them', () => {
    const { request } = decode({
      messages: [
        { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'read', input: { a: 1 } }] },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'and?' },
            { type: 'tool_result', tool_use_id: 't', is_error: true },
          ],
        },
      ],
    });
    expect(request.messages).toEqual([
      { role: 'assistant', parts: [{ type: 'tool-call', id: 't', name: 'read', arguments: '{"a":1}' }] },
      { role: 'tool', parts: [{ type: 'tool-result', callId: 't', text: '', isError: true }] },
      { role: 'user', parts: [{ type: 'text', text: 'and?' }] },
    ]);
  });

  it('maps the choice of tools', () => {
    const tools = [{ name: 'read', input_schema: { type: 'object' } }];
    const choice = (tool_choice: unknown) => decode({ tools, tool_choice }).request;
    expect(choice({ type: 'any', disable_parallel_tool_use: true })).toMatchObject({
      toolChoice: { type: 'required' },
      parallelToolCalls: false,
    });
    expect(choice({ type: 'tool', name: 'read' }).toolChoice).toEqual({ type: 'tool', name: 'read' });
    expect(choice({ type: 'none' }).toolChoice).toEqual({ type: 'none' });
  });

  it('leaves out empty stop sequences, which would end every answer', () => {
    expect(decode({ stop_sequences: ['', 'END'] }).request.limits.stopSequences).toEqual(['END']);
    expect(decode({ stop_sequences: [''] }).request.limits.stopSequences).toBeUndefined();
  });
});

it('says nothing about thinking that is kept, as it always is: Claude Code asks for that with every request', () => {
  const kept = { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] };
  expect(decode({ context_management: kept }).ignored).toEqual([]);
});

it.each([
  [{ max_tokens: undefined }, 'max_tokens'],
  [{ messages: [] }, 'messages'],
  [{ messages: [{ role: 'tool', content: 'x' }] }, 'messages.0.role'],
  [{ temperature: 1.5 }, 'temperature'],
  [{ mcp_servers: [{}] }, 'mcp_servers'],
  [{ inference_geo: 'us' }, 'inference_geo'],
  [{ compaction: { type: 'summarize' } }, 'compaction'],
  [{ thread: { type: 'create' } }, 'thread'],
  [{ output_config: { format: { type: 'json_schema' } } }, 'output_config.format.schema'],
  [{ output_config: { format: { type: 'xml' } } }, 'output_config.format'],
  [{ tool_choice: { type: 'tool', name: 'gone' } }, 'tool_choice'],
  [{ tool_choice: { type: 'any' } }, 'tool_choice'],
  [
    { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'ftp://x' } }] }] },
    'messages.0.content.0.source.url',
  ],
  [
    {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'AA' } },
          ],
        },
      ],
    },
    'messages.0.content.0.source',
  ],
])('%j is refused with the name of the parameter', (more, param) => {
  try {
    decode(more);
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    expect(error).toMatchObject({ code: 'invalid_request', param });
  }
});

it('takes every value that asks for nothing without a word', () => {
  const { ignored } = decode({
    temperature: 1,
    top_p: 1,
    top_k: null,
    metadata: { user_id: 'me' },
    cache_control: { type: 'ephemeral' },
    service_tier: 'auto',
    speed: 'standard',
    thread: false,
    mcp_servers: [],
    container: null,
    context_management: { edits: [] },
    thinking: { type: 'adaptive', display: 'omitted' },
    tools: [
      { name: 'read', input_schema: { type: 'object' }, strict: false, defer_loading: true, type: 'custom' },
    ],
    system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }],
  });
  expect(ignored).toEqual([]);
});

it('names what has no effect here', () => {
  const { ignored } = decode({
    top_k: 5,
    thinking: { type: 'enabled', budget_tokens: 2_000 },
    output_config: { task_budget: { type: 'tokens', total: 9 } },
    context_management: { edits: [{ type: 'clear_thinking_20251015' }] },
    container: 'c',
    speed: 'fast',
    unheard: 1,
  });
  expect(ignored).toEqual([
    'top_k',
    'thinking.budget_tokens',
    'output_config.task_budget',
    'context_management',
    'container',
    'speed',
    'unheard',
  ]);
});

it("leaves out Claude Code's line for Anthropic's billing, which differs from request to request", () => {
  const rulesOf = (system: unknown) => {
    const [first] = decode({ system }).request.messages;
    return first?.role === 'system' ? first.parts.map(({ text }) => text) : [];
  };
  const line = 'x-anthropic-billing-header: cc_version=2.1.177.01c; cc_entrypoint=cli; cch=36ee5;';
  const block = (text: string) => ({ type: 'text', text });
  expect(rulesOf([block(line), block('Be brief.')])).toEqual(['Be brief.']);
  expect(rulesOf(`${line}\n\nBe brief.`)).toEqual(['Be brief.']);
  expect(rulesOf([block(line)])).toEqual([]);
  expect(rulesOf([block(`Say ${line}`)])).toEqual([`Say ${line}`]);
  expect(rulesOf([block('Explain:'), block(`${line}\nIt differs.`)])).toEqual([
    'Explain:',
    `${line}\nIt differs.`,
  ]);
});

it('shows thinking as asked', () => {
  const shows = (thinking: unknown) => decode({ thinking }).options.showsThinking;
  expect(shows({ type: 'enabled', budget_tokens: 1_024 })).toBe(true);
  expect(shows({ type: 'adaptive', display: 'summarized' })).toBe(true);
  expect(shows({ type: 'adaptive', display: 'omitted' })).toBe(false);
  expect(shows({ type: 'disabled' })).toBe(false);
  expect(shows(undefined)).toBe(false);
});

it('takes the former name of the output format', () => {
  const format = { type: 'json_schema', schema: { type: 'object' } };
  expect(decode({ output_format: format }).request.responseFormat).toMatchObject({
    param: 'output_format.schema',
  });
  expect(decode({ output_format: format, output_config: { format } }).request.responseFormat).toMatchObject({
    param: 'output_config.format.schema',
  });
});

it('estimates the input of a stream, tools and results included, and of a stream only', () => {
  const messages = [
    { role: 'user', content: 'x'.repeat(400) },
    { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'read', input: {} }] },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: 'y'.repeat(400) }] },
  ];
  const estimate = (more: object) => decode({ messages, ...more }).options.estimatedInputTokens;
  expect(estimate({ stream: true })).toBeGreaterThanOrEqual(200);
  expect(estimate({ stream: true })).toBeLessThan(210);
  const tools = [{ name: 'z'.repeat(100), input_schema: { type: 'object' } }];
  expect(estimate({ stream: true, tools })).toBeGreaterThan(estimate({ stream: true }) + 25);
  expect(estimate({})).toBe(0);
});

it('counts the tokens of a request with the same fields', () => {
  const counted = { model: 'm', messages: [user], thinking: { type: 'adaptive' }, context_management: {} };
  expect(decodeCountRequest(counted).messages).toHaveLength(1);
});

it('names its session by the whole metadata.user_id', () => {
  const userId = JSON.stringify({ device_id: 'd', session_id: 's' });
  expect(decode({ metadata: { user_id: userId } }).affinityKey).toBe(userId);
  for (const odd of [undefined, null, {}, { user_id: null }]) {
    expect(decode({ metadata: odd }).affinityKey).toBeUndefined();
  }
});

it('a mark for caches of the whole request is one of its last part; a session has a key for them', () => {
  const cache_control = { type: 'ephemeral', ttl: '1h' };
  const { request } = decode({ cache_control, metadata: { user_id: 'someone at a session' } });
  expect(request.messages.at(-1)?.parts.at(-1)?.cacheBreakpoint).toEqual({ ttlSeconds: 3_600 });
  const key = request.wishes?.find(({ ability }) => ability === 'openai.prompt_cache_key');
  expect(key?.value).toMatch(/^[\w-]{43}$/);
  expect(decode({}).request.wishes).toBeUndefined();
});

it('fields of other dialects are named and not passed on', () => {
  const { request, ignored } = decode({ temperature: 0.5, seed: 'abc', presence_penalty: {} });
  expect(request.sampling).toEqual({ temperature: 0.5 });
  expect(ignored).toEqual(['seed', 'presence_penalty']);
});

it('thinking that is turned off is a budget of none, unless an effort says how hard', () => {
  const reasoningOf = (more: Record<string, unknown>) => decode(more).request.reasoning;
  expect(reasoningOf({ thinking: { type: 'disabled' } })).toEqual({ budgetTokens: 0 });
  expect(reasoningOf({ thinking: { type: 'disabled' }, output_config: { effort: 'low' } })).toEqual({
    effort: 'low',
  });
  expect(reasoningOf({})).toEqual({});
  expect(reasoningOf({ thinking: { type: 'enabled', budget_tokens: 2_000 } })).toEqual({
    isAsked: true,
    budgetTokens: 2_000,
  });
});
