import { describe, expect, it } from 'vitest';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { AssistantPart, Message, TurnRequest } from '../../core/turn.ts';
import { encodeRequest } from './encode-request.ts';
import { geminiCapabilities } from './gemini-models.ts';
import { proofOf } from './thought-signatures.ts';

interface Body {
  readonly contents: { role: string; parts: Record<string, unknown>[] }[];
  readonly systemInstruction?: unknown;
  readonly generationConfig: Record<string, unknown>;
  readonly tools?: { functionDeclarations: Record<string, unknown>[] }[];
  readonly toolConfig?: unknown;
}

function bodyOf(more: Partial<TurnRequest>, model = 'gemini-3.8-flash'): Body {
  const request: TurnRequest = { ...plainTurn, messages: [user('Hi')], ...more, model };
  return JSON.parse(encodeRequest(request, geminiCapabilities(model)).body);
}
const contentsOf = (messages: readonly Message[], model?: string) => bodyOf({ messages }, model).contents;

const text = (given: string) => ({ type: 'text', text: given }) as const;
const user = (given: string): Message => ({ role: 'user', parts: [text(given)] });
const system = (given: string): Message => ({ role: 'system', parts: [text(given)] });
const answer = (...parts: AssistantPart[]): Message => ({ role: 'assistant', parts });
const call = (id: string, name = 'f', args = '{"a":1}') =>
  ({ type: 'tool-call', id, name, arguments: args }) as const;
const result = (callId: string, given: string, more: object = {}): Message => ({
  role: 'tool',
  parts: [{ type: 'tool-result', callId, text: given, isError: false, ...more }],
});
const image = { type: 'image', mediaType: 'image/png', data: 'aW1n' } as const;
const skip = 'skip_thought_signature_validator';

describe('contents', () => {
  it('are of two roles in turn, with instructions apart', () => {
    const body = bodyOf({
      messages: [
        system('Be kind.'),
        system('Be brief.'),
        user('a'),
        user('b'),
        answer(text('c')),
        system('Now!'),
        user('d'),
      ],
    });
    expect(body.systemInstruction).toEqual({ parts: [{ text: 'Be kind.' }, { text: 'Be brief.' }] });
    expect(body.contents).toEqual([
      { role: 'user', parts: [{ text: 'a' }, { text: 'b' }] },
      { role: 'model', parts: [{ text: 'c' }] },
      { role: 'user', parts: [{ text: 'Now!' }, { text: 'd' }] },
    ]);
  });

  it('hold the instructions where there is nothing else', () => {
    const blank: Message = { role: 'user', parts: [{ type: 'text', text: '' }] };
    const instructed = bodyOf({ messages: [system('Write a poem.'), blank] });
    expect(instructed).toMatchObject({ contents: [{ role: 'user', parts: [{ text: 'Write a poem.' }] }] });
    expect(bodyOf({ messages: [blank] })).toMatchObject({ contents: [{ parts: [{ text: 'Go on.' }] }] });
    expect(bodyOf({ messages: [system('Write a poem.')] })).toMatchObject({
      contents: [{ role: 'user', parts: [{ text: 'Write a poem.' }] }],
    });
  });

  it('have images and documents inline, and no empty text', () => {
    const document = {
      type: 'document',
      mediaType: 'application/pdf',
      data: 'cGRm',
      note: 'n',
      ignoredAs: 'i',
    } as const;
    expect(contentsOf([{ role: 'user', parts: [text(''), image, document] }])[0]?.parts).toEqual([
      { inlineData: { mimeType: 'image/png', data: 'aW1n' } },
      { inlineData: { mimeType: 'application/pdf', data: 'cGRm' } },
    ]);
  });

  it('have the results of all calls of an answer together behind it', () => {
    const messages = [
      user('q'),
      answer(call('a'), call('b', 'g')),
      user('wait'),
      result('b', 'B', { isError: true }),
      result('a', 'A'),
      result('gone', 'late'),
    ];
    expect(contentsOf(messages).slice(1)).toEqual([
      {
        role: 'model',
        parts: [
          { functionCall: { id: 'a', name: 'f', args: { a: 1 } }, thoughtSignature: skip },
          { functionCall: { id: 'b', name: 'g', args: { a: 1 } } },
        ],
      },
      {
        role: 'user',
        parts: [
          { functionResponse: { id: 'a', name: 'f', response: { output: 'A' } } },
          { functionResponse: { id: 'b', name: 'g', response: { error: 'B' } } },
          { text: 'wait' },
          { text: 'The result of a call that is no longer shown: late' },
        ],
      },
    ]);
  });

  it('have images within results since Gemini 3, and beside them before', () => {
    const messages = [user('q'), answer(call('a')), result('a', 'A', { images: [image] })];
    const inlineData = { mimeType: 'image/png', data: 'aW1n' };
    expect(contentsOf(messages).at(-1)?.parts).toEqual([
      { functionResponse: { id: 'a', name: 'f', response: { output: 'A' }, parts: [{ inlineData }] } },
    ]);
    expect(contentsOf(messages, 'gemini-2.5-flash').at(-1)?.parts).toEqual([
      { functionResponse: { id: 'a', name: 'f', response: { output: 'A' } } },
      { text: 'What the call of f showed:' },
      { inlineData },
    ]);
  });

  it('have arguments as an object, whatever the model wrote', () => {
    const parts = contentsOf([answer(call('a', 'f', ''), call('b', 'f', '[1]'), call('c', 'f', '{oops'))])[1]
      ?.parts;
    expect(parts?.map(({ functionCall }) => (functionCall as { args: unknown }).args)).toEqual([
      {},
      { value: [1] },
      { invalid_json: '{oops' },
    ]);
  });

  it('do not show ids that Gemini did not give', () => {
    const messages = [user('q'), answer(call('gemini-1')), result('gemini-1', 'A')];
    expect(JSON.stringify(contentsOf(messages))).not.toContain('gemini-1');
  });
});

describe('signatures', () => {
  const reasoning = (proof: ReturnType<typeof proofOf>, given = 'hm') =>
    ({ type: 'reasoning', text: given, proof }) as const;

  it('go back in the very parts that they came with', () => {
    const proof = proofOf('gemini-3.8-flash', [
      { signature: 'T', part: { type: 'thought' } },
      { signature: 'X', part: { type: 'text', from: 3, to: 5 } },
      { signature: 'Y', part: { type: 'text', from: 5, to: 5 } },
      { signature: 'A', part: { type: 'call', id: 'a' } },
      { signature: 'C', part: { type: 'call', id: 'c' } },
    ]);
    const parts = [reasoning(proof), text('one'), text('23'), call('a'), call('b'), call('c')];
    expect(contentsOf([user('q'), answer(...parts)])[1]?.parts).toEqual([
      { text: 'hm', thought: true, thoughtSignature: 'T' },
      { text: 'one' },
      { text: '23', thoughtSignature: 'X' },
      { text: '', thoughtSignature: 'Y' },
      { functionCall: { id: 'a', name: 'f', args: { a: 1 } }, thoughtSignature: 'A' },
      { functionCall: { id: 'b', name: 'f', args: { a: 1 } } },
      { functionCall: { id: 'c', name: 'f', args: { a: 1 } }, thoughtSignature: 'C' },
    ]);
  });

  it('of several proofs of one answer are given back once', () => {
    const first = { signature: 'A', part: { type: 'call', id: 'a' } } as const;
    const second = { signature: 'Y', part: { type: 'text', from: 0, to: 0 } } as const;
    const parts = [
      reasoning(proofOf('gemini-3.8-flash', [first])),
      call('a'),
      reasoning(proofOf('gemini-3.8-flash', [first, second]), ''),
    ];
    expect(contentsOf([user('q'), answer(...parts)])[1]?.parts).toEqual([
      { text: '', thoughtSignature: 'Y' },
      { functionCall: { id: 'a', name: 'f', args: { a: 1 } }, thoughtSignature: 'A' },
    ]);
  });

  it('alone, from a client of the dialect, go to the part behind them', () => {
    const raw = { type: 'reasoning', text: 'hm', proof: { protocol: 'gemini', data: 'EpkK' } } as const;
    expect(contentsOf([user('q'), answer(raw, call('a'))])[1]?.parts).toMatchObject([
      { thoughtSignature: 'EpkK' },
    ]);
  });

  it('of other protocols and thoughts without one stay here', () => {
    const foreign = { type: 'reasoning', text: 'hm', proof: { protocol: 'anthropic', data: 'sig' } } as const;
    expect(contentsOf([user('q'), answer(foreign, text('x'))])[1]?.parts).toEqual([{ text: 'x' }]);
  });

  it('of another model stay here too', () => {
    const proof = proofOf('gemini-3.1-pro-preview', [{ signature: 'A', part: { type: 'call', id: 'a' } }]);
    const parts = contentsOf([user('q'), answer(reasoning(proof), call('a'))])[1]?.parts;
    expect(parts).toMatchObject([{ thoughtSignature: skip }]);
  });

  it('that are missing have the documented placeholder, where calls are refused without', () => {
    const sent = (model: string) =>
      JSON.stringify(contentsOf([user('q'), answer(call('a'))], model)).includes(skip);
    expect(
      ['gemini-2.5-pro', 'gemini-3-flash-preview', 'gemini-flash-latest', 'gemma-3-27b-it'].map(sent),
    ).toEqual([false, true, true, false]);
  });
});

it('declares functions and says which may be called', () => {
  const tools = [
    { name: 'f', description: 'Does f.', parameters: { type: 'object', properties: { a: { const: 'x' } } } },
    { name: 'g', parameters: { type: 'object', properties: {}, additionalProperties: false } },
  ];
  const body = bodyOf({ tools, toolChoice: { type: 'tool', name: 'g' } });
  expect(body.tools).toEqual([
    {
      functionDeclarations: [
        {
          name: 'f',
          description: 'Does f.',
          parametersJsonSchema: { type: 'object', properties: { a: { enum: ['x'] } } },
        },
        { name: 'g' },
      ],
    },
  ]);
  const choice = (toolChoice: TurnRequest['toolChoice']) => bodyOf({ tools, toolChoice }).toolConfig;
  expect(body.toolConfig).toEqual({ functionCallingConfig: { mode: 'ANY', allowedFunctionNames: ['g'] } });
  expect(choice({ type: 'required' })).toEqual({ functionCallingConfig: { mode: 'ANY' } });
  expect(choice({ type: 'none' })).toEqual({ functionCallingConfig: { mode: 'NONE' } });
  expect(choice({ type: 'auto' })).toBeUndefined();
});

it('gives a call of the history a name that Gemini takes, whatever a model has called', () => {
  const messages = [user('q'), answer(call('a', 'read file')), result('a', 'none')];
  expect(contentsOf(messages).slice(1)).toMatchObject([
    { parts: [{ functionCall: { name: 'read_file' } }] },
    { parts: [{ functionResponse: { name: 'read_file' } }] },
  ]);
});

it('gives tools names that Gemini takes, in the history and the choice as well', () => {
  const long = `${'n'.repeat(64)}.one`;
  const names = ['9lives', long, `${'n'.repeat(64)}.two`, 'a.b:c-d'];
  const tools = names.map((name) => ({ name, parameters: {} }));
  const messages = [user('q'), answer(call('a', '9lives')), result('a', 'A')];
  const body = bodyOf({ messages, tools, toolChoice: { type: 'tool', name: long } });
  const declared = body.tools?.[0]?.functionDeclarations.map(({ name }) => name);
  expect(declared).toEqual(['_9lives', 'n'.repeat(64), `${'n'.repeat(63)}_`, 'a.b:c-d']);
  expect(body.toolConfig).toMatchObject({
    functionCallingConfig: { allowedFunctionNames: ['n'.repeat(64)] },
  });
  expect(body.contents[1]?.parts).toMatchObject([{ functionCall: { name: '_9lives' } }]);
  expect(body.contents[2]?.parts).toMatchObject([{ functionResponse: { name: '_9lives' } }]);
});

describe('settings', () => {
  const config = (more: Partial<TurnRequest>, model?: string) => bodyOf(more, model).generationConfig;

  it('have their names', () => {
    const sampling = { temperature: 0.5, topP: 0.9, seed: 2 ** 32 + 7 };
    const wishes = [{ ability: 'topK', param: 'top_k', value: 5, otherwise: 'ignored', says: '' }] as const;
    expect(config({ sampling, wishes }, 'gemini-2.0-flash')).toEqual({
      temperature: 0.5,
      topP: 0.9,
      topK: 5,
      seed: 7,
    });
  });

  it.each([
    ['gemini-3.8-flash', 'none', { includeThoughts: false, thinkingLevel: 'LOW' }],
    ['gemini-3-flash-preview', 'none', { includeThoughts: false, thinkingLevel: 'MINIMAL' }],
    ['gemini-3.8-flash', 'medium', { includeThoughts: true, thinkingLevel: 'MEDIUM' }],
    ['gemini-3-pro-preview', 'medium', { includeThoughts: true, thinkingLevel: 'HIGH' }],
    ['gemini-3.1-pro-preview', 'max', { includeThoughts: true, thinkingLevel: 'HIGH' }],
    ['gemini-2.5-flash', 'none', { includeThoughts: false, thinkingBudget: 0 }],
    ['gemini-2.5-pro', 'none', { includeThoughts: false, thinkingBudget: 128 }],
    ['gemini-2.5-flash', 'low', { includeThoughts: true, thinkingBudget: 1_024 }],
    ['gemini-2.5-flash', 'max', { includeThoughts: true, thinkingBudget: 24_576 }],
    ['gemini-2.5-flash-lite', undefined, { includeThoughts: true }],
    ['gemini-2.0-flash', 'high', undefined],
    ['gemini-2.5-flash-image', 'high', undefined],
    ['gemma-3-27b-it', 'high', undefined],
  ])('%s with effort %s thinks as it can', (model, effort, expected) => {
    expect(config({ reasoning: effort === undefined ? {} : { effort } }, model)['thinkingConfig']).toEqual(
      expected,
    );
  });

  it('take a budget as a level where the model has levels', () => {
    const reasoning = { budgetTokens: 10_000, isAsked: true };
    expect(config({ reasoning })['thinkingConfig']).toMatchObject({ thinkingLevel: 'MEDIUM' });
    expect(config({ reasoning }, 'gemini-2.5-pro')['thinkingConfig']).toMatchObject({
      thinkingBudget: 10_000,
    });
  });

  it('leave room for thoughts in a limit, unless the client asked for them', () => {
    const limit = (more: Partial<TurnRequest>, model?: string) =>
      config({ limits: { maxOutputTokens: 100 }, ...more }, model)['maxOutputTokens'];
    expect(limit({})).toBe(32_868);
    expect(limit({}, 'gemini-2.5-flash')).toBe(24_676);
    expect(limit({ reasoning: { effort: 'low', isAsked: true } })).toBe(100);
    expect(limit({}, 'gemini-2.0-flash')).toBe(100);
    expect(limit({ limits: { maxOutputTokens: 128_000 } })).toBe(65_536);
    const request: TurnRequest = { ...plainTurn, messages: [user('Hi')], limits: { maxOutputTokens: 100 } };
    const { body } = encodeRequest({ ...request, model: 'gemini-2.5-pro' }, new Set(), 8_192);
    expect(JSON.parse(body).generationConfig.maxOutputTokens).toBe(8_192);
  });

  it('ask for JSON, but not beside tools before Gemini 3', () => {
    const schema = { type: 'object', properties: { a: { type: 'string', minLength: 2 } } };
    const responseFormat = { type: 'json-schema', schema, param: 'p' } as const;
    const described = { type: 'string', description: '(minLength: 2)' };
    const asked = {
      responseMimeType: 'application/json',
      responseJsonSchema: { type: 'object', properties: { a: described } },
    };
    const tools = [{ name: 'f', parameters: {} }];
    expect(config({ responseFormat, tools })).toMatchObject(asked);
    expect(config({ responseFormat }, 'gemini-2.5-flash')).toMatchObject(asked);
    expect(config({ responseFormat, tools }, 'gemini-2.5-flash')).not.toHaveProperty('responseMimeType');
    expect(config({ responseFormat: { type: 'json' } })).toMatchObject({
      responseMimeType: 'application/json',
    });
  });
});
