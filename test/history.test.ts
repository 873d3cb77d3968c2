import Anthropic from '@anthropic-ai/sdk';
import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { AppError } from '../src/core/errors.ts';
import { atBareUpstream } from '../src/core/testing/bare-upstream.ts';
import { pixel } from '../src/core/testing/pixel.ts';
import { anthropicMessagesInbound } from '../src/protocols/anthropic-messages/inbound.ts';
import { createGeminiInbound } from '../src/protocols/gemini/inbound.ts';
import { openaiChatInbound } from '../src/protocols/openai-chat/inbound.ts';
import { createResponsesInbound } from '../src/protocols/openai-responses/inbound.ts';
import { startTestServices, type TestServices } from './support/services.ts';
import type { Dialect } from './support/stream-grammar.ts';

// Content that cannot be shown to the model: what becomes of it where it is new, in a tool's result, and in the history.

const pdf = Buffer.from('%PDF-1.7 \xff\0 x', 'latin1').toString('base64');
const bmp = Buffer.from('BM\x36\0\0\0', 'latin1').toString('base64');
const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>').toString('base64');
const dataUrl = (type: string, data: string) => `data:${type};base64,${data}`;
const chatImage = (url: string) => ({ type: 'image_url', image_url: { url } });
const item = (image_url: string) => ({ type: 'input_image', image_url });
const image = (media_type: string, data: string) => ({
  type: 'image',
  source: { type: 'base64', media_type, data },
});

const inline = (mimeType: string, data: string) => ({ inlineData: { mimeType, data } });

const bad: Record<Dialect, Record<string, unknown>> = {
  chat: {
    'a PDF': { type: 'file', file: { file_data: dataUrl('application/pdf', pdf), filename: 'a.pdf' } },
    'a file by its id': { type: 'file', file: { file_id: 'file-1' } },
    audio: { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
    video: { type: 'video_url', video_url: { url: 'https://x/a.mp4' } },
    'an empty image': chatImage('data:image/png;base64,'),
    'an image that is no base64': chatImage('data:image/png;base64,???'),
    'a BMP': chatImage(dataUrl('image/png', bmp)),
    'an SVG': chatImage(dataUrl('image/svg+xml', svg)),
    'a page of text as an image': chatImage('data:text/plain,Hello'),
    'an address of another kind': chatImage('file:///tmp/a.png'),
    'an image without its address': { type: 'image_url' },
    'a part without a type': { foo: 'bar' },
    null: null,
  },
  responses: {
    'a PDF': { type: 'input_file', file_data: dataUrl('application/pdf', pdf), filename: 'a.pdf' },
    'a file by its id': { type: 'input_file', file_id: 'file-1' },
    'an image by its id': { type: 'input_image', file_id: 'file-1' },
    audio: { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
    'an empty image': item('data:image/png;base64,'),
    'an image that is no base64': item('data:image/png;base64,???'),
    'a BMP': item(dataUrl('image/png', bmp)),
    'an SVG': item(dataUrl('image/svg+xml', svg)),
    'an address of another kind': item('ftp://x/a.png'),
    'an unknown part': { type: 'nonsense' },
    null: null,
  },
  messages: {
    'a PDF': { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: pdf } },
    'a document by its address': { type: 'document', source: { type: 'url', url: 'https://x/a.pdf' } },
    'a document by its id': { type: 'document', source: { type: 'file', file_id: 'f' } },
    'an upload': { type: 'container_upload', file_id: 'f' },
    'an empty image': image('image/png', ''),
    'an image that is no base64': image('image/png', '???'),
    'a BMP': image('image/bmp', bmp),
    'an SVG': image('image/svg+xml', svg),
    'an image by its id': { type: 'image', source: { type: 'file', file_id: 'f' } },
    'an odd search result': { type: 'search_result', content: 5 },
    'a sealed summary': { type: 'compaction', encrypted_content: 'x' },
    'an unknown block': { type: 'video' },
    null: null,
  },
  gemini: {
    'a PDF': inline('application/pdf', pdf),
    'a document by its address': { fileData: { mimeType: 'application/pdf', fileUri: 'https://x/a.pdf' } },
    audio: inline('audio/wav', 'AAAA'),
    'an empty image': inline('image/png', ''),
    'an image that is no base64': inline('image/png', '???'),
    'a BMP': inline('image/bmp', bmp),
    'an SVG': inline('image/svg+xml', svg),
    'an address of another kind': { fileData: { mimeType: 'image/png', fileUri: 'gs://x/a.png' } },
    'an unknown part': { foo: 'bar' },
    null: null,
  },
};

const decoders: Record<
  Dialect,
  (messages: readonly unknown[]) => ReturnType<typeof openaiChatInbound.decode>
> = {
  chat: (messages) => openaiChatInbound.decode({ model: 'm', messages }) as never,
  responses: (input) => createResponsesInbound().decode({ model: 'm', input }) as never,
  messages: (messages) => anthropicMessagesInbound.decode({ model: 'm', max_tokens: 9, messages }) as never,
  gemini: (messages) =>
    createGeminiInbound({ model: 'm', answer: 'whole' }).decode({
      contents: messages.map(contentOf),
    }) as never,
};

/** What `said` made, as Gemini has it. */
function contentOf(message: unknown): unknown {
  const { role, content, ...rest } = message as { role: string; content?: unknown };
  const parts = typeof content === 'string' ? [{ text: content }] : content;
  return {
    role: role === 'assistant' ? 'model' : role,
    ...(content === undefined ? {} : { parts }),
    ...rest,
  };
}
const places: Record<Dialect, readonly [list: string, content: string]> = {
  chat: ['messages', 'content'],
  responses: ['input', 'content'],
  messages: ['messages', 'content'],
  gemini: ['contents', 'parts'],
};

const calling: Record<Dialect, unknown> = {
  chat: {
    role: 'assistant',
    tool_calls: [{ id: 'c', type: 'function', function: { name: 'read', arguments: '{"a"' } }],
  },
  responses: { type: 'function_call', call_id: 'c', name: 'read', arguments: '{"a"' },
  messages: { role: 'assistant', content: [{ type: 'tool_use', id: 'c', name: 'read', input: {} }] },
  gemini: { role: 'model', parts: [{ functionCall: { id: 'c', name: 'read', args: {} } }] },
};
const resultOf: Record<Dialect, (part: unknown) => unknown> = {
  chat: (part) => ({ role: 'tool', tool_call_id: 'c', content: [part] }),
  responses: (part) => ({ type: 'function_call_output', call_id: 'c', output: [part] }),
  messages: (part) => ({
    role: 'user',
    content: [{ type: 'tool_result', tool_use_id: 'c', content: [part] }],
  }),
  gemini: (part) => ({
    role: 'user',
    parts: [{ functionResponse: { id: 'c', name: 'read', response: {}, parts: [part] } }],
  }),
};
const said = (role: string, content: unknown) => ({ role, content });

describe.each(Object.keys(bad) as Dialect[])('in %s', (dialect) => {
  const decode = (messages: readonly unknown[]) => atBareUpstream(decoders[dialect](messages));
  const [field, inner] = places[dialect];
  const user = (part: unknown) => said('user', [part]);

  describe.each(Object.entries(bad[dialect]))('%s', (_name, part) => {
    it('is refused by its place where the user has just sent it', () => {
      for (const before of [[], [said('user', 'Hi'), said('assistant', 'Hello')]]) {
        let refusal: unknown;
        try {
          decode([...before, user(part)]);
        } catch (error) {
          refusal = error;
        }
        expect(refusal).toBeInstanceOf(AppError);
        const place = `${field}.${before.length}.${inner}.0`;
        expect(refusal).toMatchObject({ code: 'invalid_request', param: expect.stringContaining(place) });
        expect((refusal as AppError).message).toContain(place);
      }
    });

    it.each([
      ['earlier', [user(part), said('assistant', 'No.'), said('user', 'Go on')]],
      ['earlier and unanswered', [user(part), said('user', 'Go on')]],
      ['the result of a tool', [said('user', 'Go'), calling[dialect], resultOf[dialect](part)]],
      [
        'beside the result of a tool',
        [said('user', 'Go'), calling[dialect], resultOf[dialect]('x'), user(part)],
      ],
    ])('is a note where it is %s', (_where, messages) => {
      const decoded = decode(messages);
      expect(JSON.stringify(decoded.request.messages)).toContain('[Not shown: ');
      expect(decoded.ignored).toHaveLength(1);
      expect(decoded.ignored[0]).toMatch(new RegExp(`^${field}\\.(content|output|parts)`));
      // The same with every turn, or the conversation would not be known again.
      const later = decode([...messages, said('assistant', 'Yes.'), said('user', 'More')]);
      expect(later.request.messages.slice(0, decoded.request.messages.length)).toEqual(
        decoded.request.messages,
      );
    });
  });

  it.each([
    ['a wrong type', dataUrl('image/jpg', pixel)],
    ['no image by its type', dataUrl('application/octet-stream', pixel)],
    ['no type', `data:;base64,${pixel}`],
    ['parameters', `data:image/png;name="a";charset=utf-8;base64,${pixel}`],
    ['capitals', `DATA:Image/PNG;BASE64,${pixel}`],
    ['line ends', dataUrl('image/png', pixel.replace(/.{20}/g, '$&\r\n '))],
    ['the URL-safe alphabet', dataUrl('image/png', pixel.replaceAll('+', '-').replaceAll('/', '_'))],
    ['no padding', dataUrl('image/png', pixel.replace(/=+$/, ''))],
    ['percent-encoding', dataUrl('image/png', encodeURIComponent(pixel))],
    [
      'no base64',
      `data:image/png,${[...Buffer.from(pixel, 'base64')].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')}`,
    ],
  ])('a data URL with %s is an image by its bytes', (_name, url) => {
    const part = {
      chat: chatImage(url),
      responses: item(url),
      messages: image('image/png', url),
      gemini: inline('image/png', url),
    }[dialect];
    expect(decode([user(part)]).request.messages[0]?.parts).toMatchObject([
      { type: 'image', mediaType: 'image/png', data: pixel },
    ]);
  });

  it.each([
    ['empty', ''],
    ['white space', ' \n'],
    ['no parts', []],
    ['null', null],
  ])('a message of the user that is %s is taken', (_name, content) => {
    expect(decode([said('user', content)]).request.messages).toMatchObject([{ role: 'user' }]);
  });

  it('an odd history is taken', () => {
    const odd: Record<Dialect, unknown[]> = {
      chat: [
        { role: 'robot', content: 'Hi' },
        { role: 'assistant', content: 5 },
        { role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: { a: 1 } } }, 7] },
        { role: 'tool', content: { a: 1 } },
        { role: 'tool', tool_call_id: 'gone', content: 'x' },
        { role: 'user', name: 5 },
        { role: 'assistant', audio: { id: 'a' } },
      ],
      responses: [
        { role: 'robot', content: 'Hi' },
        { type: 'function_call', name: 'f', arguments: { a: 1 } },
        { type: 'function_call_output', output: { a: 1 } },
        { type: 'function_call_output', call_id: 'gone', output: 'x' },
        { type: 'function_call' },
        { type: 'agent_message', text: 'x' },
        { type: 'reasoning', summary: 5 },
        { type: 'compaction', encrypted_content: 'gAAAA' },
        { type: 'item_reference', id: 'msg_gone' },
        { role: 'assistant', content: null },
      ],
      messages: [
        { role: 'robot', content: 'Hi' },
        {
          role: 'assistant',
          content: [{ type: 'tool_use', name: 'f', input: 'x' }, { type: 'thinking' }, 5],
        },
        { role: 'user', content: [{ type: 'tool_result', content: { a: 1 } }] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'gone', content: 'x' }] },
        { role: 'assistant', content: [] },
      ],
      gemini: [
        { role: 'robot', parts: [{ text: 'Hi' }] },
        { role: 'model', parts: [{ functionCall: { name: 'f', args: 'x' } }, { thought: true }, 5] },
        { role: 'user', parts: [{ functionResponse: { name: 'f', response: { a: 1 } } }] },
        { role: 'function', parts: [{ functionResponse: { id: 'gone', name: 'g', response: { b: 1 } } }] },
        { role: 'model', parts: [] },
      ],
    };
    const { request } = decode([...odd[dialect], said('assistant', 'Hm.'), said('user', 'Go on')]);
    expect(request.messages.at(-1)).toMatchObject({ role: 'user', parts: [{ text: 'Go on' }] });
    const calls = request.messages.flatMap(({ parts }) => parts as readonly { type: string; id?: string }[]);
    const count = { chat: 1, responses: 2, messages: 1, gemini: 1 }[dialect];
    expect(calls.filter(({ type }) => type === 'tool-call')).toHaveLength(count);
    expect(JSON.stringify(request.messages)).toContain('{\\"a\\":1}');
  });
});

const hello = [said('user', 'Hi'), said('assistant', 'Hello')];

describe('what cannot be read is refused where there is no other new input', () => {
  const unknown = [{ type: 'nonsense' }];
  const cases: Record<Dialect, Record<string, unknown>> = {
    chat: {
      'a message of an unknown role': said('critic', 'x'),
      'instructions with an unknown part': said('system', unknown),
      'the beginning of an answer with an unknown part': said('assistant', unknown),
    },
    responses: {
      'a message of a role that only another dialect has': said('tool', 'x'),
      'instructions with an unknown part': said('developer', unknown),
      'the beginning of an answer with an unknown part': said('assistant', unknown),
      'a search that a provider ran': { type: 'tool_search_call', arguments: {}, execution: 'server' },
      'a program that a provider runs': { type: 'program', code: 'x' },
    },
    messages: {
      'a message of an unknown role': said('critic', 'x'),
      'a message of an unknown role that holds a result': said('critic', [
        { type: 'tool_result', tool_use_id: 'c' },
      ]),
      'instructions with an unknown part': said('system', unknown),
      'the beginning of an answer with an unknown part': said('assistant', unknown),
    },
    gemini: {
      'a content of an unknown role': said('critic', 'x'),
      'a content of a role that only another dialect has': said('system', 'x'),
      'the beginning of an answer with an unknown part': said('assistant', unknown),
    },
  };
  it.each(
    (Object.keys(cases) as Dialect[]).flatMap((dialect) =>
      Object.entries(cases[dialect]).map(([name, message]) => [dialect, name, message] as const),
    ),
  )('%s: %s', (dialect, _name, message) => {
    const [field] = places[dialect];
    expect(() => decoders[dialect]([...hello, message])).toThrow(`${field}.2`);
  });
});

it.each(['chat', 'responses', 'messages', 'gemini'] as const)(
  '%s: a call without a name may be answered',
  (dialect) => {
    const unnamed: Record<Dialect, unknown> = {
      chat: said('assistant', null),
      responses: { type: 'function_call', call_id: 'c', name: '', arguments: '{}' },
      messages: said('assistant', [{ type: 'tool_use', id: 'c', name: '' }]),
      gemini: said('assistant', [{ functionCall: { id: 'c' } }]),
    };
    Object.assign(unnamed.chat as object, { tool_calls: [{ id: 'c', type: 'function', function: {} }] });
    const messages = [
      said('user', 'Hi'),
      unnamed[dialect],
      dialect === 'gemini'
        ? said('user', [{ functionResponse: { id: 'c', response: { output: 'no such tool' } } }])
        : resultOf[dialect]({ type: 'text', text: 'no such tool' }),
    ];
    const { request } = decoders[dialect](messages);
    expect(request.messages.slice(1)).toMatchObject([
      { role: 'assistant', parts: [{ type: 'tool-call', id: 'c', name: 'unnamed' }] },
      { role: 'tool', parts: [{ callId: 'c', text: 'no such tool' }] },
    ]);
  },
);

describe('with the official clients a conversation goes on', () => {
  let services: TestServices;
  beforeAll(async () => {
    services = await startTestServices();
    await services.addAccount('wk-1.good');
  });
  afterAll(() => services.close());

  const refused = { status: 400 };
  const ignoredOf = (response: Response) => response.headers.get('x-warp2api-ignored');

  test('of Chat Completions', async () => {
    const { completions } = services.openai().chat;
    const ask = (messages: unknown[]) =>
      completions
        .create({ model: 'sandbox', messages: messages as OpenAI.ChatCompletionMessageParam[] })
        .withResponse();
    const sent = said('user', [bad.chat['a PDF']]);
    await expect(ask([sent])).rejects.toMatchObject({
      ...refused,
      param: 'messages.0.content.0.file.file_data',
    });
    const history: unknown[] = [sent, said('user', 'Without it, then.')];
    for (const _turn of [1, 2]) {
      const { data, response } = await ask(history);
      expect(ignoredOf(response)).toBe('messages.content.file');
      history.push(data.choices[0]?.message, said('user', 'And now?'));
    }
    const turns = services.upstream.turns.slice(-2);
    expect(turns.map(({ problems }) => problems)).toEqual([[], []]);
    expect(services.log()).toContain('"conversation":"hit"');
  });

  test('of Responses', async () => {
    const { responses } = services.openai();
    const ask = (input: unknown[]) =>
      responses.create({ model: 'sandbox', input: input as never, store: false }).withResponse();
    await expect(ask([said('user', [bad.responses['an empty image']])])).rejects.toMatchObject({
      ...refused,
      param: 'input.0.content.0.image_url',
    });
    const input: unknown[] = [
      said('user', 'Go'),
      calling.responses,
      resultOf.responses(bad.responses['a BMP']),
    ];
    for (const _turn of [1, 2]) {
      const { data, response } = await ask(input);
      expect(ignoredOf(response)).toBe('input.output.input_image');
      expect(data.output_text).not.toBe('');
      input.push(...data.output, said('user', 'And now?'));
    }
  });

  test('of Messages', async () => {
    const anthropic = new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
    const ask = (messages: unknown[]) =>
      anthropic.messages
        .create({ model: 'sandbox', max_tokens: 999, messages: messages as Anthropic.MessageParam[] })
        .withResponse();
    await expect(ask([said('user', [bad.messages['a PDF']])])).rejects.toThrow(
      /messages\.0\.content\.0\.source: is a PDF/,
    );
    const large = image('image/png', pixel.replace(/=+$/, '') + 'A'.repeat(5_200_000));
    await expect(ask([said('user', [large])])).rejects.toThrow(
      /messages\.0\.content\.0\.source\.data: has 3\.9 MB/,
    );
    const history: unknown[] = [said('user', 'Go'), calling.messages, resultOf.messages(large)];
    for (const _turn of [1, 2]) {
      const { data, response } = await ask(history);
      expect(response.status).toBe(200);
      history.push(said('assistant', data.content), said('user', [{ type: 'text', text: 'And now?' }]));
    }
  });

  test('of instructions alone, of nothing and of empty words', async () => {
    const anthropic = new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
    const { chat, responses } = services.openai();
    const ask = (role: 'system' | 'developer' | 'user', content: string) =>
      chat.completions.create({ model: 'sandbox', messages: [{ role, content }] });
    for (const answer of [
      await ask('system', 'Be brief.'),
      await ask('developer', 'Be brief.'),
      await ask('user', ''),
    ])
      expect(answer.choices[0]?.message.content).not.toBe('');
    const empty = [
      { input: '' },
      { input: [], instructions: 'Be brief.' },
      { input: [{ role: 'developer' as const, content: 'Be brief.' }] },
    ];
    for (const body of empty)
      expect((await responses.create({ model: 'sandbox', ...body })).output_text).not.toBe('');
    const answer = await anthropic.messages.create({
      model: 'sandbox',
      max_tokens: 99,
      system: 'Be brief.',
      messages: [{ role: 'user', content: ' ' }],
    });
    expect(answer.content).not.toEqual([]);
    await expect(responses.create({ model: 'sandbox', input: [] })).rejects.toMatchObject({
      ...refused,
      param: 'input',
    });
  });

  test('of a schema with a pattern of another dialect, which is named', async () => {
    const schema = {
      type: 'object',
      properties: { a: { type: 'string', pattern: '(?i)^x' } },
      required: ['a'],
    };
    const ask = (content: string) =>
      services.chat({
        model: 'sandbox-echo',
        messages: [said('user', content)],
        response_format: { type: 'json_schema', json_schema: { name: 'a', schema } },
      });
    const good = await ask('{"a":"y"}');
    expect([good.status, ignoredOf(good)]).toEqual([200, 'response_format.json_schema.schema.pattern']);
    expect((await ask('{"a":5}')).status).toBe(502);
  });
});
