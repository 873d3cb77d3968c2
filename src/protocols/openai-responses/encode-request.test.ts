import { expect, it } from 'vitest';
import type { OutboundTurn } from '../../core/protocol.ts';
import { pixel } from '../../core/testing/pixel.ts';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { Message, ReasoningPart, TurnRequest } from '../../core/turn.ts';
import { encodeRequest } from './encode-request.ts';
import { responsesCapabilities } from './outbound.ts';

function bodyOf(
  more: Partial<TurnRequest>,
  native = responsesCapabilities,
  turn: Partial<OutboundTurn> = {},
): Record<string, unknown> {
  return JSON.parse(encodeRequest({ request: { ...plainTurn, messages: [], ...more }, ...turn }, native));
}
const inputOf = (messages: readonly Message[]) => bodyOf({ messages })['input'];
const call = (id: string) => ({ type: 'tool-call', id, name: 'f', arguments: '{"a":1}' }) as const;
const text = (said: string) => ({ type: 'text', text: said }) as const;

it('says nothing that was not asked for, stores nothing, and wants its reasoning back', () => {
  expect(bodyOf({ model: 'gpt-5', messages: [{ role: 'user', parts: [text('Hi')] }] })).toEqual({
    model: 'gpt-5',
    input: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hi' }] }],
    stream: true,
    store: false,
    include: ['reasoning.encrypted_content'],
  });
});

it('has every field in its own place', () => {
  const schema = {
    type: 'object',
    properties: { a: { type: 'string' } },
    required: ['a'],
    additionalProperties: false,
  };
  expect(
    bodyOf(
      {
        tools: [{ name: 'f', description: 'F.', parameters: schema, isStrict: true }],
        toolChoice: { type: 'tool', name: 'f' },
        parallelToolCalls: false,
        limits: { maxOutputTokens: 3 },
        sampling: { temperature: 0.5, topP: 0.9, seed: 1, presencePenalty: 1 },
        responseFormat: { type: 'json-schema', schema, param: 'x' },
        reasoning: { effort: 'high', isAsked: true },
        wishes: [
          { ability: 'openai.verbosity', param: 'v', value: 'low', otherwise: 'ignored', says: '' },
          { ability: 'openai.service_tier', param: 's', value: 'flex', otherwise: 'ignored', says: '' },
          { ability: 'openai.logit_bias', param: 'l', value: {}, otherwise: 'ignored', says: '' },
        ],
      },
      responsesCapabilities,
      { cacheKey: 'k' },
    ),
  ).toEqual({
    model: 'auto',
    input: [],
    stream: true,
    store: false,
    include: ['reasoning.encrypted_content'],
    tools: [{ type: 'function', name: 'f', description: 'F.', parameters: schema, strict: true }],
    tool_choice: { type: 'function', name: 'f' },
    parallel_tool_calls: false,
    // OpenAI takes no less.
    max_output_tokens: 16,
    temperature: 0.5,
    top_p: 0.9,
    reasoning: { effort: 'high', summary: 'auto' },
    text: { format: { type: 'json_schema', name: 'answer', schema, strict: true }, verbosity: 'low' },
    service_tier: 'flex',
    prompt_cache_key: 'k',
  });
});

it('asks a model that does not reason for no reasoning', () => {
  const native = new Set([...responsesCapabilities].filter((ability) => ability !== 'reasoningEffort'));
  const body = bodyOf({ reasoning: { effort: 'high', isAsked: true } }, native);
  expect([body['include'], body['reasoning']]).toEqual([undefined, undefined]);
});

it("names the session's cache as the client does, where it does", () => {
  const wish = {
    ability: 'openai.prompt_cache_key',
    param: 'p',
    value: 'own',
    otherwise: 'silent',
    says: '',
  };
  const body = bodyOf({ wishes: [wish as never] }, responsesCapabilities, { cacheKey: 'k' });
  expect(body['prompt_cache_key']).toBe('own');
});

it('shows images and documents, also in what a call returned', () => {
  const image = { type: 'image', mediaType: 'image/png', data: pixel } as const;
  const document = {
    type: 'document',
    mediaType: 'application/pdf',
    data: 'JVBE',
    note: '',
    ignoredAs: '',
  } as const;
  const shownImage = {
    type: 'input_image',
    image_url: `data:image/png;base64,${pixel}`,
    detail: 'auto',
  };
  const shownFile = {
    type: 'input_file',
    filename: 'document.pdf',
    file_data: 'data:application/pdf;base64,JVBE',
  };
  const result = { type: 'tool-result', callId: 'a', text: 'seen', isError: false } as const;
  const items = inputOf([
    { role: 'user', parts: [text('Look'), image, document] },
    { role: 'assistant', parts: [text('I look.'), { type: 'refusal', text: 'No.' }, call('a'), call('b')] },
    {
      role: 'tool',
      parts: [
        { ...result, images: [image], cacheBreakpoint: {} },
        { ...result, callId: 'b' },
        { ...result, callId: 'gone' },
      ],
    },
  ]);
  expect(items).toEqual([
    {
      type: 'message',
      role: 'user',
      content: [{ type: 'input_text', text: 'Look' }, shownImage, shownFile],
    },
    { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'I look.' }] },
    { type: 'message', role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] },
    { type: 'function_call', call_id: 'a', name: 'f', arguments: '{"a":1}' },
    { type: 'function_call', call_id: 'b', name: 'f', arguments: '{"a":1}' },
    {
      type: 'function_call_output',
      call_id: 'a',
      output: [
        { type: 'input_text', text: 'seen' },
        { ...shownImage, prompt_cache_breakpoint: { mode: 'explicit' } },
      ],
    },
    { type: 'function_call_output', call_id: 'b', output: 'seen' },
    {
      type: 'message',
      role: 'user',
      content: [
        { type: 'input_text', text: 'What the call gone returned:' },
        { type: 'input_text', text: 'seen' },
      ],
    },
  ]);
});

it('says in words that a call failed', () => {
  const failed = { type: 'tool-result', callId: 'a', text: 'no such file', isError: true } as const;
  const input = inputOf([
    { role: 'user', parts: [text('q')] },
    { role: 'assistant', parts: [call('a')] },
    { role: 'tool', parts: [failed] },
  ]);
  expect(input).toContainEqual({ type: 'function_call_output', call_id: 'a', output: 'Error: no such file' });
});

const thought = (encrypted: string) => ({
  type: 'reasoning',
  summary: [],
  encrypted_content: encrypted,
});
const proven = (...items: [encrypted: string, callId?: string][]): ReasoningPart => ({
  type: 'reasoning',
  text: 'shown',
  proof: {
    protocol: 'openai-responses',
    data: JSON.stringify(
      items.map(([encrypted, callId]) => ({ item: thought(encrypted), ...(callId && { callId }) })),
    ),
  },
});

it('gives reasoning back in front of what it led to, once, and only what this protocol made', () => {
  const foreign: ReasoningPart = {
    type: 'reasoning',
    text: 'x',
    proof: { protocol: 'anthropic', data: 's' },
  };
  const parts = [foreign, proven(['one', 'a']), call('a'), proven(['one', 'a'], ['two', 'b']), call('b')];
  expect(inputOf([{ role: 'assistant', parts }])).toMatchObject([
    thought('one'),
    { call_id: 'a' },
    thought('two'),
    { call_id: 'b' },
  ]);
  expect(inputOf([{ role: 'assistant', parts: [proven(['one']), text('So.')] }])).toMatchObject([
    thought('one'),
    { type: 'message' },
  ]);
  const unplaced = [proven(['one']), call('a'), proven(['two']), call('b')];
  expect(inputOf([{ role: 'assistant', parts: unplaced }])).toMatchObject([
    thought('one'),
    { call_id: 'a' },
    thought('two'),
    { call_id: 'b' },
  ]);
  // The upstream refuses reasoning that nothing follows.
  expect(inputOf([{ role: 'assistant', parts: [proven(['one'])] }])).toEqual([]);
});

it('gives reasoning in plain words back to no other model', () => {
  const item = { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'Hm.' }] };
  const given = (model: string) => {
    const proof = { protocol: 'openai-responses', data: JSON.stringify([{ item, model }]) };
    return inputOf([{ role: 'assistant', parts: [{ type: 'reasoning', text: 'Hm.', proof }, text('So.')] }]);
  };
  expect(given(plainTurn.model)).toMatchObject([item, { type: 'message' }]);
  expect(given('other')).toMatchObject([{ type: 'message' }]);
});

it('speaks of JSON where the request asks for it without a word, as the upstream demands', () => {
  const asked = (said: string) =>
    bodyOf({ messages: [{ role: 'user', parts: [text(said)] }], responseFormat: { type: 'json' } });
  expect(asked('A list')['input']).toMatchObject([
    { role: 'system', content: [{ text: 'Answer with one JSON object.' }] },
    { role: 'user' },
  ]);
  expect(asked('A list as Json')['input']).toHaveLength(1);
});

it('shortens ids of calls that OpenAI would refuse, of call and result alike', () => {
  const long = 'c'.repeat(65);
  const [called, answered] = inputOf([
    { role: 'assistant', parts: [call(long)] },
    { role: 'tool', parts: [{ type: 'tool-result', callId: long, text: 'seen', isError: false }] },
  ]) as { call_id: string }[];
  expect(called?.call_id).toMatch(/^.{1,64}$/);
  expect(answered?.call_id).toBe(called?.call_id);
});
