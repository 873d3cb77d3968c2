import { describe, expect, it, onTestFinished } from 'vitest';
import { pixel } from '../../core/testing/pixel.ts';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { Message, TurnRequest } from '../../core/turn.ts';
import { messagesCapabilitiesOf } from './claude-models.ts';
import { encodeRequest } from './encode-request.ts';
import { thinkingProof } from './thinking-proof.ts';

const text = (said: string) => ({ type: 'text' as const, text: said });
const user = (said: string): Message => ({ role: 'user', parts: [text(said)] });
const tools = [{ name: 'get.time', description: 'Tells it.', parameters: { properties: {} } }];
const call = (id: string) => ({ type: 'tool-call' as const, id, name: 'get.time', arguments: '{"a":1}' });
const result = (callId: string, more: object = {}): Message => ({
  role: 'tool',
  parts: [{ type: 'tool-result', callId, text: 'noon', isError: false, ...more }],
});

function encode(model: string, more: Partial<TurnRequest> = {}, cachesPrompts = false) {
  const request = { ...plainTurn, model, messages: [user('Hi')], ...more };
  const { body, ...encoded } = encodeRequest(request, messagesCapabilitiesOf(model), cachesPrompts);
  return { ...encoded, sent: JSON.parse(body) };
}
const sent = (...given: Parameters<typeof encode>) => encode(...given).sent;

describe('messages', () => {
  it('have results right behind their calls, ids that come once, and no blank text', () => {
    const { sent, toolNames } = encode('claude-sonnet-4-5', {
      tools,
      messages: [
        { role: 'system', parts: [text('Be brief.')] },
        { role: 'assistant', parts: [text('Welcome.')] },
        user('Go.'),
        { role: 'assistant', parts: [text(' '), call('c:1'), call('c:2')] },
        user('Wait.'),
        result('c:1', { isError: true, images: [{ type: 'image', mediaType: 'image/png', data: pixel }] }),
        result('c:2', {
          text: '',
          documents: [
            {
              type: 'document',
              mediaType: 'application/pdf',
              data: 'JVBE',
              name: 'a.pdf',
              note: '',
              ignoredAs: '',
            },
          ],
        }),
        { role: 'assistant', parts: [call('c:1')] },
        result('c:1'),
        { role: 'system', parts: [text('And kind.')] },
        { role: 'assistant', parts: [{ type: 'refusal', text: 'No. \n' }] },
      ],
    });
    expect(sent.system).toEqual([text('Be brief.'), text('And kind.')]);
    const use = (id: string) => ({ type: 'tool_use', id, name: 'get_time', input: { a: 1 } });
    expect(sent.messages).toEqual([
      { role: 'user', content: [text('Go on.')] },
      { role: 'assistant', content: [text('Welcome.')] },
      { role: 'user', content: [text('Go.')] },
      { role: 'assistant', content: [use('c_1'), use('c_2')] },
      {
        role: 'user',
        content: [
          {
            type: 'tool_result',
            tool_use_id: 'c_1',
            is_error: true,
            content: [
              text('noon'),
              { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } },
            ],
          },
          {
            type: 'tool_result',
            tool_use_id: 'c_2',
            content: [
              {
                type: 'document',
                title: 'a.pdf',
                source: { type: 'base64', media_type: 'application/pdf', data: 'JVBE' },
              },
            ],
          },
          text('Wait.'),
        ],
      },
      { role: 'assistant', content: [use('c_1_2')] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'c_1_2', content: [text('noon')] }] },
      { role: 'assistant', content: [text('No.')] },
    ]);
    expect([...toolNames]).toEqual([['get_time', 'get.time']]);
    expect(sent.tools).toEqual([
      { name: 'get_time', description: 'Tells it.', input_schema: { type: 'object', properties: {} } },
    ]);
  });

  it('number ids that are alike without looking for each among those before it', () => {
    const count = 500;
    const calls = Array.from({ length: count }, (_, index) => call(String.fromCharCode(0x4e00 + index)));
    let lookups = 0;
    for (const { prototype } of [Set, Map]) {
      const { has } = prototype;
      onTestFinished(() => void Object.assign(prototype, { has }));
      Object.assign(prototype, {
        has(this: Set<unknown> & Map<unknown, unknown>, key: unknown) {
          lookups += 1;
          return has.call(this, key);
        },
      });
    }
    const { messages } = sent('claude-haiku-4-5', { messages: [{ role: 'assistant', parts: calls }] });
    expect(lookups).toBeLessThan(20 * count);
    const ids = messages[1].content.map(({ id }: { readonly id: string }) => id);
    expect([...ids.slice(0, 3), ids.at(-1)]).toEqual(['_', '__2', '__3', '__500']);
  });

  it('with calls and no tools have the tools that were called, and none is to be called again', () => {
    const messages = [user('Go.'), { role: 'assistant' as const, parts: [call('c')] }, result('c')];
    expect(sent('claude-haiku-4-5', { messages })).toMatchObject({
      tools: [{ name: 'get_time', input_schema: { type: 'object' } }],
      tool_choice: { type: 'none' },
    });
  });

  it('of rules alone are a request too', () => {
    expect(sent('m', { messages: [{ role: 'system', parts: [text('Speak.')] }] }).messages).toHaveLength(1);
  });
});

describe('the limit of an answer', () => {
  it.each([
    ['claude-opus-5-5', 128_000],
    ['claude-sonnet-4-6', 128_000],
    ['claude-haiku-4-5-20251001', 64_000],
    ['claude-opus-4-20250514', 32_000],
    ['claude-3-7-sonnet-latest', 32_000],
    ['claude-3-5-haiku-20241022', 8_192],
    ['claude-3-haiku-20240307', 4_096],
    ['kimi-k3', 8_192],
  ])('of %s is %i where the client names none', (model, limit) => {
    expect(sent(model).max_tokens).toBe(limit);
    expect(sent(model, { limits: { maxOutputTokens: 7 } }).max_tokens).toBe(7);
  });
});

describe('thinking', () => {
  const asked = { effort: 'high', isAsked: true };

  it.each([
    ['claude-opus-5-5', asked, { type: 'adaptive', display: 'summarized' }, 'high'],
    [
      'claude-opus-4-6',
      { effort: 'xhigh', isAsked: true },
      { type: 'adaptive', display: 'summarized' },
      'high',
    ],
    [
      'claude-opus-4-7',
      { effort: 'minimal', isAsked: true },
      { type: 'adaptive', display: 'summarized' },
      'low',
    ],
    ['claude-opus-4-5', asked, { type: 'enabled', budget_tokens: 24_576 }, 'high'],
    ['claude-sonnet-4-5', asked, { type: 'enabled', budget_tokens: 24_576 }, undefined],
    ['claude-3-5-haiku-latest', asked, undefined, undefined],
    [
      'claude-sonnet-4-5',
      { isAsked: true, budgetTokens: 9_000 },
      { type: 'enabled', budget_tokens: 9_000 },
      undefined,
    ],
    [
      'claude-opus-4-8',
      { isAsked: true, budgetTokens: 31_999 },
      { type: 'adaptive', display: 'summarized' },
      'high',
    ],
    ['claude-opus-4-7', { effort: 'max' }, undefined, 'max'],
    ['claude-opus-5', { effort: 'none' }, { type: 'disabled' }, undefined],
    ['claude-sonnet-5-5', { effort: 'none' }, { type: 'between_tools' }, undefined],
    ['claude-fable-5-2', { effort: 'none' }, undefined, 'low'],
    ['claude-opus-4-6', { effort: 'none' }, undefined, undefined],
    ['claude-opus-4-6', {}, undefined, undefined],
    [
      'deepseek-chat',
      { isAsked: true, budgetTokens: -1 },
      { type: 'enabled', budget_tokens: 4_096 },
      undefined,
    ],
  ])('of %s asked for with %j', (model, reasoning, thinking, effort) => {
    const body = sent(model, { reasoning });
    expect([body.thinking, body.output_config?.effort]).toEqual([thinking, effort]);
  });

  it('has no more than the answer, and stays off where that is too little', () => {
    const limited = (maxOutputTokens: number, reasoning: TurnRequest['reasoning']) =>
      sent('claude-sonnet-4-5', { reasoning, limits: { maxOutputTokens } }).thinking?.budget_tokens;
    expect(limited(4_000, asked)).toBe(2_000);
    expect(limited(4_000, { isAsked: true, budgetTokens: 9_000 })).toBe(3_999);
    expect(limited(1_024, { isAsked: true, budgetTokens: 9_000 })).toBeUndefined();
  });

  it('is off where a call is forced, and the newest models are not forced', () => {
    const forced = { tools, reasoning: asked, toolChoice: { type: 'required' as const } };
    expect(sent('claude-opus-4-6', forced)).not.toHaveProperty('thinking');
    expect(sent('claude-opus-4-6', forced).tool_choice).toEqual({ type: 'any' });
    expect(sent('claude-opus-5-5', forced).thinking).toMatchObject({ type: 'adaptive' });
    expect(sent('claude-opus-5-5', forced)).not.toHaveProperty('tool_choice');
  });

  it('excludes what tunes the choice of words', () => {
    const tuned = { sampling: { temperature: 1.5, topP: 0.5 } };
    const topK = {
      wishes: [
        { ability: 'topK' as const, param: 'top_k', value: 5, otherwise: 'ignored' as const, says: '' },
      ],
    };
    expect(sent('claude-sonnet-4-5', { ...tuned, ...topK })).toMatchObject({ temperature: 1, top_k: 5 });
    expect(sent('claude-sonnet-4-5', tuned)).not.toHaveProperty('top_p');
    for (const [model, reasoning] of [
      ['claude-sonnet-4-5', asked],
      ['claude-opus-4-7', {}],
    ] as const) {
      const body = sent(model, { ...tuned, ...topK, reasoning });
      for (const name of ['temperature', 'top_p', 'top_k']) expect(body, model).not.toHaveProperty(name);
    }
    expect(encode('claude-sonnet-4-5', tuned).leftOut).toEqual(['topP']);
    const all = { ...tuned, ...topK, reasoning: asked };
    expect(encode('claude-sonnet-4-5', all).leftOut).toEqual(['temperature', 'topP', 'topK']);
    const forced = { tools, toolChoice: { type: 'required' as const }, reasoning: asked };
    expect(encode('claude-sonnet-4-5', forced).leftOut).toEqual(['reasoningEffort']);
    expect(encode('claude-opus-4-6', forced).leftOut).toEqual([]);
  });
});

describe('thinking that is given back', () => {
  const signed = { type: 'thinking' as const, thinking: 'Hm.', signature: 's' };
  const sealed = { type: 'redacted_thinking' as const, data: 'd' };
  const looped = (...proofs: TurnRequest['messages'][number]['parts'][number][]): Message[] => [
    user('Go.'),
    { role: 'assistant', parts: [...(proofs as never[]), call('c')] },
    result('c'),
  ];
  const reasoning = (model: string, ...blocks: (typeof signed | typeof sealed)[]) => ({
    type: 'reasoning' as const,
    text: 'Hm.',
    proof: thinkingProof(model, blocks),
  });
  const ask = { tools, reasoning: { effort: 'low', isAsked: true } };

  it('stands first, each block once, for the model that made it', () => {
    const model = 'claude-sonnet-4-5';
    const messages = looped(reasoning(model, signed), reasoning(model, signed, sealed));
    const body = sent(model, { ...ask, messages });
    expect(body.messages[1].content).toMatchObject([signed, sealed, { type: 'tool_use' }]);
    expect(body.thinking).toEqual({ type: 'enabled', budget_tokens: 1_024 });
  });

  it('stands where it was between texts and calls', () => {
    const model = 'claude-opus-4-6';
    const blocks = [0, 1, 2, 3].map((at) => ({ ...signed, signature: `s${at}` }));
    const proof = thinkingProof(model, blocks, [
      [0, 0],
      [5, 0],
      [11, 0],
      [11, 1],
    ]);
    const parts = [
      { type: 'reasoning' as const, text: 'Hm.', proof },
      text('I see. Now'),
      text('!'),
      call('a'),
      call('b'),
    ];
    const messages = [user('Go.'), { role: 'assistant' as const, parts }, result('a'), result('b')];
    const given = sent(model, { ...ask, messages }).messages[1].content as { [field: string]: unknown }[];
    expect(given.map(({ signature, text: said, id }) => signature ?? said ?? id)).toEqual([
      ...['s0', 'I see', 's1', '. Now', '!', 's2', 'a', 's3', 'b'],
    ]);
  });

  it('is left out behind all that the answer says', () => {
    const model = 'claude-opus-4-6';
    const blocks = [0, 1, 2].map((at) => ({ ...signed, signature: `s${at}` }));
    const proof = thinkingProof(model, blocks, [
      [0, 0],
      [6, 0],
      [8, 0],
    ]);
    for (const said of ['I see.', 'I see.\n\n', 'I see.\n']) {
      const parts = [{ type: 'reasoning' as const, text: 'Hm.', proof }, text(said)];
      const messages = [user('Go.'), { role: 'assistant' as const, parts }, user('On.')];
      expect(sent(model, { ...ask, messages }).messages[1].content).toMatchObject([
        { signature: 's0' },
        { text: 'I see.' },
      ]);
    }
  });

  it('of another model, of another protocol or without a signature is left out, and a budget with it', () => {
    const other = { type: 'reasoning' as const, text: 'Hm.', proof: { protocol: 'gemini', data: '{}' } };
    for (const part of [
      reasoning('claude-opus-4-5', signed),
      other,
      { type: 'reasoning' as const, text: 'Hm.' },
    ]) {
      const body = sent('claude-sonnet-4-5', { ...ask, messages: looped(part) });
      expect(body.messages[1].content).toMatchObject([{ type: 'tool_use' }]);
      expect(body).not.toHaveProperty('thinking');
      expect(sent('claude-opus-4-6', { ...ask, messages: looped(part) }).thinking).toMatchObject({
        type: 'adaptive',
      });
      const later = [...looped(part), { role: 'assistant' as const, parts: [text('Noon.')] }, user('And?')];
      expect(sent('claude-sonnet-4-5', { ...ask, messages: later }).thinking).toMatchObject({
        type: 'enabled',
      });
    }
  });

  it('may be dropped by the newest models, which bind it to the conversation', () => {
    const model = 'claude-opus-5-5';
    const { sent: body, beta } = encode(model, { tools, messages: looped(reasoning(model, signed)) });
    expect(body.thinking).toEqual({
      type: 'adaptive',
      block_binding: { prefix_mismatch_behavior: 'drop_block' },
    });
    expect(beta).toBe('thinking-binding-controls-2026-08-01');
    expect(encode(model, { ...ask }).beta).toBeUndefined();
  });
});

describe('marks for the cache', () => {
  const mark = { type: 'ephemeral' };
  const marksOf = (body: { tools: object[]; system: object[]; messages: { content: object[] }[] }) =>
    [...body.tools, ...body.system, ...body.messages.flatMap(({ content }) => content)].map(
      (block) => (block as { cache_control?: object }).cache_control,
    );
  const talk = (cacheBreakpoint?: { ttlSeconds?: number }): Message[] => [
    { role: 'system', parts: [text('Be brief.')] },
    ...['1', '2', '3'].flatMap((said): Message[] => [
      { role: 'user', parts: [{ ...text(said), ...(cacheBreakpoint && { cacheBreakpoint }) }] },
      { role: 'assistant', parts: [text('Yes.')] },
    ]),
    user('4'),
  ];

  it('are placed where the client set none', () => {
    const body = sent('m', { tools, messages: talk() }, true);
    expect(marksOf(body)).toEqual([
      mark,
      mark,
      undefined,
      undefined,
      undefined,
      undefined,
      mark,
      undefined,
      mark,
    ]);
    expect(marksOf(sent('m', { tools, messages: talk() }, false)).every((one) => one === undefined)).toBe(
      true,
    );
  });

  it("are the client's own where it has set some, with their lifetime, and the last four at most", () => {
    const long = { ...mark, ttl: '1h' };
    const body = sent('m', { tools, messages: talk({ ttlSeconds: 3_600 }) }, true);
    expect(marksOf(body)).toEqual([
      undefined,
      undefined,
      long,
      undefined,
      long,
      undefined,
      long,
      undefined,
      undefined,
    ]);
    const mixed = [3_600, 300, 3_600].map((ttlSeconds) => ({
      ...text('x'),
      cacheBreakpoint: { ttlSeconds },
    }));
    expect(sent('m', { messages: [{ role: 'user', parts: mixed }] }, true).messages[0].content).toEqual(
      [long, mark, mark].map((one) => ({ ...text('x'), cache_control: one })),
    );
    const cacheBreakpoint = {};
    const parts = Array.from({ length: 6 }, () => ({ ...text('x'), cacheBreakpoint }));
    const many = sent('m', { messages: [{ role: 'user', parts }] }, true);
    expect(many.messages[0].content.map((block: { cache_control?: object }) => block.cache_control)).toEqual([
      undefined,
      undefined,
      mark,
      mark,
      mark,
      mark,
    ]);
  });
});

it('schemas are written as Anthropic takes them', () => {
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    properties: {
      age: { type: 'integer', minimum: 1, description: 'In years.' },
      mail: { type: 'string', format: 'email' },
      phone: { type: 'string', format: 'phone' },
      tags: { type: 'array', minItems: 3, items: { oneOf: [{ type: 'object' }, { $ref: '#/$defs/x' }] } },
      open: { type: 'object', additionalProperties: { type: 'string' } },
    },
    $defs: { x: { type: 'object', properties: {} } },
  };
  const format = { type: 'json-schema' as const, schema, param: 'p' };
  const strict = [
    { name: 'f', parameters: { type: 'object', properties: { a: { maxLength: 2 } } }, isStrict: true },
  ];
  const body = sent('claude-sonnet-4-5', { responseFormat: format, tools: strict });
  expect(body.output_config).toEqual({
    format: {
      type: 'json_schema',
      schema: {
        additionalProperties: false,
        type: 'object',
        properties: {
          age: { type: 'integer', description: 'In years.\n(minimum: 1)' },
          mail: { type: 'string', format: 'email' },
          phone: { type: 'string', description: '(format: "phone")' },
          tags: {
            type: 'array',
            items: { anyOf: [{ additionalProperties: false, type: 'object' }, { $ref: '#/$defs/x' }] },
            description: '(minItems: 3)',
          },
          open: { type: 'object', additionalProperties: { type: 'string' } },
        },
        $defs: { x: { additionalProperties: false, type: 'object', properties: {} } },
      },
    },
  });
  expect(body.tools[0]).toMatchObject({
    strict: true,
    input_schema: { additionalProperties: false, properties: { a: { description: '(maxLength: 2)' } } },
  });
  const old = sent('claude-sonnet-4-20250514', { responseFormat: format, tools: strict });
  expect(old).not.toHaveProperty('output_config');
  expect(old.tools[0]).toEqual({ name: 'f', input_schema: strict[0]?.parameters });
});

it('a tool that may take nothing takes an object', () => {
  const parameters = { type: ['object', 'null'], properties: {} };
  const [tool] = sent('claude-haiku-4-5', { tools: [{ name: 'f', parameters }] }).tools;
  expect(tool.input_schema).toEqual({ type: 'object', properties: {} });
});

it('a tool of several variants takes the properties of all', () => {
  const a = { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] };
  const b = { type: 'object', properties: { b: { type: 'string' } } };
  const parameters = { description: 'Either.', anyOf: [a, b] };
  expect(sent('claude-haiku-4-5', { tools: [{ name: 'f', parameters }] }).tools[0].input_schema).toEqual({
    type: 'object',
    description: 'Either.',
    properties: { ...a.properties, ...b.properties },
  });
});

it('choices of tools', () => {
  const choose = (toolChoice: TurnRequest['toolChoice'], parallelToolCalls = true) =>
    sent('claude-haiku-4-5', { tools, toolChoice, parallelToolCalls }).tool_choice;
  expect(choose({ type: 'auto' })).toBeUndefined();
  expect(choose({ type: 'auto' }, false)).toEqual({ type: 'auto', disable_parallel_tool_use: true });
  expect(choose({ type: 'required' }, false)).toEqual({ type: 'any', disable_parallel_tool_use: true });
  expect(choose({ type: 'tool', name: 'get.time' })).toEqual({ type: 'tool', name: 'get_time' });
  expect(choose({ type: 'none' })).toEqual({ type: 'none' });
  const [tool] = tools;
  const alike = encode('m', { tools: ['a.b', 'a:b'].map((name) => ({ ...tool, name, parameters: {} })) });
  expect([...alike.toolNames]).toEqual([
    ['a_b', 'a.b'],
    ['a_b_', 'a:b'],
  ]);
});
