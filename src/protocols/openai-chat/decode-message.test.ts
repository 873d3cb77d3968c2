import { describe, expect, it } from 'vitest';
import { atBareUpstream } from '../../core/testing/bare-upstream.ts';
import { pixel } from '../../core/testing/pixel.ts';
import { decodeChatRequest } from './decode-request.ts';
import { message } from './schema.ts';

const decode = (...messages: unknown[]) =>
  atBareUpstream(decodeChatRequest({ model: 'm', messages })).request.messages;
const png = { type: 'image', mediaType: 'image/png', data: pixel };
const base64 = (text: string) => Buffer.from(text).toString('base64');

function refusal(...messages: unknown[]): unknown {
  try {
    decode(...messages);
  } catch (error) {
    return error;
  }
  return undefined;
}

const user = { role: 'user', content: 'Hello' };
const calling = {
  role: 'assistant',
  content: null,
  tool_calls: [{ id: 'c1', type: 'function', function: { name: 'read', arguments: '{}' } }],
};
const call = { type: 'tool-call', id: 'c1', name: 'read', arguments: '{}' };

describe('an answer that comes back', () => {
  it('may hold everything an answer was given with', () => {
    const echoed = { ...calling, refusal: null, annotations: [], audio: null, function_call: null };
    expect(decode(user, echoed, { role: 'tool', tool_call_id: 'c1', content: 'x' })[1]).toEqual({
      role: 'assistant',
      parts: [call],
    });
  });

  it('is the refusal where there is no other text', () => {
    const refused = { role: 'assistant', content: null, refusal: 'I will not.' };
    expect(decode(user, refused, user)[1]?.parts).toEqual([{ type: 'refusal', text: 'I will not.' }]);
    const parts = { role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] };
    expect(decode(user, parts, user)[1]?.parts).toEqual([{ type: 'refusal', text: 'No.' }]);
    const both = { role: 'assistant', content: 'Yes.', refusal: 'No.' };
    expect(decode(user, both, user)[1]?.parts).toEqual([{ type: 'text', text: 'Yes.' }]);
  });

  it.each([
    [{ reasoning_content: 'hm' }],
    [{ reasoning: 'hm' }],
    [
      {
        reasoning_details: [
          { type: 'reasoning.text', text: 'h' },
          { type: 'reasoning.summary', summary: 'm' },
        ],
      },
    ],
  ])('keeps its reasoning apart: %j', (reasoning) => {
    expect(decode(user, { role: 'assistant', content: 'Hi', ...reasoning }, user)[1]?.parts).toEqual([
      { type: 'reasoning', text: 'hm' },
      { type: 'text', text: 'Hi' },
    ]);
  });

  it('may hold reasoning that only its maker can read', () => {
    const sealed = { reasoning_details: [{ type: 'reasoning.encrypted', data: 'xyz' }] };
    expect(decode(user, { role: 'assistant', content: 'Hi', ...sealed }, user)[1]?.parts).toEqual([
      { type: 'text', text: 'Hi' },
    ]);
  });

  it('holds calls of custom tools as calls with one argument', () => {
    const custom = {
      role: 'assistant',
      tool_calls: [{ id: 'c1', type: 'custom', custom: { name: 'patch', input: 'a "b"' } }],
    };
    expect(decode(user, custom, { role: 'tool', tool_call_id: 'c1', content: 'ok' })[1]?.parts).toEqual([
      { type: 'tool-call', id: 'c1', name: 'patch', arguments: '{"input":"a \\"b\\""}' },
    ]);
  });
});

describe('what a user sends', () => {
  const parts = (...content: unknown[]) => decode({ role: 'user', content })[0]?.parts;

  it('is text, images and files in their order', () => {
    const file_data = `data:text/markdown;charset=utf-8;base64,${base64('# Größe')}`;
    expect(
      parts(
        { type: 'text', text: 'See' },
        { type: 'image_url', image_url: { url: `data:image/PNG;base64,${pixel}`, detail: 'high' } },
        { type: 'file', file: { file_data, filename: 'a.md' } },
        { type: 'file', file: { file_data: base64('bare') } },
        { type: 'file', file: { file_data: `data:image/png;base64,${pixel}`, filename: 'a.png' } },
      ),
    ).toEqual([
      { type: 'text', text: 'See' },
      { ...png, param: 'messages.0.content.1.image_url.url' },
      { type: 'text', text: 'a.md\n\n# Größe' },
      { type: 'text', text: 'bare' },
      { ...png, param: 'messages.0.content.4.file.file_data' },
    ]);
  });

  it('shows who speaks', () => {
    expect(decode({ ...user, name: 'Ada' })[0]?.parts).toEqual([{ type: 'text', text: 'Ada: Hello' }]);
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } };
    expect(decode({ role: 'user', name: 'Ada', content: [image] })[0]?.parts[0]).toEqual({
      type: 'text',
      text: 'Ada:',
    });
  });

  it.each([
    [{ type: 'file', file: { file_id: 'file-1' } }, 'messages.0.content.0.file'],
    [{ type: 'file', file: { file_data: base64('%PDF-1.7 x') } }, 'messages.0.content.0.file.file_data'],
    [
      { type: 'file', file: { file_data: `data:application/pdf;base64,${base64('\xff\xfe')}AP8=` } },
      'messages.0.content.0.file.file_data',
    ],
    [
      { type: 'file', file: { file_data: Buffer.from([1, 0, 2]).toString('base64') } },
      'messages.0.content.0.file.file_data',
    ],
    [
      { type: 'file', file: { file_data: Buffer.from([0xff, 0xfe]).toString('base64') } },
      'messages.0.content.0.file.file_data',
    ],
    [{ type: 'file', file: { file_data: 'not base64!' } }, 'messages.0.content.0.file.file_data'],
    [{ type: 'image_url', image_url: { url: 'ftp://x/y.png' } }, 'messages.0.content.0.image_url.url'],
    [{ type: 'image_url' }, 'messages.0.content.0.image_url'],
    [{ type: 'video_url' }, 'messages.0.content.0.type'],
    [{ text: 'no type' }, 'messages.0.content.0.type'],
    [5, 'messages.0.content.0'],
  ])('is refused by its place where it cannot be sent: %j', (part, param) => {
    expect(refusal({ role: 'user', content: [part] })).toMatchObject({ code: 'invalid_request', param });
  });

  it.each([[undefined], [5], [{ text: 'x' }]])('has to be text or a list: %j', (content) => {
    expect(refusal({ role: 'user', content })).toMatchObject({
      param: 'messages.0.content',
      message: expect.stringContaining('send a string or a list'),
    });
  });
});

it('calls and results in the form before there were tools are read as calls and results', () => {
  const messages = decode(
    user,
    { role: 'assistant', content: null, function_call: { name: 'read', arguments: '{"a":1}' } },
    { role: 'function', name: 'read', content: 'x' },
    user,
  );
  expect(messages.slice(1, 3)).toMatchObject([
    { role: 'assistant', parts: [{ id: 'made_call_1', name: 'read', arguments: '{"a":1}' }] },
    { role: 'tool', parts: [{ callId: 'made_call_1', text: 'x' }] },
  ]);
});

describe('the result of a tool', () => {
  it('may come as a list of parts, with images, and with a name nobody needs', () => {
    const content = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
      { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } },
    ];
    expect(decode(user, calling, { role: 'tool', tool_call_id: 'c1', name: 'read', content })[2]).toEqual({
      role: 'tool',
      parts: [
        {
          type: 'tool-result',
          callId: 'c1',
          text: 'a\nb',
          images: [{ ...png, param: 'messages.2.content.2.image_url.url' }],
          isError: false,
        },
      ],
    });
  });

  it('may be empty', () => {
    const empty = decode(user, calling, { role: 'tool', tool_call_id: 'c1', content: null });
    expect(empty[2]?.parts).toMatchObject([{ text: '' }]);
  });

  it('without its call before it is refused by its place if it is new', () => {
    const orphan = { role: 'tool', tool_call_id: 'c2', content: 'x' };
    expect(refusal(user, calling, orphan)).toMatchObject({ param: 'messages.2.tool_call_id' });
    expect(refusal(orphan)).toMatchObject({ param: 'messages.0.tool_call_id' });
  });

  it('that never comes is told to the model', () => {
    const [, , result, next] = decode(user, calling, { role: 'user', content: 'Stop that.' });
    expect(result).toMatchObject({ role: 'tool', parts: [{ callId: 'c1', isError: true }] });
    expect(next?.role).toBe('user');
  });
});

it.each(['system', 'user', 'assistant'])(
  'follows the schema where it is one text of the %s, and is not checked',
  (role) => {
    const plain = { role, content: 'Hello' };
    expect(message.parse(plain)).toEqual(plain);
  },
);

it('is read by the schema where it has more than a text', () => {
  const odd = { role: 'assistant', content: 'Hi', tool_calls: 'none' };
  expect(decode(user, odd, user)[1]).toEqual({ role: 'assistant', parts: [{ type: 'text', text: 'Hi' }] });
});
