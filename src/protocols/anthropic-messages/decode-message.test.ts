import { describe, expect, it } from 'vitest';
import { atBareUpstream } from '../../core/testing/bare-upstream.ts';
import { pixel } from '../../core/testing/pixel.ts';
import { decodeMessagesRequest } from './decode-request.ts';
import { message } from './schema.ts';

const decodeAll = (...messages: unknown[]) =>
  atBareUpstream(decodeMessagesRequest({ model: 'm', max_tokens: 9, messages }));
const decode = (...messages: unknown[]) => decodeAll(...messages).request.messages;
const parts = (...content: unknown[]) => decode({ role: 'user', content })[0]?.parts;

function refusal(...messages: unknown[]): unknown {
  try {
    decode(...messages);
  } catch (error) {
    return error;
  }
  return undefined;
}

const user = { role: 'user', content: 'Hello' };
const calling = { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'read', input: {} }] };
const result = (...content: unknown[]) => ({
  role: 'user',
  content: [{ type: 'tool_result', tool_use_id: 't', content }],
});
const png = { type: 'image', source: { type: 'base64', media_type: 'image/PNG', data: pixel } };
const image = (param: string) => ({ type: 'image', mediaType: 'image/png', data: pixel, param });
const text = (value: string) => ({ type: 'text', text: value });
const cached = { cache_control: { type: 'ephemeral' } };

describe('what a user sends', () => {
  it('is a document of any number of parts', () => {
    const content = Array.from({ length: 200_000 }, () => text('x'));
    expect(parts({ type: 'document', source: { type: 'content', content } })?.length).toBe(200_000);
  });

  it('is documents as text, with what stands about them in front', () => {
    const plain = { type: 'text', media_type: 'text/plain', data: 'one' };
    expect(
      parts(
        {
          type: 'document',
          source: plain,
          title: 'a.txt',
          context: 'old',
          citations: { enabled: true },
          ...cached,
        },
        { type: 'document', source: { type: 'content', content: 'two' } },
        { type: 'document', title: 'c', source: { type: 'content', content: [text('three'), png] } },
        { type: 'document', source: { type: 'base64', data: Buffer.from('four').toString('base64') } },
      ),
    ).toEqual([
      { ...text('a.txt\n\nold\n\none'), cacheBreakpoint: {} },
      text('two'),
      text('c'),
      text('three'),
      image('messages.0.content.2.source.content.1.source.data'),
      text('four'),
    ]);
  });

  it('is search results as text, with their title and source', () => {
    const found = {
      type: 'search_result',
      title: 'Oslo',
      source: 'https://x',
      content: [text('a'), text('b')],
    };
    expect(parts(found)).toEqual([text('Oslo\nhttps://x\n\na\n\nb')]);
  });

  it('is a summary in place of what it sums up', () => {
    expect(parts({ type: 'compaction', content: 'They met.' }, text('And?'))).toEqual([
      text('The conversation so far, in short:\nThey met.'),
      text('And?'),
    ]);
    expect(
      refusal({ role: 'user', content: [{ type: 'compaction', encrypted_content: 'x' }] }),
    ).toMatchObject({
      param: 'messages.0.content.0',
    });
  });

  it.each([
    [{ source: { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0xLjc=' } }],
    [{ source: { type: 'url', url: 'https://x/a.pdf' } }],
    [{ source: { type: 'file', file_id: 'f' } }],
    [{ source: { type: 'text', data: '' } }],
  ])('is refused by its place where it is no text: %j', (document) => {
    const param = 'messages.0.content.0.source';
    expect(refusal({ role: 'user', content: [{ type: 'document', ...document }] })).toMatchObject({
      param,
    });
  });

  it.each([
    [[{ type: 'container_upload', file_id: 'f' }], 'messages.0.content.0'],
    [[{ type: 'video' }], 'messages.0.content.0.type'],
    [undefined, 'messages.0.content'],
    [[{ ...png, source: { type: 'file', file_id: 'f' } }], 'messages.0.content.0.source'],
  ])('is refused by its place: %j', (content, param) => {
    expect(refusal({ role: 'user', content })).toMatchObject({ code: 'invalid_request', param });
  });
});

describe('the result of a tool', () => {
  it('may hold text, images, documents, search results and tools that were found', () => {
    const sent = result(
      text('a'),
      png,
      { type: 'document', title: 'd', source: { type: 'text', data: 'b' } },
      { type: 'search_result', title: 's', source: 'x', content: [text('c')] },
      { type: 'tool_reference', tool_name: 'edit' },
    );
    expect(decode(user, calling, sent)[2]?.parts).toEqual([
      {
        type: 'tool-result',
        callId: 't',
        text: 'a\nd\n\nb\ns\nx\n\nc\nThe tool edit can be used now.',
        images: [image('messages.2.content.0.content.1.source.data')],
        isError: false,
      },
    ]);
  });

  it('without its call before it is refused by its place if it is new', () => {
    expect(refusal(user, result(text('a')))).toMatchObject({ param: 'messages.1.content.0.tool_use_id' });
    expect(refusal(result(text('a')))).toMatchObject({ param: 'messages.0.content.0.tool_use_id' });
  });

  it('that never comes is told to the model', () => {
    expect(decode(user, calling, user)[2]).toMatchObject({
      role: 'tool',
      parts: [{ callId: 't', isError: true }],
    });
  });
});

describe('an answer that comes back', () => {
  it('may hold thinking with any signature or none, and what nobody can read', () => {
    const content = [
      { type: 'thinking', thinking: 'hm', signature: 'another vendor’s' },
      { type: 'thinking', thinking: 'so' },
      { type: 'redacted_thinking', data: 'xyz' },
      { type: 'text', text: 'Hi', citations: null, ...cached },
    ];
    const { request, ignored } = decodeAll(user, { role: 'assistant', content }, user);
    expect(request.messages[1]?.parts).toEqual([
      { type: 'reasoning', text: 'hm' },
      { type: 'reasoning', text: 'so' },
      { ...text('Hi'), cacheBreakpoint: {} },
    ]);
    expect(ignored).toEqual([]);
  });

  it('may hold what the provider’s own tools left in it, which is named', () => {
    const content = [
      { type: 'server_tool_use', id: 's', name: 'web_search', input: {} },
      { type: 'web_search_tool_result', tool_use_id: 's', content: [] },
      { type: 'mcp_tool_listing', server_name: 'x', tools: [] },
      { type: 'text', text: 'Hi' },
    ];
    const { request, ignored } = decodeAll(user, { role: 'assistant', content }, user);
    expect(request.messages[1]?.parts).toEqual([text('Hi')]);
    expect(ignored).toEqual([
      'messages.content.server_tool_use',
      'messages.content.web_search_tool_result',
      'messages.content.mcp_tool_listing',
    ]);
  });
});

describe('a system message among the others', () => {
  const system = (more: object) => ({ role: 'system', content: [text('Be brief.')], ...more });

  it('keeps its place and its text', () => {
    expect(decode(user, system({}), user).map(({ role }) => role)).toEqual(['user', 'system', 'user']);
  });

  it('is gone with the next user message where the client says so', () => {
    const passing = system({ clear_at: 'next_user_message' });
    expect(decode(user, passing).map(({ role }) => role)).toEqual(['user', 'system']);
    expect(decode(user, passing, calling, result(text('x'))).map(({ role }) => role)).toEqual([
      'user',
      'assistant',
      'tool',
    ]);
  });

  it('may change the tools that are offered', () => {
    const change = (type: string, tool: object) => system({ content: [{ type, tool }] });
    const named = { type: 'tool_reference', name: 'edit' };
    const definition = { name: 'more', input_schema: { type: 'object' } };
    const tools = [{ name: 'read' }, { name: 'edit' }];
    const offered = (...messages: unknown[]) => {
      const { request, ignored } = decodeMessagesRequest({ model: 'm', max_tokens: 9, tools, messages });
      expect(ignored).toEqual([]);
      expect(request.messages).toHaveLength(1);
      return request.tools.map(({ name }) => name);
    };
    expect(offered(user, change('tool_removal', named))).toEqual(['read']);
    expect(offered(user, change('tool_removal', named), change('tool_addition', named))).toEqual([
      'read',
      'edit',
    ]);
    expect(offered(user, change('tool_addition', { type: 'tool_definition', definition }))).toEqual([
      'read',
      'edit',
      'more',
    ]);
    expect(
      refusal(user, change('tool_addition', { type: 'tool_definition', definition: { name: 'a b' } })),
    ).toMatchObject({ param: 'messages.1.content.0.tool.definition.name' });
  });

  it('name the servers whose tools are not available', () => {
    const tool = { type: 'mcp_toolset_reference', server_name: 'x' };
    const { ignored } = decodeAll(user, system({ content: [{ type: 'tool_addition', tool }] }));
    expect(ignored).toEqual(['messages.content.tool_addition']);
  });
});

it('arguments of a call keep every member they came with', () => {
  const input = JSON.parse('{"__proto__":{"a":1},"constructor":2}');
  const call = { type: 'tool_use', id: 'c', name: 'f', input };
  const [, answer] = decode(user, { role: 'assistant', content: [call] }, user);
  expect(answer?.parts).toMatchObject([{ arguments: '{"__proto__":{"a":1},"constructor":2}' }]);
});

it.each(['system', 'user', 'assistant'])(
  'follows the schema where it is one text of the %s, and is not checked',
  (role) => {
    const plain = { role, content: 'Hello' };
    expect(message.parse(plain)).toEqual(plain);
  },
);
