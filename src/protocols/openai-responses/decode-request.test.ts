import { describe, expect, it } from 'vitest';
import { atBareUpstream } from '../../core/testing/bare-upstream.ts';
import { pixel } from '../../core/testing/pixel.ts';
import { decodeResponsesRequest, parseResponsesRequest } from './decode-request.ts';
import { createResponsesInbound } from './inbound.ts';
import type { Opaque } from './response.ts';

const opaque: Opaque = {
  seal: (text) => `sealed:${text}`,
  open: (text) => (text.startsWith('sealed:') ? text.slice(7) : undefined),
};

function decode(body: object) {
  const asked = parseResponsesRequest({ model: 'auto', input: 'Hello', ...body });
  return atBareUpstream(decodeResponsesRequest(asked, { opaque }));
}

const read = { type: 'function', name: 'read', parameters: {} };
const write = { type: 'function', name: 'write', parameters: {} };

describe('input', () => {
  it.each([
    ['function_call_output', { output: 'x' }],
    ['custom_tool_call_output', { output: 'x' }],
    ['shell_call_output', { output: [] }],
  ])('a %s without its call is refused with its place', (type, more) => {
    const input = [
      { role: 'user', content: 'Hello' },
      { type, call_id: 'call_gone', ...more },
    ];
    expect(() => decode({ input })).toThrowError(
      expect.objectContaining({ code: 'invalid_request', param: 'input.1.call_id' }),
    );
  });

  it('has a result for a call that a person interrupted', () => {
    const call = { type: 'function_call', call_id: 'a', name: 'read', arguments: '{}' };
    const { messages } = decode({ input: [call, { role: 'user', content: 'Never mind.' }] }).request;
    expect(messages.map(({ role }) => role)).toEqual(['assistant', 'tool', 'user']);
    expect(messages[1]?.parts).toMatchObject([{ callId: 'a', isError: true }]);
  });

  it.each(['system', 'developer', 'assistant'])(
    'an image in a message of the %s is not lost unsaid',
    (role) => {
      const image = { type: 'input_image', image_url: `data:image/png;base64,${pixel}` };
      const input = [
        { role, content: [{ type: 'input_text', text: 'Look:' }, image] },
        { role: 'user', content: 'x' },
      ];
      const { request, ignored } = decode({ input });
      expect(request.messages[0]?.parts[1]).toMatchObject({
        text: expect.stringContaining('Not shown: an image'),
      });
      expect(ignored).toEqual(['input.content.input_image']);
    },
  );

  it('a document in a message of the assistant is named as what it is', () => {
    const pdf = Buffer.from('%PDF-1.4').toString('base64');
    const input = [
      { role: 'assistant', content: [{ type: 'input_file', filename: 'a.pdf', file_data: pdf }] },
      { role: 'user', content: 'x' },
    ];
    const { request, ignored } = decode({ input });
    expect(request.messages[0]?.parts).toMatchObject([
      { type: 'text', text: expect.stringContaining('Not shown: the file "a.pdf" that is a PDF') },
    ]);
    expect(ignored).toEqual(['input.content.input_file']);
  });

  it.each(['system', 'assistant'])('a file of text in a message of the %s travels as text', (role) => {
    const file = {
      type: 'input_file',
      filename: 'a.txt',
      file_data: Buffer.from('Hello').toString('base64'),
    };
    const [message] = decode({
      input: [
        { role, content: [file] },
        { role: 'user', content: 'x' },
      ],
    }).request.messages;
    expect(message?.parts).toEqual([{ type: 'text', text: 'a.txt\n\nHello' }]);
  });

  it.each(['program', 'program_output'])('a history with a %s in it is taken, and the item named', (type) => {
    const { ignored } = decode({
      input: [
        { type, id: 'a' },
        { role: 'user', content: 'x' },
      ],
    });
    expect(ignored).toEqual([`input.${type}`]);
  });

  it('says which parts a message can have', () => {
    const input = [
      { role: 'user', content: [{ type: 'input_audio', input_audio: { data: 'x', format: 'mp3' } }] },
    ];
    expect(() => decode({ input })).toThrowError(/^input\.0\.content\.0\.type: must be "input_text"/);
  });

  it('takes files of text as text and files of images as images, and refuses others by their place', () => {
    const parts = (...files: object[]) =>
      decode({
        input: [{ role: 'user', content: files.map((file) => ({ type: 'input_file', ...file })) }],
      }).request.messages[0]?.parts;
    const file_data = Buffer.from('Hello').toString('base64');
    expect(parts({ file_data, filename: 'a.txt' }, { file_data: `data:image/png;base64,${pixel}` })).toEqual([
      { type: 'text', text: 'a.txt\n\nHello' },
      { type: 'image', mediaType: 'image/png', data: pixel, param: 'input.0.content.1.file_data' },
    ]);
    for (const file of [{ file_id: 'f' }, { file_url: 'https://x/a.pdf' }, { file_data: 'JVBERi0xLjc=' }]) {
      expect(() => parts(file)).toThrowError(expect.objectContaining({ param: 'input.0.content.0' }));
    }
  });

  it('has marks for caches on its parts, with the lifetimes of the dialect', () => {
    const mark = (ttl?: string) => ({ prompt_cache_breakpoint: { mode: 'explicit', ...(ttl && { ttl }) } });
    const content = [undefined, '30m', '12h', 'for ever'].map((ttl) => ({
      type: 'input_text',
      text: 'x',
      ...mark(ttl),
    }));
    const { request } = decode({ input: [{ role: 'user', content }] });
    expect(request.messages[0]?.parts.map((part) => part.cacheBreakpoint)).toEqual([
      {},
      { ttlSeconds: 1_800 },
      { ttlSeconds: 43_200 },
      {},
    ]);
  });

  it('outputs in parts, with images, reach the upstream', () => {
    const { request } = decode({
      input: [
        { type: 'function_call', call_id: 'a', name: 'read', arguments: '{}' },
        {
          type: 'function_call_output',
          call_id: 'a',
          output: [
            { type: 'input_text', text: 'one' },
            { type: 'input_text', text: 'two' },
            { type: 'input_image', image_url: `data:image/png;base64,${pixel}` },
          ],
        },
      ],
    });
    expect(request.messages[1]).toMatchObject({
      role: 'tool',
      parts: [{ callId: 'a', text: 'one\ntwo', images: [{ mediaType: 'image/png', data: pixel }] }],
    });
  });

  it('shells and patches that a client ran keep their calls and what came of them', () => {
    const { request, ignored } = decode({
      input: [
        { type: 'shell_call', call_id: 'a', action: { commands: ['ls'] } },
        { type: 'shell_call_output', call_id: 'a', output: [{ stdout: 'README.md', stderr: '' }] },
        { type: 'local_shell_call', id: 'x', call_id: 'b', action: { command: ['pwd'] } },
        { type: 'local_shell_call_output', id: 'b', output: '/home' },
        { type: 'apply_patch_call', call_id: 'c', operation: { type: 'delete_file', path: 'a' } },
        { type: 'apply_patch_call_output', call_id: 'c', status: 'failed' },
      ],
    });
    const parts = request.messages.flatMap((message): readonly unknown[] => message.parts);
    expect(parts).toMatchObject([
      { type: 'tool-call', name: 'shell', arguments: '{"commands":["ls"]}' },
      { type: 'tool-result', callId: 'a', text: '[{"stdout":"README.md","stderr":""}]' },
      { type: 'tool-call', name: 'local_shell', arguments: '{"command":["pwd"]}' },
      { type: 'tool-result', callId: 'b', text: '/home' },
      { type: 'tool-call', name: 'apply_patch' },
      { type: 'tool-result', callId: 'c', text: 'failed', isError: true },
    ]);
    expect(ignored).toEqual([]);
  });

  it('items of tools that only their provider runs are named and left out', () => {
    const { request, ignored } = decode({
      input: [
        { type: 'web_search_call', id: 'ws_1', status: 'completed' },
        { type: 'mcp_list_tools', id: 'mcpl_1', server_label: 'x', tools: [] },
        { role: 'user', content: 'Go on' },
      ],
    });
    expect(request.messages).toHaveLength(1);
    expect(ignored).toEqual(['input.web_search_call', 'input.mcp_list_tools']);
  });

  it.each(['compaction_trigger', 'mcp_approval_response', 'additional_tools', 'nonsense'])(
    'a %s asks for what is not done here and is refused',
    (type) => {
      expect(() => decode({ input: [{ type }] })).toThrowError(
        expect.objectContaining({ code: 'invalid_request', param: expect.stringMatching(/^input/) }),
      );
    },
  );

  it('reasoning is taken from its text, or from what was sealed here', () => {
    const { request } = decode({
      input: [
        { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'Shown.' }], content: null },
        { type: 'reasoning', id: 'rs_2', summary: [], encrypted_content: 'sealed:Hidden.' },
        { type: 'reasoning', id: 'rs_3', summary: [], encrypted_content: 'of another provider' },
        { role: 'assistant', content: 'Yes.', phase: 'final_answer' },
      ],
    });
    expect(request.messages).toEqual([
      {
        role: 'assistant',
        parts: [
          { type: 'reasoning', text: 'Shown.' },
          { type: 'reasoning', text: 'Hidden.' },
          { type: 'text', text: 'Yes.' },
        ],
      },
    ]);
  });

  it('a compaction is read if it was made here, and else refused', () => {
    const content = opaque.seal(JSON.stringify({ rules: ['Be brief.'], summary: 'We chose blue.' }));
    const { request } = decode({ input: [{ type: 'compaction', encrypted_content: content }] });
    expect(request.messages).toMatchObject([
      { role: 'system', parts: [{ text: 'Be brief.' }] },
      { role: 'user', parts: [{ text: expect.stringContaining('We chose blue.') }] },
    ]);
    expect(() =>
      decode({ input: [{ type: 'compaction', encrypted_content: opaque.seal('Reasoning.') }] }),
    ).toThrowError(expect.objectContaining({ param: 'input.0.encrypted_content' }));
    expect(() => decode({ input: [{ type: 'compaction', encrypted_content: 'gAAAA' }] })).toThrowError(
      expect.objectContaining({ param: 'input.0.encrypted_content' }),
    );
  });
});

describe('the choice of tools', () => {
  it('allowed tools are offered and no others', () => {
    const { request } = decode({
      tools: [read, write],
      tool_choice: { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'read' }] },
    });
    expect(request.tools.map(({ name }) => name)).toEqual(['read']);
    expect(request.toolChoice).toEqual({ type: 'required' });
  });

  it('an allowed tool that is not offered is refused by its place', () => {
    const choice = { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'web_search' }] };
    expect(() => decode({ tools: [read], tool_choice: choice })).toThrowError(
      expect.objectContaining({ param: 'tool_choice.tools.0' }),
    );
  });

  it('a custom tool can be chosen by its name', () => {
    const { request } = decode({
      tools: [{ type: 'custom', name: 'patch' }],
      tool_choice: { type: 'custom', name: 'patch' },
    });
    expect(request.toolChoice).toEqual({ type: 'tool', name: 'patch' });
  });
});

it.each([
  [Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 'v'])), 'metadata'],
  [{ k: 'v'.repeat(513) }, 'metadata.k'],
  [{ ['k'.repeat(65)]: 'v' }, `metadata.${'k'.repeat(65)}`],
])('metadata beyond its limits is refused', (metadata, param) => {
  expect(() => decode({ metadata })).toThrowError(expect.objectContaining({ param }));
});

describe('the session of a request', () => {
  it('goes by prompt_cache_key, else by the response its conversation began with', () => {
    expect(decode({}).affinityKey).toBeUndefined();
    expect(decode({ previous_response_id: 'resp_2' }).affinityKey).toBe('resp_2');
    expect(decode({ previous_response_id: 'resp_2', prompt_cache_key: 'key' }).affinityKey).toBe('key');
    const asked = parseResponsesRequest({ model: 'auto', input: 'Hello', previous_response_id: 'resp_2' });
    expect(decodeResponsesRequest(asked, { firstResponseId: 'resp_1' }).affinityKey).toBe('resp_1');
  });
});

it.each([
  [{ type: 'function', parameters: {} }, 'tools.0.name'],
  [{ type: 'function', name: 'two words' }, 'tools.0.name'],
  [{ type: 'custom', name: '' }, 'tools.0.name'],
  [{ type: 'namespace', name: 'mcp' }, 'tools.0.tools'],
  [{ type: 'namespace', name: 'mcp', tools: [{ type: 'function' }] }, 'tools.0.tools.0.name'],
])('an offer that is not whole is refused by its place: %j', (tool, param) => {
  expect(() => decode({ tools: [tool] })).toThrowError(expect.objectContaining({ param }));
});

it.each([
  [{ role: 'user', content: [{ type: 'input_text' }] }, 'input.0.content.0.text'],
  [{ type: 'message', role: 'robot', content: 'Hi' }, 'input.0.role'],
  [{ type: 'nonsense' }, 'input.0.type'],
])('an item that is not whole is refused by its place: %j', (item, param) => {
  expect(() => decode({ input: [item] })).toThrowError(expect.objectContaining({ param }));
});

it('an answer of very many calls is read without going over those before for each', () => {
  const ids = Array.from({ length: 60_000 }, (_, index) => `call_${index}`);
  const request = decode({
    model: 'any',
    input: [
      ...ids.map((id) => ({ type: 'function_call', call_id: id, name: 'f', arguments: '{}' })),
      ...ids.map((id) => ({ type: 'function_call_output', call_id: id, output: 'done' })),
    ],
  }).request;
  expect(request.messages.map(({ role, parts }) => [role, parts.length])).toEqual([
    ['assistant', ids.length],
    ['tool', ids.length],
  ]);
});

it('metadata is refused by their number before they are looked at', () => {
  const metadata = Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 1]));
  expect(() => decode({ metadata })).toThrow('metadata: must have at most 16 pairs');
  expect(() => decode({ metadata: { k: 1 } })).toThrow('metadata.k: ');
});

it('a seed, which the dialect has not, is named and not passed on', () => {
  const { request, ignored } = decode({ seed: 'abc', presence_penalty: 0.5 });
  expect(request.sampling).toEqual({ presencePenalty: 0.5 });
  expect(ignored).toContain('seed');
});

it('a model that is no text is left to the decoder, which names the field', () => {
  const body = { model: { toString: 1, valueOf: 1 }, input: 'Hi' };
  expect(createResponsesInbound().readRelayed?.(body, JSON.stringify(body), {})).toBeUndefined();
});
