import { describe, expect, it } from 'vitest';
import type { TurnRequest } from '../../core/turn.ts';
import { decodeGeminiRequest } from './decode-request.ts';
import { createGeminiInbound } from './inbound.ts';
import { signatureOf } from './thought-signatures.ts';

const user = (text: string) => ({ role: 'user', parts: [{ text }] });

function decode(body: object) {
  return decodeGeminiRequest('m', false, { contents: [user('Hi')], ...body });
}
const requestOf = (body: object) => decode(body).request;

function answersOf({ messages }: Pick<TurnRequest, 'messages'>) {
  return messages.filter(({ role }) => role === 'assistant').map(({ parts }) => parts);
}

describe('instructions', () => {
  it.each([
    ['a content', { parts: [{ text: 'Be' }, { text: 'brief.' }] }],
    ['a content with one part', { role: 'user', parts: { text: 'Be brief.' } }],
    ['parts', [{ text: 'Be brief.' }]],
    ['a part', { text: 'Be brief.' }],
    ['a text', 'Be brief.'],
  ])('may be %s', (_form, systemInstruction) => {
    const [first] = requestOf({ systemInstruction }).messages;
    expect(first?.role).toBe('system');
    expect(first?.parts.map((part) => ('text' in part ? part.text : '')).join(' ')).toBe('Be brief.');
  });

  it('that say nothing are none', () => {
    expect(requestOf({ systemInstruction: { parts: [{ text: '' }] } }).messages).toHaveLength(1);
  });
});

it('fields may be in snake case, and names of the client stay as they are', () => {
  const { tools, limits, messages } = requestOf({
    contents: [
      user('Hi'),
      { role: 'model', parts: [{ function_call: { name: 'f', args: { snake_case: { in_args: 1 } } } }] },
      { role: 'user', parts: [{ function_response: { name: 'f', response: { not_output: 1 } } }] },
    ],
    generation_config: { max_output_tokens: 5 },
    tools: [
      {
        function_declarations: [
          { name: 'f', parameters: { type: 'OBJECT', properties: { some_name: { type: 'STRING' } } } },
        ],
      },
    ],
  });
  expect(limits).toEqual({ maxOutputTokens: 5 });
  expect(tools[0]?.parameters).toEqual({ type: 'object', properties: { some_name: { type: 'string' } } });
  expect(messages.slice(1)).toMatchObject([
    { parts: [{ type: 'tool-call', arguments: '{"snake_case":{"in_args":1}}' }] },
    { parts: [{ type: 'tool-result', text: '{"not_output":1}' }] },
  ]);
});

describe('a result', () => {
  const call = (name: string, id?: string) => ({ functionCall: { name, args: {}, ...(id && { id }) } });
  const result = (name: string, output: unknown, id?: string) => ({
    functionResponse: { name, response: { output }, ...(id && { id }) },
  });
  const pairs = (contents: object[]) => {
    const { messages } = requestOf({ contents: [user('Go'), ...contents] });
    const parts = messages.flatMap((message) => (message.role === 'tool' ? message.parts : []));
    return parts.map(({ callId, text, isError }) => [callId, text, isError]);
  };

  it('is found by its id, whatever the order', () => {
    const calls = { role: 'model', parts: [call('f', 'a'), call('f', 'b')] };
    expect(pairs([calls, { role: 'user', parts: [result('f', 'B', 'b'), result('f', 'A', 'a')] }])).toEqual([
      ['b', 'B', false],
      ['a', 'A', false],
    ]);
  });

  it('without an id, or with one that no call has, is found by its name in the order of the calls', () => {
    const calls = { role: 'model', parts: [call('f'), call('g'), call('f')] };
    const results = [result('g', 'G'), result('f', 'first'), result('f', 'second', 'made-up')];
    expect(pairs([calls, { role: 'function', parts: results }])).toEqual([
      ['made_call_2', 'G', false],
      ['made_call_1', 'first', false],
      ['made_call_3', 'second', false],
    ]);
  });

  it('is not taken for that of another call, whose id is one that others count like', () => {
    const calls = { role: 'model', parts: [call('f'), call('g', 'call_1')] };
    expect(pairs([calls, { role: 'user', parts: [result('f', 'F'), result('g', 'G', 'call_1')] }])).toEqual([
      ['made_call_1', 'F', false],
      ['call_1', 'G', false],
    ]);
  });

  it('is its output, its error, or the whole object', () => {
    const calls = { role: 'model', parts: [call('f'), call('f'), call('f'), call('f')] };
    const responses = [{ output: { a: 1 } }, { error: 'no' }, { result: 'x' }, {}];
    const parts = responses.map((response) => ({ functionResponse: { name: 'f', response } }));
    expect(pairs([calls, { role: 'user', parts }]).map(([, text, isError]) => [text, isError])).toEqual([
      ['{"a":1}', false],
      ['no', true],
      ['{"result":"x"}', false],
      ['{}', false],
    ]);
  });
});

describe('an answer that comes back', () => {
  const proof = { protocol: 'anthropic-messages', data: 'signed' };
  const signature = signatureOf('I thought.', proof);

  it('is one message, however many contents its stream was', () => {
    const contents = [
      user('Hi'),
      { role: 'model', parts: [{ text: 'Let ', thought: true }] },
      { role: 'model', parts: [{ text: 'me.', thought: true }] },
      { role: 'model', parts: [{ text: 'He' }] },
      { role: 'model', parts: [{ text: 'llo' }, { text: '' }] },
      { role: 'model', parts: [{ functionCall: { name: 'f' } }] },
    ];
    expect(answersOf(requestOf({ contents }) as TurnRequest)).toEqual([
      [
        { type: 'reasoning', text: 'Let me.' },
        { type: 'text', text: 'Hello' },
        { type: 'tool-call', id: 'made_call_1', name: 'f', arguments: '{}' },
      ],
    ]);
  });

  it('has the reasoning and its proof where the signature stands, with or without the thoughts', () => {
    const thought = { text: 'I thought.', thought: true };
    for (const before of [[], [thought]]) {
      const parts = [...before, { text: 'So', thoughtSignature: signature }, { functionCall: { name: 'f' } }];
      expect(
        answersOf(requestOf({ contents: [user('Hi'), { role: 'model', parts }] }) as TurnRequest),
      ).toEqual([
        [
          { type: 'reasoning', text: 'I thought.', proof },
          { type: 'text', text: 'So' },
          expect.objectContaining({ type: 'tool-call' }),
        ],
      ]);
    }
  });

  it("has Google's own signature as the proof of the thoughts before it", () => {
    const parts = [
      { text: 'Hm', thought: true },
      { functionCall: { name: 'f' }, thoughtSignature: 'AbC=' },
    ];
    expect(answersOf(requestOf({ contents: [user('Hi'), { role: 'model', parts }] }) as TurnRequest)).toEqual(
      [
        [
          { type: 'reasoning', text: 'Hm', proof: { protocol: 'gemini', data: 'AbC=' } },
          expect.objectContaining({ type: 'tool-call' }),
        ],
      ],
    );
  });

  it("leaves out what a provider's own tools did, and says so", () => {
    const parts = [
      { executableCode: { code: '1' } },
      { codeExecutionResult: { output: '1' } },
      { text: 'One' },
    ];
    const { request, ignored } = decode({ contents: [user('Hi'), { role: 'model', parts }, user('And?')] });
    expect(answersOf(request as TurnRequest)).toEqual([[{ type: 'text', text: 'One' }]]);
    expect(ignored).toEqual(['contents.parts.executableCode', 'contents.parts.codeExecutionResult']);
  });

  it('is not relayed with a signature that Google did not make', () => {
    const relay = (thoughtSignature: string) => {
      const body = { contents: [{ role: 'model', parts: [{ text: 'So', thoughtSignature }] }] };
      return createGeminiInbound({ model: 'm', answer: 'whole' }).readRelayed?.(
        body,
        JSON.stringify(body),
        {},
      );
    };
    expect(relay(signature)).toBeUndefined();
    expect(relay('AbC=')).toMatchObject({ relayed: { dialect: 'gemini' } });
  });
});

describe('thinking', () => {
  it.each([
    [{ thinkingLevel: 'HIGH' }, { effort: 'high', isAsked: true }],
    [{ thinkingLevel: 'low' }, { effort: 'low', isAsked: true }],
    [{ thinkingLevel: 'THINKING_LEVEL_UNSPECIFIED' }, {}],
    [{ thinkingBudget: 0 }, { effort: 'none' }],
    [{ thinkingBudget: -1 }, { budgetTokens: -1, isAsked: true }],
    [{ thinkingBudget: 8_192 }, { budgetTokens: 8_192, isAsked: true }],
    [{ includeThoughts: true }, { isAsked: true }],
    [{ includeThoughts: false }, {}],
  ])('%j is %j', (thinkingConfig, reasoning) => {
    expect(requestOf({ generationConfig: { thinkingConfig } }).reasoning).toEqual(reasoning);
  });
});

it('an image may be at an address; another file has to be in the request', () => {
  const file = (fileUri: string, mimeType?: string) => ({ parts: [{ fileData: { fileUri, mimeType } }] });
  const [first, second] = requestOf({
    contents: [file('https://x/a.png', 'image/png'), file('https://x/b'), user('And?')],
  }).messages;
  expect(first?.parts).toMatchObject([{ type: 'image-url', url: 'https://x/a.png' }]);
  expect(second?.parts).toMatchObject([{ type: 'image-url', url: 'https://x/b' }]);
  expect(() => decode({ contents: [file('https://x/a.pdf', 'application/pdf')] })).toThrow(
    /not in the request/,
  );
});

describe('tools', () => {
  const declared = (...names: string[]) => ({ functionDeclarations: names.map((name) => ({ name })) });
  const choice = (mode: string, allowedFunctionNames?: string[]) => ({
    toolConfig: { functionCallingConfig: { mode, ...(allowedFunctionNames && { allowedFunctionNames }) } },
  });

  it.each([
    [choice('AUTO'), { type: 'auto' }, ['f', 'g', 'h']],
    [choice('VALIDATED', ['g']), { type: 'auto' }, ['g']],
    [choice('ANY'), { type: 'required' }, ['f', 'g', 'h']],
    [choice('ANY', ['f', 'h']), { type: 'required' }, ['f', 'h']],
    [choice('ANY', ['h']), { type: 'tool', name: 'h' }, ['f', 'g', 'h']],
    [choice('NONE', ['gone']), { type: 'none' }, ['f', 'g', 'h']],
  ])('are offered as %j says', (more, toolChoice, names) => {
    const request = requestOf({ tools: [declared('f', 'g'), declared('h')], ...more });
    expect(request.toolChoice).toEqual(toolChoice);
    expect(request.tools.map(({ name }) => name)).toEqual(names);
  });

  it('of the provider are left out beside others, and named', () => {
    const { request, ignored } = decode({
      tools: [{ googleSearch: {}, ...declared('f') }, { urlContext: {} }],
    });
    expect(request.tools).toHaveLength(1);
    expect(ignored).toEqual(['tools.googleSearch', 'tools.urlContext']);
  });

  it("have Google's schemas as JSON schemas, and JSON schemas as they are", () => {
    const parameters = {
      type: 'OBJECT',
      nullable: true,
      properties: {
        type: { type: 'STRING', enum: ['a'], format: 'enum', nullable: true },
        list: {
          type: 'ARRAY',
          items: { any_of: [{ type: 'INTEGER' }, { type: 'BOOLEAN' }] },
          min_items: '1',
        },
        odd: { type: 'TYPE_UNSPECIFIED', anyOf: [{ type: 'NUMBER' }], nullable: true, example: 1 },
      },
      propertyOrdering: ['type'],
    };
    const functions = [
      { name: 'f', parameters },
      { name: 'g', parametersJsonSchema: parameters },
    ];
    const [f, g] = requestOf({ tools: [{ functionDeclarations: functions }] }).tools;
    expect(f?.parameters).toEqual({
      type: ['object', 'null'],
      properties: {
        type: { type: ['string', 'null'], enum: ['a', null] },
        list: { type: 'array', items: { anyOf: [{ type: 'integer' }, { type: 'boolean' }] }, minItems: 1 },
        odd: { anyOf: [{ type: 'number' }, { type: 'null' }], examples: [1] },
      },
    });
    expect(g?.parameters).toEqual(parameters);
  });
});
