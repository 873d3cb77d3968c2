import {
  type Content,
  FunctionCallingConfigMode,
  type GenerateContentConfig,
  GoogleGenAI,
  type Part,
  Type,
} from '@google/genai';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { pixel } from '../src/core/testing/pixel.ts';
import { geminiAnswer, geminiError, geminiModelList } from '../src/gateway/http/api-answers.ts';
import { readGeminiArray, readGeminiStream } from './support/gemini-grammar.ts';
import { servicesForTest, startTestServices, type TestServices } from './support/services.ts';
import { withUpstreams } from './support/upstreams.ts';

/** How every signature of this gateway begins. */
const ours = Buffer.from('warp2api ').toString('base64');
const hello = { contents: [{ role: 'user', parts: [{ text: 'Hello' }] }] };
const weather: GenerateContentConfig['tools'] = [
  {
    functionDeclarations: [
      { name: 'get_weather', description: 'The weather', parametersJsonSchema: { type: 'object' } },
    ],
  },
];

function clientOf({ gatewayUrl: baseUrl }: Pick<TestServices, 'gatewayUrl'>, apiKey = 'any'): GoogleGenAI {
  return new GoogleGenAI({ apiKey, httpOptions: { baseUrl } });
}

function post(
  { gatewayUrl }: Pick<TestServices, 'gatewayUrl'>,
  path: string,
  body: object = hello,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(gatewayUrl + path, { method: 'POST', headers, body: JSON.stringify(body) });
}

describe('over Warp', () => {
  let services: TestServices;
  beforeAll(async () => {
    services = await startTestServices({ MAX_CHOICES: '2', UPSTREAM_IDLE_SECONDS: '1' });
    await services.addAccount('wk-1.good');
  });
  afterAll(() => services.close());

  test('a whole answer has the documented shape', async () => {
    const answer = await post(services, '/v1beta/models/sandbox:generateContent');
    const body: unknown = await answer.json();
    expect(geminiAnswer.safeParse(body).error).toBeUndefined();
    expect(body).toMatchObject({
      candidates: [
        { content: { role: 'model', parts: [{ text: 'You said: Hello' }] }, finishReason: 'STOP', index: 0 },
      ],
      modelVersion: 'sandbox',
    });
    expect(answer.headers.get('x-warp2api-model')).toBe('warp/sandbox');
  });

  test('without alt=sse a stream is one JSON array, also where it breaks', async () => {
    const answer = await post(services, '/v1beta/models/sandbox:streamGenerateContent');
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(readGeminiArray(await answer.text())).toMatchObject({ text: 'You said: Hello', end: 'stop' });
    const own = await servicesForTest({ UPSTREAM_IDLE_SECONDS: '1' });
    await own.addAccount('wk-1.stall');
    const broken = await post(own, '/v1/models/sandbox:streamGenerateContent');
    expect(readGeminiArray(await broken.text())).toMatchObject({
      text: 'The first part of an answer',
      end: 'error',
      error: { code: 'DEADLINE_EXCEEDED' },
    });
  });

  it('shows thoughts to those who ask for them', async () => {
    const ask = async (config: GenerateContentConfig) => {
      const params = { model: 'sandbox-reasoning', contents: 'Hello', config };
      const { candidates } = await clientOf(services).models.generateContent(params);
      return candidates?.[0]?.content?.parts?.map(({ thought }) => thought ?? false);
    };
    expect(await ask({ thinkingConfig: { includeThoughts: true } })).toEqual([true, false]);
    expect(await ask({ thinkingConfig: { thinkingBudget: 1_024 } })).toEqual([false]);
    expect(await ask({})).toEqual([false]);
  });

  it('gives as many candidates as were asked for, and names the field where that is too many', async () => {
    const candidates = (candidateCount: number) => ({ ...hello, generationConfig: { candidateCount } });
    const whole = await post(services, '/v1beta/models/sandbox:generateContent', candidates(2));
    const body = (await whole.json()) as { candidates: { index: number }[] };
    expect(body.candidates.map(({ index }) => index)).toEqual([0, 1]);
    for (const alt of ['?alt=sse', '']) {
      const streamed = await post(
        services,
        `/v1beta/models/sandbox:streamGenerateContent${alt}`,
        candidates(2),
      );
      const text = await streamed.text();
      const responses = (
        alt === ''
          ? JSON.parse(text)
          : text
              .split('\n\n')
              .slice(0, -1)
              .map((event) => JSON.parse(event.slice(6)))
      ) as { candidates?: { index: number; finishReason?: string }[]; usageMetadata?: object }[];
      const ends = responses.flatMap((one) => one.candidates ?? []).filter((one) => one.finishReason);
      expect(ends.map(({ index }) => index).toSorted()).toEqual([0, 1]);
      expect(responses.at(-1)?.usageMetadata).toBeDefined();
    }
    const refused = await post(services, '/v1beta/models/sandbox:generateContent', candidates(3));
    expect(await refused.json()).toMatchObject({
      error: {
        code: 400,
        status: 'INVALID_ARGUMENT',
        details: [{ fieldViolations: [{ field: 'generationConfig.candidateCount' }] }],
      },
    });
  });

  it('takes names of models with slashes, also percent-encoded, and fields in snake case', async () => {
    const body = {
      contents: [{ parts: [{ text: 'one STOP two' }] }],
      system_instruction: { parts: { text: 'Be brief.' } },
      generation_config: { stop_sequences: ['STOP'], temperature: 0.5 },
      safety_settings: [{ category: 'HARM_CATEGORY_HARASSMENT', threshold: 'OFF' }],
      tools: [{ function_declarations: [{ name: 'f', parameters: { type: 'OBJECT' } }] }],
    };
    for (const name of ['warp/sandbox', 'warp%2Fsandbox']) {
      const answer = await post(services, `/v1beta/models/${name}:generateContent`, body);
      expect(await answer.json()).toMatchObject({
        candidates: [{ content: { parts: [{ text: 'You said: one ' }] } }],
      });
      expect(answer.headers.get('x-warp2api-ignored')).toBe('generationConfig.temperature, safetySettings');
      expect(services.upstream.turns.at(-1)).toMatchObject({ projectRules: ['Be brief.'], toolNames: ['f'] });
    }
  });

  it('counts tokens without a turn', async () => {
    const before = services.upstream.turns.length;
    const client = clientOf(services);
    const { totalTokens = 0 } = await client.models.countTokens({ model: 'sandbox', contents: 'Hello' });
    const contents = 'Hello '.repeat(100);
    const long = await client.models.countTokens({ model: 'sandbox', contents });
    expect(long.totalTokens).toBeGreaterThan(totalTokens + 90);
    const path = '/v1beta/models/sandbox:countTokens';
    const whole = await post(services, path, {
      generateContentRequest: { model: 'models/sandbox', ...hello },
    });
    expect(await whole.json()).toEqual({ totalTokens });
    expect(services.upstream.turns).toHaveLength(before);
  });

  it('serves a client that is set to v1alpha', async () => {
    const httpOptions = { baseUrl: services.gatewayUrl, apiVersion: 'v1alpha' };
    const { models } = new GoogleGenAI({ apiKey: 'any', httpOptions });
    const turn = { model: 'sandbox', contents: 'Hello' };
    expect((await models.generateContent(turn)).text).toBe('You said: Hello');
    let streamed = '';
    for await (const { text } of await models.generateContentStream(turn)) streamed += text ?? '';
    expect(streamed).toBe('You said: Hello');
    expect((await models.countTokens(turn)).totalTokens).toBeGreaterThan(0);
    expect((await models.list({ config: { pageSize: 2 } })).page).toHaveLength(2);
    expect(await models.get({ model: 'warp/sandbox' })).toMatchObject({ name: 'models/warp/sandbox' });
  });

  it('lists the models page by page, and finds one', async () => {
    const client = clientOf(services);
    const names: unknown[] = [];
    for await (const { name } of await client.models.list({ config: { pageSize: 2 } })) names.push(name);
    const { data } = await services.openai().models.list();
    expect(names).toEqual(data.map(({ id }) => `models/${id}`));
    expect(names.length).toBeGreaterThan(2);
    const page: unknown = await (await fetch(`${services.gatewayUrl}/v1beta/models?pageSize=2`)).json();
    expect(geminiModelList.safeParse(page).error).toBeUndefined();
    expect(page).toMatchObject({ models: [{}, {}], nextPageToken: expect.any(String) });
    expect(await client.models.get({ model: 'warp/sandbox' })).toMatchObject({
      name: 'models/warp/sandbox',
    });
    await expect(client.models.get({ model: 'sandbx' })).rejects.toMatchObject({ status: 404 });
  });

  it('a name with a slash needs no models/ in front, as the AI SDK and LangChain send it', async () => {
    for (const path of [
      '/v1beta/warp/sandbox:generateContent',
      '/v1alpha/warp/sandbox:generateContent?alt=json',
    ]) {
      const answer = await post(services, path);
      expect(await answer.json(), path).toMatchObject({
        candidates: [{ content: { parts: [{ text: 'You said: Hello' }] } }],
      });
    }
    const counted = await post(services, '/v1beta/warp/sandbox:countTokens');
    expect(await counted.json()).toEqual({ totalTokens: expect.any(Number) });
  });

  it.each([
    ['/v1beta/cachedContents/one:generate', 404, /no such call/],
    ['/v1beta/sandbox:generateContent', 404, /nothing at/],
    ['/v1beta/models/sandbox:predict', 404, /:generateContent, :streamGenerateContent, :countTokens/],
    ['/v1beta/models/sandbox:embedContent', 404, /has no embeddings/],
    ['/v1beta/models/:generateContent', 400, /not the name of a model/],
    ['/v1beta/models', 405, /takes GET/],
    ['/v1beta/cachedContents', 404, /no such call/],
    ['/v1beta/files', 404, /no such call/],
    ['/v1alpha/files', 404, /no such call/],
    ['/v1alpha/models', 405, /takes GET/],
    ['/v1alpha/models/no-such-model:generateContent', 404, /no-such-model/],
    ['/v1beta/models/no-such-model:generateContent', 404, /no-such-model/],
  ])("%s is refused in Google's words", async (path, status, message) => {
    const answer = await post(services, path);
    const body: unknown = await answer.json();
    expect(geminiError.safeParse(body).error).toBeUndefined();
    expect([answer.status, body]).toMatchObject([
      status,
      { error: { code: status, message: expect.stringMatching(message) } },
    ]);
  });

  it.each([
    [{ cachedContent: 'cachedContents/1' }, 'cachedContent'],
    [{ tools: [{ googleSearch: {} }] }, 'tools.0.googleSearch'],
    [{ tools: [{ computerUse: {} }, ...(weather ?? [])] }, 'tools.0.computerUse'],
    [{ tools: [{ googleMagic: {} }] }, 'tools.0.googleMagic'],
    [{ toolConfig: { functionCallingConfig: { mode: 'ANY' } } }, 'toolConfig.functionCallingConfig.mode'],
    [
      { tools: weather, toolConfig: { functionCallingConfig: { mode: 'ANY', allowedFunctionNames: ['g'] } } },
      'toolConfig.functionCallingConfig.allowedFunctionNames',
    ],
    [{ generationConfig: { responseMimeType: 'text/x.enum' } }, 'generationConfig.responseMimeType'],
    [{ generationConfig: { responseSchema: { type: 'OBJECT' } } }, 'generationConfig.responseSchema'],
    [{ generationConfig: { responseModalities: ['IMAGE'] } }, 'generationConfig.responseModalities'],
    [
      {
        generationConfig: {
          responseMimeType: 'application/json',
          responseSchema: { type: 'OBJECT', properties: { a: { required: 5 } } },
        },
      },
      'generationConfig.responseSchema',
    ],
    [{ contents: [] }, 'contents'],
    [{ contents: [{ parts: [{ functionResponse: { name: 'f', response: {} } }] }] }, 'contents.0.parts.0'],
  ])('%j is refused by its name', async (more, field) => {
    const answer = await post(services, '/v1beta/models/sandbox:generateContent', { ...hello, ...more });
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      {
        error: {
          status: 'INVALID_ARGUMENT',
          details: [{ fieldViolations: [{ field: expect.stringContaining(field) }] }],
        },
      },
    ]);
  });
});

test('a model whose name has a colon is refused to other clients in their words', async () => {
  const services = await servicesForTest({ STRICT_MODELS: 'true' });
  await services.addAccount('wk-1.good');
  const answer = await fetch(`${services.gatewayUrl}/v1/models/none:8b`);
  expect([answer.status, await answer.json()]).toMatchObject([404, { error: { code: 'model_not_found' } }]);
  for (const path of ['/v1/models/none:8b', '/v1/models/x:%C3%86%C2%A7']) {
    const called = await post(services, path);
    expect(await called.json()).toMatchObject({ error: { code: 404, status: 'NOT_FOUND' } });
  }
});

describe('a key', () => {
  const key = 'the-key-of-a-client';

  it('comes in any of its places, and is seen nowhere', async () => {
    const services = await servicesForTest({ API_KEYS: key });
    await services.addAccount('wk-1.good');
    const paths = [
      '/v1beta/models/sandbox:generateContent',
      '/v1beta/models/no-such-model:generateContent',
      '/v1beta/nowhere',
      '/v1beta/models/sandbox:nothing',
    ];
    for (const path of paths) {
      const answer = await post(services, `${path}?key=${key}`);
      expect(await answer.text()).not.toContain(key);
      expect((await post(services, `${path}?key=wrong-${key}`)).status).toBe(401);
    }
    expect((await post(services, `${paths[0]}?key=${key}`)).status).toBe(200);
    for (const headers of [{ 'x-goog-api-key': key }, { authorization: `Bearer ${key}` }])
      expect((await post(services, String(paths[0]), hello, headers)).status).toBe(200);
    const metrics = await fetch(`${services.gatewayUrl}/metrics?key=${key}`);
    expect(await metrics.text()).toMatch(/protocol="gemini"/);
    for (const text of [services.log(), await (await fetch(metrics.url)).text()])
      expect(text).not.toContain(key);
  });
});

/** Three turns with a call each, over the SDK's own chat, which gives back what it got. */
async function toolTurns(client: GoogleGenAI, model: string, isStream: boolean): Promise<Content[]> {
  const config = { tools: weather, thinkingConfig: { thinkingBudget: 1_024 } };
  const chat = client.chats.create({ model, config: config as GenerateContentConfig });
  const send = async (message: string | Part[]) => {
    if (!isStream) return (await chat.sendMessage({ message })).functionCalls ?? [];
    const calls = [];
    for await (const chunk of await chat.sendMessageStream({ message }))
      calls.push(...(chunk.functionCalls ?? []));
    return calls;
  };
  let calls = await send('Weather?');
  for (let turn = 1; calls.length > 0 && turn <= 3; turn += 1) {
    calls = await send(
      calls.map(
        ({ id, name }): Part => ({
          functionResponse: { ...(id && { id }), ...(name && { name }), response: { output: 'sunny' } },
        }),
      ),
    );
  }
  return chat.getHistory();
}

describe.each([false, true])('reasoning is given back over a loop of tools (stream: %s)', (isStream) => {
  it('to an upstream of Chat Completions', async () => {
    const services = await withUpstreams({ up: { protocol: 'chat' } });
    await toolTurns(clientOf(services), 'up/chat-signed', isStream);
    const messages = services.vendors.up.turns.map(
      ({ text }) => (JSON.parse(text) as { messages: { reasoning_details?: unknown }[] }).messages,
    );
    const second = messages[1]?.filter((message) => message.reasoning_details);
    expect(second).toMatchObject([{ tool_calls: [{}], reasoning_details: [expect.objectContaining({})] }]);
  });

  // These vendors refuse calls whose signatures were lost or changed.
  it.each([
    ['messages', 'claude-thinking'],
    ['responses', 'gpt-thinking'],
    ['gemini', 'gemini-thinking'],
  ] as const)('to an upstream of %s', async (protocol, model) => {
    const services = await withUpstreams({ up: { protocol } });
    const history = await toolTurns(clientOf(services), `up/${model}`, isStream);
    const { turns } = services.vendors.up;
    expect(turns).toHaveLength(4);
    expect(turns.at(-1)?.text).toMatch(/"signature"|"encrypted_content"|"thoughtSignature"/);
    const calls = history.flatMap(({ parts = [] }) => parts).filter(({ functionCall }) => functionCall);
    expect(calls).toHaveLength(3);
    for (const { thoughtSignature } of calls) expect(thoughtSignature).toBeTruthy();
  });
});

describe('over Gemini itself', () => {
  it('a request that gives back a signature of this gateway is translated, and the signature is left out', async () => {
    const { vendors, ...services } = await withUpstreams({
      claude: { protocol: 'messages' },
      google: { protocol: 'gemini' },
    });
    const began = await toolTurns(clientOf(services), 'claude/claude-thinking', true);
    const body = { contents: [...began, { role: 'user', parts: [{ text: 'And now?' }] }], tools: weather };
    expect(JSON.stringify(body)).toContain(ours);
    const path = '/v1beta/models/google/gemini-text:generateContent';
    expect((await post(services, path, body)).status).toBe(200);
    const [turn] = vendors.google.turns;
    expect(turn?.text).toContain('And now?');
    expect(turn?.text).not.toContain(ours);
  });

  it('a stream without alt=sse is its answer as an array', async () => {
    const { vendors, ...services } = await withUpstreams({ google: { protocol: 'gemini' } });
    const body = JSON.stringify({ ...hello, generation_config: { seed: 7 } }, null, 1);
    const path = '/v1beta/models/google/gemini-text:streamGenerateContent';
    const answers = await Promise.all(
      ['', '?alt=sse'].map((alt) => fetch(services.gatewayUrl + path + alt, { method: 'POST', body })),
    );
    const [array, events] = await Promise.all(answers.map((answer) => answer.text()));
    const streamed = events?.split('\r\n\r\n').filter((event) => event.startsWith('data: '));
    expect(JSON.parse(array ?? '')).toEqual(streamed?.map((event) => JSON.parse(event.slice(6)) as unknown));
    expect(vendors.google.turns.map(({ text }) => text)).toEqual([body, body]);
  });

  it('several candidates are asked of it, and not of this gateway', async () => {
    const { vendors, ...services } = await withUpstreams({ google: { protocol: 'gemini' } });
    const body = { ...hello, generationConfig: { candidateCount: 2 } };
    await post(services, '/v1beta/models/google/gemini-text:generateContent', body);
    expect(vendors.google.turns.map(({ text }) => text)).toEqual([JSON.stringify(body)]);
  });
});

test('images and documents reach an upstream that takes them, also in results', async () => {
  const services = await withUpstreams({ up: { protocol: 'messages' } });
  const pdf = Buffer.from('%PDF-1.7 x', 'latin1').toString('base64');
  const files = [
    { inlineData: { mimeType: 'image/png', data: pixel } },
    { inlineData: { mimeType: 'application/pdf', data: pdf } },
  ];
  const answer = await clientOf(services).models.generateContent({
    model: 'up/claude-image',
    contents: [
      { role: 'user', parts: [{ text: 'What is it?' }, ...files] },
      { role: 'model', parts: [{ functionCall: { name: 'get_weather', args: {} } }] },
      {
        role: 'user',
        parts: [{ functionResponse: { name: 'get_weather', response: { output: 'a map' }, parts: files } }],
      },
    ],
    config: { tools: weather ?? [] },
  });
  expect(answer.text).toBe('I see image image/png of 70 bytes, document application/pdf of 10 bytes.');
  const sent = services.vendors.up.turns.at(-1)?.text ?? '';
  for (const data of [pixel, pdf]) expect(sent.split(data)).toHaveLength(3);
});

describe.each(['', '?alt=sse'])('a relayed stream that is cut (%s)', (alt) => {
  const read = alt === '' ? readGeminiArray : readGeminiStream;
  async function cut(delivery: string) {
    const { vendors, ...services } = await withUpstreams(
      { google: { protocol: 'gemini' }, two: { protocol: 'chat' } },
      'routes:\n  - model: both\n    candidates:\n      - { provider: google, model: gemini-text }\n      - { provider: two, model: chat-text }\n',
    );
    vendors.google.script('gemini-text', [], 'cut');
    const path = `/v1beta/models/both:streamGenerateContent${alt}`;
    const answer = await post(services, path, hello, { 'x-warp2api-delivery': delivery });
    return { body: await answer.text(), tries: vendors.two.turns.length };
  }

  it('ends with its error', async () => {
    const { body, tries } = await cut('stream');
    const events = alt === '' ? (JSON.parse(body) as object[]) : body.trim().split(/\r?\n\r?\n/);
    const last =
      typeof events.at(-1) === 'string' ? String(events.at(-1)).slice(6) : JSON.stringify(events.at(-1));
    expect(JSON.parse(last)).toMatchObject({ error: { code: 503, status: 'UNAVAILABLE' } });
    expect([body.includes('finishReason'), tries]).toEqual([false, 0]);
  });

  it.each(['whole', 'continue'])(
    'is replaced unseen by an upstream of another dialect: %s',
    async (delivery) => {
      const { body, tries } = await cut(delivery);
      expect(read(body)).toMatchObject({ text: 'Hello from the upstream – ünïcode.', end: 'stop' });
      expect(tries).toBe(1);
    },
  );
});

test('a stream that is sent again for its Idempotency-Key is one that the SDK reads', async () => {
  const services = await withUpstreams({ up: { protocol: 'chat' } });
  const httpOptions = { baseUrl: services.gatewayUrl, headers: { 'Idempotency-Key': 'one' } };
  const client = new GoogleGenAI({ apiKey: 'any', httpOptions });
  for (const _time of [1, 2]) {
    let text = '';
    const params = { model: 'up/chat-text', contents: 'Hello' };
    for await (const chunk of await client.models.generateContentStream(params)) text += chunk.text ?? '';
    expect(text).toBe('Hello from the upstream – ünïcode.');
  }
  expect(services.vendors.up.turns).toHaveLength(1);
});

describe('over Chat Completions', () => {
  it('images, settings and a schema reach the upstream in its words', async () => {
    const { vendors, ...services } = await withUpstreams({ up: { protocol: 'chat' } });
    await clientOf(services).models.generateContent({
      model: 'up/chat-text',
      contents: [{ text: 'What is it?' }, { inlineData: { mimeType: 'image/png', data: pixel } }],
      config: {
        systemInstruction: 'Be brief.',
        temperature: 0.5,
        topP: 0.9,
        seed: 7,
        maxOutputTokens: 99,
        stopSequences: ['STOP'],
        tools: [
          {
            functionDeclarations: [
              {
                name: 'get_weather',
                parameters: {
                  type: Type.OBJECT,
                  properties: {
                    city: { type: Type.STRING, nullable: true },
                    days: { type: Type.INTEGER, minimum: 1 },
                  },
                  required: ['city'],
                },
              },
            ],
          },
        ],
        toolConfig: { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY } },
      },
    });
    const parameters = {
      type: 'object',
      properties: { city: { type: ['string', 'null'] }, days: { type: 'integer', minimum: 1 } },
      required: ['city'],
    };
    expect(JSON.parse(vendors.up.turns.at(-1)?.text ?? '')).toMatchObject({
      model: 'chat-text',
      messages: [
        { role: 'system', content: 'Be brief.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is it?' },
            { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } },
          ],
        },
      ],
      temperature: 0.5,
      top_p: 0.9,
      seed: 7,
      tools: [{ function: { name: 'get_weather', parameters } }],
      tool_choice: 'required',
    });
  });

  it('a filter before any content is feedback on the prompt, and later the reason of a candidate', async () => {
    const services = await withUpstreams({ up: { protocol: 'chat' } });
    const ask = async (model: string, method = 'generateContent') =>
      (await post(services, `/v1beta/models/up/${model}:${method}`)).text();
    expect(JSON.parse(await ask('chat-filter'))).toMatchObject({
      candidates: [{ content: { parts: [{ text: 'No.' }] }, finishReason: 'SAFETY' }],
    });
    expect(JSON.parse(await ask('chat-refusal'))).toMatchObject({ candidates: [{ finishReason: 'SAFETY' }] });
    expect(readGeminiArray(await ask('chat-refusal', 'streamGenerateContent'))).toMatchObject({
      text: 'I am sorry, I cannot help with that.',
      end: 'content-filter',
    });
  });
});
