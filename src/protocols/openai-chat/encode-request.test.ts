import { expect, it } from 'vitest';
import type { Capabilities } from '../../core/capabilities.ts';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { Message, TurnRequest } from '../../core/turn.ts';
import { chatCapabilities } from './capabilities.ts';
import { encodeRequest } from './encode-request.ts';
import type { ChatVariant } from './outbound.ts';

const call = (id: string, args = '{"a":1}') =>
  ({ role: 'assistant', parts: [{ type: 'tool-call', id, name: 'f', arguments: args }] }) as const;
const result = (callId: string, text: string) =>
  ({ role: 'tool', parts: [{ type: 'tool-result', callId, text, isError: false }] }) as const;
const user = (text: string) => ({ role: 'user', parts: [{ type: 'text', text }] }) as const;

function bodyOf(native: Capabilities, more: Partial<TurnRequest>): Record<string, unknown> {
  const request: TurnRequest = {
    model: 'm',
    messages: [],
    tools: [],
    toolChoice: { type: 'auto' },
    parallelToolCalls: true,
    sampling: {},
    limits: {},
    responseFormat: { type: 'text' },
    reasoning: {},
    ...more,
  };
  return JSON.parse(encodeRequest({ request }, { maxTokensField: 'max_tokens' }, native));
}
const sent = (messages: readonly Message[]) =>
  bodyOf(new Set(), { messages })['messages'] as Record<string, unknown>[];
const shape = (messages: readonly Message[]) =>
  sent(messages).map(({ role, content, tool_call_id: id = '' }) => `${role} ${id || content}`.trim());

it('speaks of JSON where the client wants JSON and does not', () => {
  const first = (...messages: readonly Message[]) => {
    const body = bodyOf(chatCapabilities, { messages, responseFormat: { type: 'json' } });
    return (body['messages'] as readonly { readonly content: string }[])[0]?.content;
  };
  const rules = { role: 'system', parts: [{ type: 'text', text: 'Be brief.' }] } as const;
  expect(first(user('Name a city.'))).toBe('Answer with one JSON object.');
  expect(first(rules, user('Name a city.'))).toBe('Be brief.\n\nAnswer with one JSON object.');
  expect(first(user('Name a city, as Json.'))).toBe('Name a city, as Json.');
});

it('sends one message of the system, the first, but to servers that take more', () => {
  const rule = (text: string) => ({ role: 'system', parts: [{ type: 'text', text }] }) as const;
  const said = { role: 'assistant', parts: [{ type: 'text', text: 'a' }] } as const;
  const messages: Message[] = [rule('one'), rule('two'), user('q'), said, rule('three'), user('r')];
  expect(shape(messages)).toEqual(['system one\n\ntwo', 'user q', 'assistant a', 'user three', 'user r']);
  expect(shape([user('q'), rule('one'), user('r')])).toEqual(['user q', 'user one', 'user r']);
  expect(shape([rule('one'), rule('two')])).toEqual(['system one\n\ntwo']);
  const variant = { maxTokensField: 'max_tokens', takesLateRules: true } as const;
  const body = JSON.parse(encodeRequest({ request: { ...plainTurn, messages } }, variant, new Set()));
  expect(body.messages.map(({ role }: Message) => role)).toEqual(messages.map(({ role }) => role));
});

it('says in words that a call failed', () => {
  const failed: Message = {
    role: 'tool',
    parts: [{ type: 'tool-result', callId: 'a', text: 'no such file', isError: true }],
  };
  expect(sent([user('q'), call('a'), failed]).at(-1)).toEqual({
    role: 'tool',
    tool_call_id: 'a',
    content: 'Error: no such file',
  });
});

it('puts the result of a call right behind it', () => {
  expect(shape([user('q'), call('a'), user('wait'), result('a', 'A'), user('go on')])).toEqual([
    'user q',
    'assistant null',
    'tool a',
    'user wait',
    'user go on',
  ]);
  expect(shape([call('a'), call('b'), result('b', 'B'), result('a', 'A')])).toEqual([
    'assistant null',
    'tool a',
    'assistant null',
    'tool b',
  ]);
});

it('gives calls of other models ids that the vendor takes', () => {
  const messages: Message[] = [
    call('toolu_01ABC'),
    result('toolu_01ABC', 'A'),
    call('abcDEF123'),
    result('abcDEF123', 'B'),
  ];
  const variant = { maxTokensField: 'max_tokens', callIds: /^[A-Za-z0-9]{9}$/ } as const;
  const body = JSON.parse(encodeRequest({ request: { ...plainTurn, messages } }, variant, new Set()));
  const [asked, answered, ...own] = body.messages.map(
    (message: { tool_calls?: [{ id: string }]; tool_call_id?: string }) =>
      message.tool_calls?.[0].id ?? message.tool_call_id,
  );
  expect(asked).toMatch(/^[A-Za-z0-9]{9}$/);
  expect(answered).toBe(asked);
  expect(own).toEqual(['abcDEF123', 'abcDEF123']);
});

it('keeps the words before a call and after it apart', () => {
  const said = (text: string) => ({ type: 'text', text }) as const;
  const content = (...parts: Extract<Message, { role: 'assistant' }>['parts']) =>
    sent([{ role: 'assistant', parts }, result('a', 'A')])[0]?.['content'];
  const [called] = call('a').parts;
  expect(content(said('I look.'), called, said('Then I read.'))).toBe('I look.\n\nThen I read.');
  expect(content(said('I look.\n'), called, said('Then I read.'))).toBe('I look.\nThen I read.');
  expect(content(said('I look.'), called, said(' Then I read.'))).toBe('I look. Then I read.');
  expect(content(called, said('Then I read.'))).toBe('Then I read.');
  // Citations split sentences.
  expect(content(said('It is 20'), said(' degrees.'), called)).toBe('It is 20 degrees.');
  expect(content(said('Rea'), said('dy.'), called)).toBe('Ready.');
});

it('tells calls apart whose ids come again', () => {
  const messages = sent([call('a'), result('a', 'first'), call('a'), user('wait'), result('a', 'second')]);
  expect(messages.map(({ content }) => content)).toEqual([null, 'first', null, 'second', 'wait']);
});

it('a call without arguments has an empty object', () => {
  expect(sent([call('a', ''), result('a', 'A')])[0]).toMatchObject({
    tool_calls: [{ id: 'a', function: { name: 'f', arguments: '{}' } }],
  });
});

it.each([
  { type: 'json' } as const,
  { type: 'json-schema', schema: { type: 'object' }, param: 'x' } as const,
])('sends no field that the server lacks: %j', (responseFormat) => {
  const wishes: Partial<TurnRequest> = {
    tools: [{ name: 'f', parameters: {} }],
    toolChoice: { type: 'required' },
    parallelToolCalls: false,
    sampling: { temperature: 0, topP: 0, seed: 1, presencePenalty: 1, frequencyPenalty: 1 },
    limits: { maxOutputTokens: 9 },
    reasoning: { effort: 'high' },
    responseFormat,
  };
  const plain = ['messages', 'model', 'stream', 'stream_options', 'tools'];
  expect(Object.keys(bodyOf(new Set(), wishes)).sort()).toEqual(plain);
  const all = Object.keys(bodyOf(chatCapabilities, wishes));
  expect(all.filter((name) => !plain.includes(name)).sort()).toEqual([
    'frequency_penalty',
    'max_tokens',
    'parallel_tool_calls',
    'presence_penalty',
    'reasoning_effort',
    'response_format',
    'seed',
    'temperature',
    'tool_choice',
    'top_p',
  ]);
});

it('marks for caches are in the word of the vendor, with a lifetime it has, and left out where there are none', () => {
  const marked = (ttlSeconds?: number): Message => ({
    role: 'user',
    parts: [
      { type: 'text', text: 'a', cacheBreakpoint: ttlSeconds === undefined ? {} : { ttlSeconds } },
      { type: 'image', mediaType: 'image/png', data: 'AA==' },
    ],
  });
  const markOf = (
    ttlSeconds: number | undefined,
    variant: Partial<ChatVariant>,
    native = chatCapabilities,
  ) => {
    const request = { ...plainTurn, messages: [marked(ttlSeconds)] };
    const body = JSON.parse(encodeRequest({ request }, { maxTokensField: 'max_tokens', ...variant }, native));
    const { type: _type, text: _text, ...mark } = body.messages[0].content[0];
    return mark;
  };
  const explicit = { mode: 'explicit' };
  expect(markOf(undefined, {})).toEqual({ prompt_cache_breakpoint: explicit });
  expect(markOf(3_600, {})).toEqual({ prompt_cache_breakpoint: explicit });
  expect(markOf(43_200, {})).toEqual({ prompt_cache_breakpoint: { ...explicit, ttl: '12h' } });
  const anthropics = { cacheMarkField: 'cache_control' } as const;
  expect(markOf(300, anthropics)).toEqual({ cache_control: { type: 'ephemeral' } });
  expect(markOf(1_800, anthropics)).toEqual({ cache_control: { type: 'ephemeral', ttl: '1h' } });
  expect(markOf(300, {}, new Set())).toEqual({});
});

it('a mark is on the last of what a call showed, and never on an empty text', () => {
  const image = { type: 'image', mediaType: 'image/png', data: 'AA==' } as const;
  const cacheBreakpoint = {};
  const showed = { type: 'tool-result', callId: 'a', text: '', isError: false, cacheBreakpoint } as const;
  const messages: Message[] = [
    { role: 'user', parts: [{ type: 'text', text: '', cacheBreakpoint }] },
    call('a'),
    { role: 'tool', parts: [{ ...showed, images: [image, image] }] },
  ];
  const body = bodyOf(new Set(['cacheBreakpoints']), { messages });
  const mark = { prompt_cache_breakpoint: { mode: 'explicit' } };
  const url = { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } };
  expect(body['messages']).toEqual([
    { role: 'user', content: '' },
    expect.objectContaining({ role: 'assistant' }),
    { role: 'tool', tool_call_id: 'a', content: '' },
    { role: 'user', content: [{ type: 'text', text: 'What the call a showed:' }, url, { ...url, ...mark }] },
  ]);
});
