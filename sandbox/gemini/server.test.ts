import { describe, expect, it, onTestFinished } from 'vitest';
import { soundText } from '../vendor/scenarios.ts';
import { startGeminiSandbox } from './server.ts';

interface Answered {
  readonly candidates: { readonly content: { readonly parts: Part[] }; readonly finishReason?: string }[];
  readonly usageMetadata: object;
}
interface Part {
  readonly text?: string;
  readonly functionCall?: { readonly id: string; readonly name: string; readonly args: object };
  readonly thoughtSignature?: string;
}

async function started() {
  const vendor = await startGeminiSandbox();
  onTestFinished(() => vendor.close());
  const post = (path: string, body: unknown, key = 'key-1') =>
    fetch(`${vendor.url}/v1beta/models/${path}`, {
      method: 'POST',
      headers: key === '' ? {} : { 'x-goog-api-key': key },
      body: JSON.stringify(body),
    });
  const generate = async (model: string, body: unknown) =>
    (await (await post(`${model}:generateContent`, body)).json()) as Answered;
  return { vendor, post, generate };
}

const question = { role: 'user', parts: [{ text: 'Weather?' }] };
const asked = { contents: [question] };
const tools = [{ functionDeclarations: ['get_weather', 'get_time'].map((name) => ({ name })) }];

describe('an answer', () => {
  it('is one body, a stream of events, or an array that grows', async () => {
    const { post, generate } = await started();
    const whole = await generate('gemini-text', asked);
    expect(whole.candidates[0]).toMatchObject({
      content: { role: 'model', parts: [{ text: soundText }] },
      finishReason: 'STOP',
    });
    expect(whole.usageMetadata).toMatchObject({
      promptTokenCount: 21,
      candidatesTokenCount: 4,
      thoughtsTokenCount: 3,
      totalTokenCount: 28,
    });
    const sse = await post('gemini-text:streamGenerateContent?alt=sse', asked);
    expect(sse.headers.get('content-type')).toBe('text/event-stream');
    const events = (await sse.text()).split('\r\n\r\n').filter((event) => event !== '');
    const array = await (await post('gemini-text:streamGenerateContent', asked)).json();
    const streamed = events.map((event) => JSON.parse(event.slice('data: '.length)) as Answered);
    expect(array).toEqual(streamed);
    const texts = streamed.map(({ candidates }) => candidates[0]?.content.parts[0]?.text);
    expect(texts.join('')).toBe(soundText);
    expect(streamed.at(-1)).toMatchObject({ candidates: [{ finishReason: 'STOP' }] });
  });

  it('goes through three calls with their signatures', async () => {
    const { generate } = await started();
    const contents: object[] = [question];
    for (let turn = 0; turn < 3; turn++) {
      const answer = await generate('gemini-thinking', { contents, tools });
      const parts = answer.candidates[0]?.content.parts ?? [];
      expect(parts[0]?.thoughtSignature).toMatch(/.{20}/);
      const { id, name } = parts[0]?.functionCall ?? {};
      contents.push({ role: 'model', parts });
      const functionResponse = { id, name, response: { output: `sunny ${turn}` } };
      contents.push({ role: 'user', parts: [{ functionResponse }] });
    }
    const last = await generate('gemini-thinking', { contents, tools });
    expect(last.candidates[0]?.content.parts[0]?.text).toBe(
      'Results: get_weather(Place 1)=sunny 0; get_weather(Place 2)=sunny 1; get_weather(Place 3)=sunny 2',
    );
  });

  it('fits a schema of either kind, and takes fields by both of their names', async () => {
    const { generate } = await started();
    const config = { response_mime_type: 'application/json' };
    const schema = { type: 'OBJECT', properties: { any_city: { type: 'STRING' } }, required: ['any_city'] };
    const responseJsonSchema = JSON.parse(JSON.stringify(schema).toLowerCase()) as object;
    for (const form of [{ response_schema: schema }, { responseJsonSchema }]) {
      const answer = await generate('gemini-json', { ...asked, generationConfig: { ...config, ...form } });
      const text = answer.candidates[0]?.content.parts[0]?.text ?? '';
      expect(Object.keys(JSON.parse(text) as object)).toEqual(['any_city']);
    }
  });

  it('of the list of models comes in pages, and tokens are counted', async () => {
    const { vendor, post } = await started();
    const list = async (token: string) =>
      (await (await fetch(`${vendor.url}/v1beta/models?pageSize=10&pageToken=${token}&key=k`)).json()) as {
        models: { name: string }[];
        nextPageToken?: string;
      };
    const first = await list('');
    expect(first.models[0]?.name).toBe('models/gemini-text');
    expect((await list(first.nextPageToken ?? '')).models[0]?.name).not.toBe('models/gemini-text');
    const counted = await post('gemini-text:countTokens', asked);
    expect(await counted.json()).toMatchObject({ totalTokens: expect.any(Number) });
  });
});

const call = {
  functionCall: { name: 'get_weather', args: {} },
  thoughtSignature: 'skip_thought_signature_validator',
};
const response = { functionResponse: { name: 'get_weather', response: { output: 'sunny' } } };
const loop = [question, { role: 'model', parts: [call] }, { role: 'user', parts: [response] }];

it('takes one turn in several contents, as clients send the chunks of an answer and each response', async () => {
  const { generate } = await started();
  const [first, second] = [{ functionCall: { name: 'get_weather', args: { at: 1 } } }, call];
  const contents = [
    question,
    { role: 'model', parts: [{ text: 'Well', thought: true }] },
    { role: 'model', parts: [second] },
    { role: 'model', parts: [first] },
    { role: 'user', parts: [response] },
    { role: 'user', parts: [response] },
  ];
  const answer = await generate('gemini-thinking', { contents, tools });
  expect(answer.candidates).toHaveLength(1);
});

describe('a request is refused', () => {
  it.each<[string, string, object]>([
    ['has a field that is not known', 'Unknown name "brandnew": Cannot find field', { brandnew: 1 }],
    [
      'has one in its depths',
      'Unknown name "odd" at \'contents[0].parts[0]\'',
      {
        contents: [{ parts: [{ text: 'Hi', odd: 1 }] }],
      },
    ],
    ['says nothing', 'contents is not specified', { contents: [] }],
    ['has an empty part', "required oneof field 'data'", { contents: [{ parts: [{}] }] }],
    [
      'names another role',
      'Please use a valid role: user, model',
      {
        contents: [{ role: 'assistant', parts: [{ text: 'Hi' }] }],
      },
    ],
    [
      'has a call without a signature',
      'Function call is missing a thought_signature',
      {
        contents: [loop[0], { role: 'model', parts: [{ functionCall: call.functionCall }] }, loop[2]],
      },
    ],
    [
      'has another signature',
      'Corrupted thought signature',
      {
        contents: [loop[0], { role: 'model', parts: [{ ...call, thoughtSignature: 'c2ln' }] }, loop[2]],
      },
    ],
    [
      'begins with a call',
      'function call turn comes immediately after a user turn',
      {
        contents: loop.slice(1),
      },
    ],
    [
      'has a response without a call',
      'function response turn comes immediately after',
      {
        contents: [question, loop[2]],
      },
    ],
    [
      'lacks a response',
      'number of function response parts is equal',
      {
        contents: [question, { role: 'model', parts: [call, call] }, loop[2]],
      },
    ],
    [
      'has a schema of the other kind',
      'Unknown name "additionalProperties"',
      {
        tools: [
          {
            functionDeclarations: [
              { name: 'a', parameters: { type: 'object', additionalProperties: false } },
            ],
          },
        ],
      },
    ],
    [
      'names a tool oddly',
      'Invalid function name',
      {
        tools: [{ functionDeclarations: [{ name: '1 tool' }] }],
      },
    ],
    [
      'thinks by two measures',
      'only one of thinking budget and thinking level',
      {
        generationConfig: { thinkingConfig: { thinkingBudget: 1_024, thinkingLevel: 'LOW' } },
      },
    ],
    [
      'has a schema without its type',
      'response_schema: only allowed for mime types',
      {
        generationConfig: { responseSchema: { type: 'STRING' } },
      },
    ],
    [
      'allows names in another mode',
      'allowed_function_names',
      {
        tools,
        toolConfig: { functionCallingConfig: { mode: 'AUTO', allowedFunctionNames: ['get_time'] } },
      },
    ],
  ])('that %s', async (_name, message, more) => {
    const { post } = await started();
    const answer = await post('gemini-text:generateContent', { ...asked, ...more });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      error: { code: 400, status: 'INVALID_ARGUMENT', message: expect.stringContaining(message) },
    });
  });

  it('without a key, with a bad one, and for an unknown model', async () => {
    const { post } = await started();
    expect((await post('gemini-text:generateContent', asked, '')).status).toBe(403);
    const bad = await post('gemini-text:generateContent', asked, 'key-bad');
    expect([bad.status, await bad.text()]).toEqual([400, expect.stringContaining('API_KEY_INVALID')]);
    expect((await post('gemini-none:generateContent', asked)).status).toBe(404);
    const array = await post('gemini-none:streamGenerateContent', asked);
    expect(await array.json()).toMatchObject([{ error: { status: 'NOT_FOUND' } }]);
  });

  it('for a level of thinking by an older model, which asks for no signature', async () => {
    const { post } = await started();
    const level = { generationConfig: { thinkingConfig: { thinkingLevel: 'LOW' } } };
    expect((await post('gemini-old:generateContent', { ...asked, ...level })).status).toBe(400);
    const unsigned = [loop[0], { role: 'model', parts: [{ functionCall: call.functionCall }] }, loop[2]];
    expect((await post('gemini-old:generateContent', { contents: unsigned, tools })).status).toBe(200);
  });
});
