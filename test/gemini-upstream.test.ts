import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import type OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import type { VendorSandbox } from '../sandbox/vendor/server.ts';
import { pixel } from '../src/core/testing/pixel.ts';
import { eventually, type TestServices, userTurn } from './support/services.ts';
import { withUpstreams } from './support/upstreams.ts';

const key = 'AIza-one-1234567890';
const hello = 'Hello from the upstream – ünïcode.';

interface GeminiSetup extends TestServices {
  readonly vendor: VendorSandbox;
}

/** Both services with a server of Google's API in their configuration file, and an account of it for each key. */
async function withGemini(
  keys: readonly string[] = [key],
  environment: Record<string, string> = {},
): Promise<GeminiSetup> {
  const upstreams = { gemini: { protocol: 'gemini' as const, keys } };
  const { vendors, ...services } = await withUpstreams(upstreams, '', environment);
  return { ...services, vendor: vendors.gemini };
}

const anthropic = ({ gatewayUrl }: GeminiSetup) =>
  new Anthropic({ baseURL: gatewayUrl, apiKey: 'any', maxRetries: 0 });

interface Part {
  readonly functionCall?: { readonly id: string };
  readonly functionResponse?: { readonly id: string; readonly parts?: unknown[] };
  readonly inlineData?: { readonly mimeType: string };
  readonly thoughtSignature?: string;
}
interface Sent {
  readonly contents: { readonly role: string; readonly parts: Part[] }[];
  readonly generationConfig: Record<string, unknown>;
  readonly systemInstruction?: unknown;
  readonly toolConfig?: unknown;
}
const sentBy = ({ vendor }: GeminiSetup, turn = -1): Sent => JSON.parse(vendor.turns.at(turn)?.text ?? '{}');

const cityTools = ['get_weather', 'get_time'].map((name) => ({
  name,
  description: `Tells ${name}.`,
  input_schema: { type: 'object' as const, properties: { city: { type: 'string', minLength: 1 } } },
}));

describe('an OpenAI client', () => {
  it('has text and usage with thoughts and cache, whole and streamed', async () => {
    const setup = await withGemini();
    const client = setup.openai();
    const usage = {
      prompt_tokens: 21,
      completion_tokens: 7,
      total_tokens: 28,
      prompt_tokens_details: { cached_tokens: 16 },
      completion_tokens_details: { reasoning_tokens: 3 },
    };
    const { data, response } = await client.chat.completions
      .create({
        ...userTurn('gemini-text', 'Hi'),
        messages: [
          { role: 'system', content: 'Be kind.' },
          { role: 'user', content: 'Hi' },
        ],
        temperature: 0.5,
        top_p: 0.9,
        seed: 7,
        presence_penalty: 1,
      })
      .withResponse();
    expect(response.headers.get('x-warp2api-ignored')).toBe('presence_penalty');
    expect(data.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: hello } });
    expect(data.usage).toMatchObject(usage);
    const [turn] = setup.vendor.turns;
    expect(turn?.path).toBe('/v1beta/models/gemini-text:streamGenerateContent?alt=sse');
    expect(turn?.headers).toMatchObject({
      'x-goog-api-key': key,
      'user-agent': expect.stringMatching(/^warp2api/),
    });
    expect(sentBy(setup)).toEqual({
      systemInstruction: { parts: [{ text: 'Be kind.' }] },
      contents: [{ role: 'user', parts: [{ text: 'Hi' }] }],
      generationConfig: { temperature: 0.5, topP: 0.9, seed: 7, thinkingConfig: { includeThoughts: true } },
    });
    const stream = client.chat.completions.stream({
      ...userTurn('gemini-text', 'Hi'),
      stream_options: { include_usage: true },
    });
    const final = await stream.finalChatCompletion();
    expect(final.choices[0]?.message.content).toBe(hello);
    expect(final.usage).toMatchObject(usage);
  });

  it('runs a loop of parallel tools over Chat Completions', async () => {
    const setup = await withGemini();
    const seen: string[] = [];
    const runner = setup.openai().chat.completions.runTools({
      ...userTurn('gemini-tools', 'Weather?'),
      stream: true,
      tools: cityTools.map(({ input_schema: parameters, ...one }) => ({
        type: 'function' as const,
        function: {
          ...one,
          parameters,
          parse: JSON.parse,
          function: ({ city }: { city: string }) => {
            seen.push(city);
            return `sunny in ${city}`;
          },
        },
      })),
    });
    expect(await runner.finalContent()).toBe(
      'Results: get_weather(Place 1)=sunny in Place 1; get_time(Place 2)=sunny in Place 2',
    );
    expect(seen).toEqual(['Place 1', 'Place 2']);
    expect(setup.vendor.turns).toHaveLength(2);
  });

  it('calls a tool by its own name, which Gemini does not take', async () => {
    const setup = await withGemini();
    const answer = await setup.openai().chat.completions.create({
      ...userTurn('gemini-tools', 'Call!'),
      tools: [{ type: 'function', function: { name: '9.lives', parameters: {} } }],
    });
    expect(answer.choices[0]?.message.tool_calls).toMatchObject([{ function: { name: '9.lives' } }]);
  });

  it('gives signatures back over three turns of tools with Chat Completions', async () => {
    const setup = await withGemini();
    const tools = cityTools.map(({ input_schema: parameters, ...one }) => ({
      type: 'function' as const,
      function: { ...one, parameters },
    }));
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Weather?' }];
    let text: string | null = null;
    for (let round = 0; round < 4; round += 1) {
      const asked = { model: 'gemini-thinking', messages, tools };
      const { choices } = await setup.openai().chat.completions.create(asked);
      const [choice] = choices;
      if (!choice) throw new Error('no choice');
      text = choice.message.content;
      messages.push(choice.message);
      for (const { id } of choice.message.tool_calls ?? [])
        messages.push({ role: 'tool', tool_call_id: id, content: `sunny ${round}` });
    }
    expect(text).toContain('=sunny 2');
    expectSignatures(sentBy(setup));
  });

  it('gives signatures back over three turns of tools with Responses', async () => {
    const setup = await withGemini();
    const client = setup.openai();
    const tools = cityTools.map(({ input_schema: parameters, ...one }) => ({
      type: 'function' as const,
      strict: false,
      ...one,
      parameters,
    }));
    const input: OpenAI.Responses.ResponseInput = [{ role: 'user', content: 'Weather?' }];
    const asked = {
      model: 'gemini-thinking',
      tools,
      store: false,
      reasoning: { effort: 'medium' as const, summary: 'auto' as const },
      include: ['reasoning.encrypted_content' as const],
    };
    let text = '';
    for (let round = 0; round < 4; round += 1) {
      const stream = client.responses.stream({ ...asked, input });
      const { output, output_text } = await stream.finalResponse();
      text = output_text;
      input.push(...(output as OpenAI.Responses.ResponseInputItem[]));
      for (const item of output) {
        if (item.type === 'function_call')
          input.push({ type: 'function_call_output', call_id: item.call_id, output: `sunny ${round}` });
      }
    }
    expect(text).toContain('=sunny 2');
    expectSignatures(sentBy(setup));
    expect(sentBy(setup).generationConfig).toEqual({
      thinkingConfig: { includeThoughts: true, thinkingLevel: 'MEDIUM' },
    });
  });

  it('gets JSON by its schema', async () => {
    const setup = await withGemini();
    const schema = {
      type: 'object',
      properties: { city: { type: 'string', pattern: '.+' }, kind: { const: 'rain' } },
      required: ['city', 'kind'],
      additionalProperties: false,
    };
    const answer = await setup.openai().chat.completions.create({
      ...userTurn('gemini-json', 'Where?'),
      response_format: { type: 'json_schema', json_schema: { name: 'place', strict: true, schema } },
    });
    expect(JSON.parse(answer.choices[0]?.message.content ?? '')).toMatchObject({ kind: 'rain' });
    expect(sentBy(setup).generationConfig).toMatchObject({
      responseMimeType: 'application/json',
      responseJsonSchema: {
        ...schema,
        properties: {
          city: { type: 'string', description: '(pattern: ".+")' },
          kind: { enum: ['rain'] },
        },
      },
    });
  });

  it('sees a filter, a limit and a blocked prompt as such', async () => {
    const client = (await withGemini()).openai();
    const finishOf = async (model: string, more: object = {}) =>
      (await client.chat.completions.create({ ...userTurn(model, 'Hi'), ...more })).choices[0]?.finish_reason;
    expect(await finishOf('gemini-filter')).toBe('content_filter');
    expect(await finishOf('gemini-refusal')).toBe('content_filter');
    expect(await finishOf('gemini-length')).toBe('length');
    expect(await finishOf('gemini-text-filtered')).toBe('content_filter');
    expect(await finishOf('gemini-ticks', { max_tokens: 4, stream: false })).toBe('length');
  });
});

/** Three calls, each with the signature it came with: the sandbox refuses others. */
function expectSignatures({ contents }: Sent): void {
  const calls = contents.flatMap(({ parts }) => parts.filter(({ functionCall }) => functionCall));
  expect(calls).toHaveLength(3);
  const signatures = calls.map(({ thoughtSignature }) => thoughtSignature);
  expect(new Set(signatures).size).toBe(3);
  for (const signature of signatures) expect(signature).toMatch(/^[\w+/]{43}=$/);
}

describe('a Messages client', () => {
  it('gives signatures back over three turns of tools, whole and streamed', async () => {
    for (const isStreamed of [false, true]) {
      const setup = await withGemini();
      const client = anthropic(setup);
      const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'Weather?' }];
      const asked = {
        model: 'gemini-thinking',
        max_tokens: 4_000,
        thinking: { type: 'enabled' as const, budget_tokens: 2_000 },
        tools: cityTools,
      };
      let last: Anthropic.Message | undefined;
      for (let round = 0; round < 4; round += 1) {
        last = isStreamed
          ? await client.messages.stream({ ...asked, messages }).finalMessage()
          : await client.messages.create({ ...asked, messages });
        expect(last.content[0]).toMatchObject({
          type: 'thinking',
          thinking: `Step ${round + 1}: let me think.`,
        });
        messages.push({ role: 'assistant', content: last.content });
        const results = last.content.flatMap((block) =>
          block.type === 'tool_use'
            ? [{ type: 'tool_result' as const, tool_use_id: block.id, content: `sunny ${round}` }]
            : [],
        );
        messages.push({ role: 'user', content: results });
      }
      expect(last?.content.at(-1)).toMatchObject({ type: 'text', text: expect.stringContaining('=sunny 2') });
      expect(last?.usage).toMatchObject({
        input_tokens: 5,
        cache_read_input_tokens: 16,
        output_tokens: 7,
        output_tokens_details: { thinking_tokens: 3 },
      });
      expectSignatures(sentBy(setup));
    }
  });

  it('has images and PDFs, also in results', async () => {
    const setup = await withGemini();
    const client = anthropic(setup);
    const image = {
      type: 'image' as const,
      source: { type: 'base64' as const, media_type: 'image/png' as const, data: pixel },
    };
    const document = {
      type: 'document' as const,
      source: { type: 'base64' as const, media_type: 'application/pdf' as const, data: 'JVBERi0xLjcgYQ==' },
    };
    const asked = { model: 'gemini-image', max_tokens: 1_000, tools: cityTools };
    const answer = await client.messages.create({
      ...asked,
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'What is this?' }, image, document] },
        { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'get_time', input: {} }] },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_1', content: [{ type: 'text', text: 'see' }, image] },
          ],
        },
      ],
    });
    expect(answer.content).toMatchObject([
      {
        text: expect.stringMatching(
          /I see image image\/png of \d+ bytes, document application\/pdf.*, image/,
        ),
      },
    ]);
    const { contents } = sentBy(setup);
    expect(contents[1]?.parts).toEqual([
      {
        functionCall: { id: 'toolu_1', name: 'get_time', args: {} },
        thoughtSignature: 'skip_thought_signature_validator',
      },
    ]);
    expect(contents[2]?.parts[0]?.functionResponse?.parts).toHaveLength(1);
  });

  it('is stopped at a sequence, which the answer names, and may demand or forbid tools', async () => {
    const setup = await withGemini();
    const client = anthropic(setup);
    const asked = { max_tokens: 1_000, messages: [{ role: 'user' as const, content: 'Hi' }] };
    const stopped = await client.messages.create({
      ...asked,
      model: 'gemini-text',
      stop_sequences: [' the'],
    });
    expect(stopped).toMatchObject({
      stop_reason: 'stop_sequence',
      stop_sequence: ' the',
      content: [{ text: 'Hello from' }],
    });
    const tools = cityTools;
    const forced = await client.messages.create({
      ...asked,
      model: 'gemini-text',
      tools,
      tool_choice: { type: 'tool', name: 'get_time' },
    });
    expect(forced.content).toMatchObject([{ type: 'tool_use', name: 'get_time' }]);
    const forbidden = await client.messages.create({
      ...asked,
      model: 'gemini-tools',
      tools,
      tool_choice: { type: 'none' },
    });
    expect(forbidden.stop_reason).toBe('end_turn');
    expect(sentBy(setup).toolConfig).toEqual({ functionCallingConfig: { mode: 'NONE' } });
    const single = await client.messages.create({
      ...asked,
      model: 'gemini-tools',
      tools,
      tool_choice: { type: 'auto', disable_parallel_tool_use: true },
    });
    expect(single.content.filter(({ type }) => type === 'tool_use')).toHaveLength(1);
  });
});

describe('faults', () => {
  it.each([
    ['gemini-text-cut', 'Hello', 'upstream_unavailable'],
    // All of it comes in one read, so that nothing was shown yet.
    ['gemini-text-accounting', '', 'model_unavailable'],
    ['gemini-text-stall', 'Hello', 'upstream_timeout'],
  ])('%s never looks whole', async (model, begins, code) => {
    const { chat } = await withGemini([key], { UPSTREAM_IDLE_SECONDS: '1' });
    const text = await (await chat(userTurn(model, 'Hi', { stream: true }))).text();
    expect(text).toContain(begins);
    expect(text).not.toContain('[DONE]');
    const last = text
      .trim()
      .split('\n\n')
      .at(-1)
      ?.replace(/^data: /, '');
    expect(JSON.parse(last ?? '')).toMatchObject({ error: { code } });
  });

  it('a malformed chunk is passed over', async () => {
    const { chat } = await withGemini();
    const text = await (await chat(userTurn('gemini-text-malformed', 'Hi', { stream: true }))).text();
    expect(text).toContain('[DONE]');
    expect(text).toContain('ünïcode');
  });

  it.each([
    ['limited', 429, 'rate_limit_exceeded', 'cooldown'],
    // The day's quota is of the model: the account has others.
    ['spent', 429, 'insufficient_quota', 'active'],
    ['broken', 502, 'upstream_unavailable', 'active'],
  ])('an account whose key is %s is a %i, and another one answers', async (word, status, code, state) => {
    const bad = `AIza-${word}-1234567890`;
    const { chat, pool, addAccount, vendor } = await withGemini([bad]);
    const answer = await chat(userTurn('gemini-text', 'Hi'));
    const { error } = (await answer.json()) as { error: { code: string } };
    expect([answer.status, error.code]).toEqual([status, code]);
    const { accounts } = (await pool('/api/accounts')) as unknown as { accounts: { status: string }[] };
    expect(accounts[0]?.status).toBe(state);
    await addAccount(key, { provider: 'gemini' });
    expect((await chat(userTurn('gemini-text', 'Hi'))).status).toBe(200);
    expect(vendor.turns.at(-1)?.key).toBe(key);
  });

  it("a model's quota of the day leaves the account out for that model alone", async () => {
    const spent = 'AIza-spent-1234567890';
    const { chat, addAccount, vendor } = await withGemini([spent]);
    await addAccount(key, { provider: 'gemini', tier: 1 });
    for (const model of ['gemini-text', 'gemini-text', 'gemini-echo']) {
      expect((await chat(userTurn(model, 'Hi'))).status).toBe(200);
    }
    expect(vendor.turns.map((turn) => turn.key)).toEqual([spent, key, key, spent, key]);
  });

  it('a refused request has the words of Google, and a conversation that is too long is called so', async () => {
    const { chat } = await withGemini();
    const refused = await chat(userTurn('gemini-old', 'Hi', { reasoning_effort: 'low' }));
    expect([refused.status, await refused.json()]).toMatchObject([
      400,
      { error: { message: 'Thinking level is not supported for this model.' } },
    ]);
    const tooLong = await chat(userTurn('gemini-text-too-long', 'Hi'));
    expect([tooLong.status, await tooLong.json()]).toMatchObject([
      400,
      { error: { code: 'context_length_exceeded' } },
    ]);
    const unknown = await chat(userTurn('gemini/gemini-9', 'Hi'));
    expect([unknown.status, await unknown.json()]).toMatchObject([
      404,
      { error: { code: 'model_not_found' } },
    ]);
  });

  it('a client that leaves cuts the upstream off', async () => {
    const { gatewayUrl, vendor } = await withGemini();
    const leave = new AbortController();
    const body = JSON.stringify(userTurn('gemini-ticks', 'Hi', { stream: true }));
    const request = { method: 'POST', body, signal: leave.signal };
    const answer = await fetch(`${gatewayUrl}/v1/chat/completions`, request);
    await answer.body?.getReader().read();
    leave.abort();
    await eventually('the upstream is cut off', () => vendor.turns[0]?.wasCut);
  });
});

describe('accounts', () => {
  it('are checked when they are added, and refused with a bad key', async () => {
    const { pool, vendor } = await withGemini([]);
    const refused = await pool('/api/accounts', {
      provider: 'gemini',
      api_key: 'AIza-bad-1234567890',
      on_refusal: 'reject',
    });
    expect(refused).toMatchObject({ httpStatus: 422, error: { code: 'credential_refused' } });
    const added = await pool('/api/accounts', { provider: 'gemini', api_key: key });
    expect(added).toMatchObject({ httpStatus: 201, account: { status: 'active', probe: 'proved' } });
    expect(vendor.others.every(({ path }) => !path.includes('key='))).toBe(true);
  });

  it('need no key at a server of the owner, to which none is sent', async () => {
    const options = { needsKey: false, prefix: '/deep' };
    const { pool, chat, vendors } = await withUpstreams({ mine: { protocol: 'gemini', keys: [], options } });
    expect(await pool('/api/accounts', { provider: 'mine' })).toMatchObject({ httpStatus: 201 });
    expect((await chat(userTurn('gemini-text', 'Hi'))).status).toBe(200);
    expect(vendors.mine.turns[0]?.path).toMatch(/^\/deep\/v1beta\/models\/gemini-text:/);
    expect(vendors.mine.turns[0]?.headers).not.toHaveProperty('x-goog-api-key');
  });
});

describe('a client of the dialect', () => {
  it('is relayed byte for byte, but for the model in the path', async () => {
    const { gatewayUrl, vendor } = await withGemini();
    const body =
      '{ "contents": [{"parts":[{"text":"\\u0041"}], "role":"user"}],\n "generationConfig": {"topK": 1e1} }';
    const path = '/v1beta/models/gemini%2Fgemini-text:streamGenerateContent?alt=sse';
    const headers = { 'content-type': 'application/json', 'x-goog-api-key': 'any' };
    const answer = await fetch(gatewayUrl + path, { method: 'POST', body, headers });
    expect(answer.status).toBe(200);
    const text = await answer.text();
    expect(vendor.turns[0]).toMatchObject({ text: body, key });
    const direct = await fetch(vendor.url + path.replace('gemini%2F', ''), {
      method: 'POST',
      body,
      headers: { ...headers, 'x-goog-api-key': key },
    });
    expect(text).toBe(await direct.text());
  });

  it.each([
    ['gemini-text-too-long', 400, 'INVALID_ARGUMENT'],
    ['gemini-text-unavailable', 503, 'UNAVAILABLE'],
    ['gemini-text-rate-limited', 429, 'RESOURCE_EXHAUSTED'],
  ])('sees the error of %s in its own form', async (model, code, status) => {
    const { gatewayUrl } = await withGemini();
    const body = JSON.stringify({ contents: [{ role: 'user', parts: [{ text: 'Hi' }] }] });
    const url = `${gatewayUrl}/v1beta/models/${model}:generateContent`;
    const answer = await fetch(url, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    });
    expect([answer.status, await answer.json()]).toMatchObject([code, { error: { code, status } }]);
  });

  it('never takes a broken stream for a whole one, and leaves a malformed chunk out', async () => {
    const { gatewayUrl } = await withGemini([key], { UPSTREAM_IDLE_SECONDS: '1' });
    const textOf = async (model: string) => {
      const url = `${gatewayUrl}/v1beta/models/${model}:streamGenerateContent?alt=sse`;
      const body = JSON.stringify({ contents: [{ role: 'user', parts: [{ text: 'Hi' }] }] });
      const answer = await fetch(url, { method: 'POST', body });
      return await answer.text();
    };
    for (const model of ['gemini-text-cut', 'gemini-text-stall']) {
      const text = await textOf(model);
      expect(text).toContain('Hello');
      expect(text).not.toContain('finishReason');
      expect(
        text
          .trim()
          .split(/\r?\n\r?\n/)
          .at(-1),
      ).toContain('"error"');
    }
    const mended = await textOf('gemini-text-malformed');
    expect(mended).toMatch(/Hello.*"finishReason":"STOP"/s);
    expect(mended).not.toContain('oops');
    expect(await textOf('gemini-text-filtered')).toContain('"blockReason":"PROHIBITED_CONTENT"');
  });

  it('has its tools and signatures with Google’s SDK', async () => {
    const setup = await withGemini();
    const google = new GoogleGenAI({ apiKey: 'any', httpOptions: { baseUrl: setup.gatewayUrl } });
    const functionDeclarations = cityTools.map(
      ({ name, description, input_schema: parametersJsonSchema }) => ({
        name,
        description,
        parametersJsonSchema,
      }),
    );
    const chat = google.chats.create({
      model: 'gemini-thinking',
      config: { tools: [{ functionDeclarations }], thinkingConfig: { includeThoughts: true } },
    });
    let answer = await chat.sendMessage({ message: 'Weather?' });
    for (let round = 0; round < 3; round += 1) {
      const [call] = answer.functionCalls ?? [];
      const functionResponse = {
        id: call?.id ?? '',
        name: call?.name ?? '',
        response: { output: `sunny ${round}` },
      };
      answer = await chat.sendMessage({ message: [{ functionResponse }] });
    }
    expect(answer.text).toContain('=sunny 2');
    expectSignatures(sentBy(setup));
  });
});
