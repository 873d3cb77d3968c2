import { describe, expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { decodeResponsesRequest, parseResponsesRequest } from './decode-request.ts';
import { encodeResponsesAnswer } from './encode-answer.ts';
import { ResponseEvents } from './response-events.ts';

const hello = { type: 'message', role: 'user', content: 'Hello' };
const identity = { id: 'resp_0', created: 0, now: () => 0, model: 'auto' };

function decode(body: object, history: readonly object[] = []) {
  const asked = parseResponsesRequest({ model: 'auto', input: [hello], ...body });
  return decodeResponsesRequest(asked, { history: history as never });
}

const namesIn = (body: object, history?: readonly object[]) =>
  decode(body, history).request.tools.map(({ name }) => name);

/** The item of a call, streamed and in a whole answer: both have to agree. */
function itemOf(body: object, name: string, args: unknown) {
  const { options } = decode(body);
  const text = typeof args === 'string' ? args : JSON.stringify(args);
  const call = { id: 'call_1', name, arguments: text };
  const answer = encodeResponsesAnswer(
    identity,
    { text: '', reasoning: '', toolCalls: [call], usage: undefined, finishReason: 'tool-calls' },
    options,
  );
  const seen: { type: string; item?: { type: string } }[] = [];
  const events = new ResponseEvents(identity, options, {
    emit: (_type, json) => seen.push(JSON.parse(json)),
  });
  events.push([
    { type: 'tool-call-start', index: 0, id: call.id, name },
    ...[...text].map((piece): TurnEvent => ({ type: 'tool-call-delta', index: 0, arguments: piece })),
    { type: 'tool-call-end', index: 0 },
    { type: 'finish', reason: 'tool-calls' },
  ]);
  const [whole] = answer['output'] as Record<string, unknown>[];
  expect(seen.filter(({ type }) => type === 'response.output_item.added')).toHaveLength(1);
  expect(seen.find(({ type }) => type === 'response.output_item.added')?.item?.type).toBe(whole?.['type']);
  expect(seen.find(({ type }) => type === 'response.output_item.done')?.item).toEqual(whole);
  expect(seen.at(-1)).toMatchObject({ type: 'response.completed', response: { output: [whole] } });
  return { item: whole, types: seen.map(({ type }) => type) };
}

const search = {
  type: 'tool_search',
  execution: 'client',
  description: 'Finds tools.',
  parameters: { type: 'object', properties: { query: { type: 'string' } }, required: ['query'] },
};
const lookup = {
  type: 'namespace',
  name: 'mcp__archive',
  description: 'The archive.',
  tools: [
    { type: 'function', name: 'lookup', description: 'Looks up.', defer_loading: true, parameters: {} },
  ],
};
const codexTools = {
  type: 'additional_tools',
  id: 'at_1',
  role: 'developer',
  tools: [
    {
      type: 'namespace',
      name: 'functions',
      description: '',
      tools: [
        { type: 'custom', name: 'exec', description: 'Runs code.', format: { type: 'text' } },
        { type: 'function', name: 'wait', parameters: { type: 'object', properties: {} } },
      ],
    },
  ],
};

describe('tools that come as an item', () => {
  it('are offered like those of the request, and are no content', () => {
    const { request, ignored } = decode({ input: [codexTools, hello] });
    expect(request.tools.map(({ name }) => name)).toEqual(['functions__exec', 'functions__wait']);
    expect(request.messages).toHaveLength(1);
    expect(ignored).toEqual([]);
  });

  it('are offered too when they come later, and when an earlier response brought them', () => {
    const later = {
      type: 'additional_tools',
      role: 'developer',
      tools: [{ type: 'function', name: 'more' }],
    };
    const input = [codexTools, hello, { role: 'assistant', content: 'Hi.' }, later, hello];
    expect(namesIn({ input })).toEqual(['functions__exec', 'functions__wait', 'more']);
    expect(namesIn({}, [codexTools, hello, { role: 'assistant', content: 'Hi.' }])).toHaveLength(2);
  });

  it('replace those of the same name', () => {
    const again = { ...codexTools, tools: [{ type: 'function', name: 'read', description: 'New.' }] };
    const tools = [{ type: 'function', name: 'read', description: 'Old.' }];
    expect(decode({ tools, input: [again, hello] }).request.tools).toMatchObject([{ description: 'New.' }]);
  });

  it('are called under the name and namespace they came with', () => {
    const { item } = itemOf({ input: [codexTools, hello] }, 'functions__exec', { input: 'text(1)' });
    expect(item).toMatchObject({
      type: 'custom_tool_call',
      name: 'exec',
      namespace: 'functions',
      input: 'text(1)',
    });
    const input = [
      codexTools,
      hello,
      item,
      { type: 'custom_tool_call_output', call_id: 'call_1', output: '1' },
    ];
    expect(decode({ input }).request.messages[1]?.parts).toMatchObject([{ name: 'functions__exec' }]);
  });

  it.each(['exec', 'functions.exec'])('are known too by the name the client has for them: %s', (name) => {
    const { item } = itemOf({ input: [codexTools, hello] }, name, { input: 'text(1)' });
    expect(item).toMatchObject({ type: 'custom_tool_call', name: 'exec', namespace: 'functions' });
  });

  it('are not mixed up by a bare name that two have', () => {
    const one = { ...lookup, name: 'one' };
    const { item } = itemOf({ tools: [lookup, one] }, 'lookup', {});
    expect(item).toMatchObject({ type: 'function_call', name: 'lookup' });
    expect(item).not.toHaveProperty('namespace');
  });

  it('can be demanded', () => {
    const choice = { type: 'custom', name: 'exec' };
    const { toolChoice } = decode({ input: [codexTools, hello], tool_choice: choice }).request;
    expect(toolChoice).toEqual({ type: 'tool', name: 'functions__exec' });
  });
});

describe('a search for tools', () => {
  it('that the client runs is offered with the schema of the client', () => {
    expect(decode({ tools: [search] }).request.tools).toEqual([
      { name: 'tool_search', description: 'Finds tools.', parameters: search.parameters },
    ]);
  });

  it('is answered with its own type of item', () => {
    const { item, types } = itemOf({ tools: [search] }, 'tool_search', { query: 'archive' });
    expect(item).toEqual({
      id: 'tsc_00',
      type: 'tool_search_call',
      status: 'completed',
      call_id: 'call_1',
      execution: 'client',
      arguments: { query: 'archive' },
    });
    expect(types.filter((type) => type.includes('function_call_arguments'))).toEqual([]);
  });

  it('brings tools that are offered from then on', () => {
    const call = { type: 'tool_search_call', call_id: 'c', execution: 'client', arguments: { query: 'x' } };
    const output = { type: 'tool_search_output', call_id: 'c', execution: 'client', tools: [lookup] };
    const input = [hello, call, output];
    const { request, ignored } = decode({ tools: [search], input });
    expect(request.tools.map(({ name }) => name)).toEqual(['tool_search', 'mcp__archive__lookup']);
    expect(request.messages.at(-1)?.parts).toMatchObject([
      { callId: 'c', text: expect.stringContaining('mcp__archive__lookup: Looks up.') },
    ]);
    expect(ignored).toEqual([]);
    expect(namesIn({ tools: [search] }, input)).toContain('mcp__archive__lookup');
    const { item } = itemOf({ tools: [search], input }, 'mcp__archive__lookup', { key: 'x' });
    expect(item).toMatchObject({ type: 'function_call', name: 'lookup', namespace: 'mcp__archive' });
  });

  it('that the provider would run is left out, and deferred tools are offered', () => {
    const { request, ignored } = decode({ tools: [{ type: 'tool_search' }, lookup] });
    expect(request.tools.map(({ name }) => name)).toEqual(['mcp__archive__lookup']);
    expect(ignored).toEqual(['tools.tool_search']);
  });
});

const action = { commands: ['ls'], timeout_ms: 1_000, max_output_length: null };
const click = { type: 'click', x: 1, y: 2, button: 'left' };
const patch = { type: 'update_file', path: 'a.txt', diff: '@@\n-a\n+b' };

describe('a tool that the client runs', () => {
  it.each([
    [
      'shell',
      { commands: ['ls'], timeout_ms: 1_000 },
      { type: 'shell_call', action, environment: { type: 'local' } },
    ],
    [
      'local_shell',
      { command: ['ls', '-l'] },
      { type: 'local_shell_call', action: { type: 'exec', command: ['ls', '-l'], env: {} } },
    ],
    ['apply_patch', patch, { type: 'apply_patch_call', operation: patch }],
    [
      'computer',
      { actions: [click] },
      { type: 'computer_call', actions: [click], pending_safety_checks: [] },
    ],
    ['computer_use_preview', click, { type: 'computer_call', action: click, pending_safety_checks: [] }],
  ])('%s is offered as a function and called in its own form', (type, args, item) => {
    const tool = { type, display_width: 800, display_height: 600, environment: { type: 'local' } };
    const { request, ignored } = decode({ tools: [tool] });
    expect(request.tools).toMatchObject([{ name: type, parameters: { type: 'object' } }]);
    expect(ignored).toEqual([]);
    expect(itemOf({ tools: [tool] }, type, args).item).toMatchObject({
      ...item,
      call_id: 'call_1',
      status: 'completed',
    });
  });

  it.each([
    [
      'shell',
      {
        type: 'shell_call_output',
        output: [{ stdout: 'a', stderr: '', outcome: { type: 'exit', exit_code: 0 } }],
      },
      { commands: ['ls'] },
    ],
    ['local_shell', { type: 'local_shell_call_output', output: 'a' }, { command: ['ls'] }],
    ['apply_patch', { type: 'apply_patch_call_output', status: 'failed', output: 'no' }, patch],
    [
      'computer',
      {
        type: 'computer_call_output',
        output: {
          type: 'computer_screenshot',
          image_url:
            'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
        },
      },
      { actions: [click] },
    ],
  ])('%s takes its call and its output back', (type, output, args) => {
    const { item } = itemOf({ tools: [{ type }] }, type, args);
    const input = [hello, item, { ...output, call_id: 'call_1' }];
    const [, answer, results] = decode({ tools: [{ type }], input }).request.messages;
    expect(answer?.parts).toMatchObject([{ type: 'tool-call', id: 'call_1', name: type }]);
    const [call] = answer?.parts ?? [];
    expect(JSON.parse(call?.type === 'tool-call' ? call.arguments : '')).toMatchObject(args);
    expect(results?.parts).toMatchObject([{ callId: 'call_1', isError: 'status' in output }]);
    if (type === 'computer') expect(results?.parts).toMatchObject([{ images: [{ type: 'image' }] }]);
  });

  it.each(['not JSON', '{"commands":"ls"}', '[]'])(
    'gets a call that does not fit its form as a function: %s',
    (args) => {
      const { item } = itemOf({ tools: [{ type: 'shell' }] }, 'shell', args);
      expect(item).toMatchObject({ type: 'function_call', name: 'shell', arguments: args });
    },
  );

  it.each([
    ['shell', { action: { commands: ['ls'] } }, 'shell_call'],
    ['local_shell', { action: { type: 'exec', command: ['ls'] } }, 'local_shell_call'],
    ['apply_patch', { operation: patch }, 'apply_patch_call'],
    ['computer_use_preview', { action: click }, 'computer_call'],
  ])('%s takes arguments in the form of its item', (type, args, item) => {
    expect(itemOf({ tools: [{ type }] }, type, args).item).toMatchObject({ type: item });
  });

  it('does not take the name of a function of the client', () => {
    const own = { type: 'function', name: 'shell', parameters: {} };
    const body = { tools: [own, { type: 'shell' }] };
    expect(namesIn(body)).toEqual(['shell', 'shell_2']);
    expect(itemOf(body, 'shell', { commands: ['ls'] }).item).toMatchObject({ type: 'function_call' });
    expect(itemOf(body, 'shell_2', { commands: ['ls'] }).item).toMatchObject({ type: 'shell_call' });
  });

  it('can be demanded by its type', () => {
    const { toolChoice } = decode({ tools: [{ type: 'shell' }], tool_choice: { type: 'shell' } }).request;
    expect(toolChoice).toEqual({ type: 'tool', name: 'shell' });
  });

  it('does not lose a call when the answer breaks off', () => {
    const { options } = decode({ tools: [{ type: 'shell' }] });
    const seen: { type: string; item?: object }[] = [];
    const events = new ResponseEvents(identity, options, {
      emit: (_t, json) => seen.push(JSON.parse(json)),
    });
    events.push([
      { type: 'tool-call-start', index: 0, id: 'c', name: 'shell' },
      { type: 'tool-call-delta', index: 0, arguments: '{"commands":["rm' },
      { type: 'finish', reason: 'length' },
    ]);
    expect(seen.at(-1)).toMatchObject({
      type: 'response.incomplete',
      response: { output: [{ type: 'function_call', status: 'incomplete', arguments: '{"commands":["rm' }] },
    });
  });
});

describe('a tool that the provider would run', () => {
  const read = { type: 'function', name: 'read', parameters: {} };

  it.each([
    { type: 'web_search' },
    { type: 'web_search_2025_08_26' },
    { type: 'web_search_preview_2025_03_11' },
    { type: 'file_search', vector_store_ids: [] },
    { type: 'code_interpreter', container: { type: 'auto' } },
    { type: 'image_generation' },
    { type: 'mcp', server_label: 'x', server_url: 'https://example.org' },
    { type: 'programmatic_tool_calling' },
    { type: 'shell', environment: { type: 'container_auto' } },
    { type: 'a_tool_of_tomorrow' },
  ])('is named beside others, and refused by name alone or when demanded: $type', (tool) => {
    expect(decode({ tools: [tool, read] }).ignored).toEqual([`tools.${tool.type}`]);
    const refused = (body: object, param: string) =>
      expect(() => decode(body)).toThrowError(
        expect.objectContaining({
          code: 'invalid_request',
          param,
          message: expect.stringContaining(`"${tool.type}"`),
        }),
      );
    refused({ tools: [tool] }, 'tools.0.type');
    refused({ tools: [tool], tool_choice: 'required' }, 'tools.0.type');
    if (tool.type !== 'shell')
      refused({ tools: [read, tool], tool_choice: { type: tool.type } }, 'tool_choice');
    expect(decode({ tools: [tool], tool_choice: 'none' }).ignored).toEqual([`tools.${tool.type}`]);
  });

  it('may be allowed beside others, but not alone', () => {
    const allow = (...tools: object[]) =>
      decode({
        tools: [{ type: 'web_search' }, read],
        tool_choice: { type: 'allowed_tools', mode: 'auto', tools },
      });
    const named = { type: 'function', name: 'read' };
    expect(allow({ type: 'web_search' }, named).request.tools.map(({ name }) => name)).toEqual(['read']);
    expect(() => allow({ type: 'web_search' })).toThrowError(
      expect.objectContaining({
        param: 'tool_choice.tools.0',
        message: expect.stringContaining('"web_search"'),
      }),
    );
  });

  it('ends no conversation when an earlier item offered it', () => {
    const earlier = { type: 'additional_tools', role: 'developer', tools: [{ type: 'web_search' }] };
    expect(decode({}, [earlier, hello]).ignored).toEqual(['tools.web_search']);
  });
});

describe('items that are not known', () => {
  const answer = { role: 'assistant', content: 'Hi.' };

  it.each([
    [[hello, answer, { type: 'item_of_tomorrow' }], 'input.2.type', 'item_of_tomorrow'],
    [[{ type: 'item_of_tomorrow' }], 'input.0.type', 'item_of_tomorrow'],
    [[hello, answer, { type: 'tomorrow_call_output', call_id: 'c' }], 'input.2.type', 'tomorrow_call_output'],
    [[{ type: 'web_search_call', id: 'ws_1', status: 'completed' }], 'input.0.type', 'web_search_call'],
  ])('are refused by name as the only new input: %j', (input, param, type) => {
    expect(() => decode({ input })).toThrowError(
      expect.objectContaining({
        code: 'invalid_request',
        param,
        message: expect.stringContaining(`"${type}"`),
      }),
    );
  });

  it.each(['item_of_tomorrow', 'tomorrow_call', 'web_search_call'])('end no conversation: %s', (type) => {
    expect(decode({ input: [hello, { type }, answer, hello] }).ignored).toEqual([`input.${type}`]);
  });
});

describe('items of Codex', () => {
  it('bring messages between agents of Codex', () => {
    const content = [
      { type: 'input_text', text: 'Payload:\n' },
      { type: 'encrypted_content', encrypted_content: 'Look for magnolia.' },
    ];
    const message = { type: 'agent_message', author: '/planner', recipient: '/planner/look', content };
    const { request } = decode({ input: [codexTools, hello, message] });
    expect(request.messages.at(-1)).toEqual({
      role: 'user',
      parts: [{ type: 'text', text: 'Payload:\nLook for magnolia.' }],
    });
  });

  it('change the effort and the format from there on', () => {
    const update = (effort: string) => ({ type: 'configuration_update', reasoning: { effort } });
    const input = [update('low'), hello, { role: 'assistant', content: 'Hi.' }, update('high'), hello];
    const { request, ignored } = decode({ input, reasoning: { effort: 'medium' } });
    expect(request.reasoning).toMatchObject({ effort: 'high' });
    expect(request.messages).toHaveLength(3);
    expect(ignored).toEqual([]);
    const format = { type: 'json_object' };
    const { responseFormat } = decode({
      input: [{ type: 'configuration_update', text: { format } }, hello],
    }).request;
    expect(responseFormat).toEqual({ type: 'json' });
  });
});
