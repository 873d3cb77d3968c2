import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pixel } from '../src/core/testing/pixel.ts';
import {
  modelOf,
  type Protocol,
  protocols,
  startUpstreams,
  type UpstreamServices,
} from './support/upstreams.ts';

const schema = { type: 'object', properties: { city: { type: 'string' } }, additionalProperties: false };
const ephemeral = { cache_control: { type: 'ephemeral', ttl: '1h' } };

/** Every field that the vendors document for a request of text, tools and files, in places where they mean something. */
const documented: Readonly<Record<Protocol, Record<string, unknown>>> = {
  chat: {
    messages: [
      { role: 'developer', content: 'Be kind.', name: 'rules' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Hi "\\u0041" 🙂' },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}`, detail: 'low' } },
          { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
          { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,AAAA' } },
        ],
      },
      {
        role: 'assistant',
        content: null,
        refusal: null,
        annotations: [],
        reasoning_content: 'Hm',
        tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'f', arguments: '{"a": 1.0}' } }],
      },
      { role: 'tool', tool_call_id: 'call_1', content: [{ type: 'text', text: 'done' }] },
    ],
    audio: { voice: 'alloy', format: 'wav' },
    frequency_penalty: 0.5,
    logit_bias: { 50256: -100 },
    logprobs: true,
    max_completion_tokens: 1000,
    metadata: { mine: 'yes' },
    modalities: ['text'],
    n: 1,
    parallel_tool_calls: true,
    prediction: { type: 'content', content: 'Hi' },
    presence_penalty: 0.5,
    prompt_cache_key: 'mine',
    prompt_cache_retention: '24h',
    reasoning_effort: 'low',
    response_format: { type: 'json_schema', json_schema: { name: 'a', schema, strict: false } },
    safety_identifier: 'user-1',
    seed: 9007199254740993n,
    service_tier: 'auto',
    stop: ['END'],
    store: false,
    stream_options: { include_usage: true, include_obfuscation: false },
    temperature: 1.5,
    tool_choice: 'auto',
    tools: [
      { type: 'function', function: { name: 'f', description: 'F', parameters: schema, strict: false } },
      { type: 'custom', custom: { name: 'g', format: { type: 'text' } } },
    ],
    top_logprobs: 2,
    top_p: 0.9,
    user: 'user-1',
    verbosity: 'low',
    web_search_options: { search_context_size: 'low' },
  },
  responses: {
    input: [
      { role: 'developer', content: 'Be kind.' },
      {
        type: 'message',
        role: 'user',
        content: [
          { type: 'input_text', text: 'Hi 🙂' },
          { type: 'input_image', image_url: `data:image/png;base64,${pixel}`, detail: 'low' },
          { type: 'input_file', filename: 'a.pdf', file_data: 'data:application/pdf;base64,AAAA' },
        ],
      },
      {
        type: 'function_call',
        id: 'fc_1',
        call_id: 'call_1',
        name: 'f',
        arguments: '{"a": 1.0}',
        status: 'completed',
      },
      { type: 'function_call_output', call_id: 'call_1', output: [{ type: 'input_text', text: 'done' }] },
    ],
    background: false,
    include: ['reasoning.encrypted_content'],
    instructions: 'Be brief.',
    max_output_tokens: 1000,
    max_tool_calls: 3,
    metadata: { mine: 'yes' },
    parallel_tool_calls: true,
    prompt_cache_key: 'mine',
    prompt_cache_retention: '24h',
    reasoning: { effort: 'low', summary: 'auto' },
    safety_identifier: 'user-1',
    service_tier: 'auto',
    store: false,
    stream_options: { include_obfuscation: false },
    temperature: 1.5,
    text: { format: { type: 'json_schema', name: 'a', schema, strict: false }, verbosity: 'low' },
    tool_choice: 'auto',
    tools: [
      { type: 'function', name: 'f', description: 'F', parameters: schema, strict: false },
      { type: 'web_search', search_context_size: 'low' },
    ],
    top_logprobs: 2,
    top_p: 0.9,
    truncation: 'disabled',
    user: 'user-1',
  },
  messages: {
    max_tokens: 5000,
    system: [{ type: 'text', text: 'Be kind.', ...ephemeral }],
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Hi 🙂' },
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } },
          {
            type: 'document',
            source: { type: 'text', media_type: 'text/plain', data: 'A' },
            title: 'T',
            context: 'C',
            citations: { enabled: true },
          },
          { type: 'search_result', source: 's', title: 't', content: [{ type: 'text', text: 'x' }] },
        ],
      },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'f', input: { a: 1 } }] },
      {
        role: 'user',
        content: [
          {
            type: 'tool_result',
            tool_use_id: 'toolu_1',
            content: [{ type: 'text', text: 'done' }],
            is_error: false,
          },
        ],
      },
    ],
    container: null,
    inference_geo: 'us',
    metadata: { user_id: 'user-1' },
    output_config: { effort: 'low', format: { type: 'json_schema', schema } },
    service_tier: 'auto',
    stop_sequences: ['END'],
    temperature: 0.5,
    thinking: { type: 'disabled' },
    tool_choice: { type: 'auto', disable_parallel_tool_use: false },
    tools: [{ name: 'f', description: 'F', input_schema: schema, strict: false, ...ephemeral }],
  },
  gemini: {
    systemInstruction: { parts: [{ text: 'Be kind.' }] },
    contents: [
      {
        role: 'user',
        parts: [
          { text: 'Hi 🙂' },
          { inlineData: { mimeType: 'image/png', data: pixel } },
          { fileData: { mimeType: 'application/pdf', fileUri: 'https://example.com/a.pdf' } },
        ],
      },
      {
        role: 'model',
        parts: [
          {
            functionCall: { id: 'c1', name: 'f', args: { a: 1 } },
            thoughtSignature: 'skip_thought_signature_validator',
          },
        ],
      },
      { role: 'user', parts: [{ functionResponse: { id: 'c1', name: 'f', response: { output: 'done' } } }] },
    ],
    generationConfig: {
      candidateCount: 1,
      stopSequences: ['END'],
      maxOutputTokens: 1000,
      temperature: 1.5,
      topP: 0.9,
      topK: 40,
      seed: 7,
      presencePenalty: 0.5,
      frequencyPenalty: 0.5,
      responseLogprobs: true,
      logprobs: 2,
      responseMimeType: 'application/json',
      responseJsonSchema: { type: 'object', properties: { city: { type: 'string' } } },
      responseModalities: ['TEXT'],
      mediaResolution: 'MEDIA_RESOLUTION_LOW',
      thinkingConfig: { includeThoughts: true, thinkingLevel: 'low' },
    },
    safetySettings: [{ category: 'HARM_CATEGORY_HARASSMENT', threshold: 'BLOCK_NONE' }],
    tools: [
      { functionDeclarations: [{ name: 'f', description: 'F', parametersJsonSchema: schema }] },
      { googleSearch: {} },
    ],
    toolConfig: { functionCallingConfig: { mode: 'AUTO' } },
  },
};

const headers = {
  'content-type': 'application/json',
  'anthropic-version': '2023-06-01',
  'anthropic-beta': 'brand-new-2027-01-01',
};

function pathOf(dialect: Protocol, model: string, isStream: boolean): string {
  if (dialect !== 'gemini') {
    return { chat: '/v1/chat/completions', responses: '/v1/responses', messages: '/v1/messages' }[dialect];
  }
  return `/v1beta/models/${model}:${isStream ? 'streamGenerateContent?alt=sse' : 'generateContent'}`;
}

/** As a client might write it: blanks, numbers and escapes that no encoder of ours would make. */
function textOf(dialect: Protocol, model: string, isStream: boolean, more: object = {}): string {
  const named = dialect === 'gemini' ? {} : { model, ...(isStream && { stream: true }) };
  const body: Record<string, unknown> = { ...named, ...documented[dialect], ...more };
  const isOptional = dialect === 'chat' || dialect === 'responses';
  if (isOptional && !isStream) delete body['stream_options'];
  const text = JSON.stringify(
    body,
    (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value),
    1,
  );
  return text
    .replaceAll(/"(\d{16})n"/g, '$1')
    .replace('1.5', '15.0e-1')
    .replace('Be kind.', 'Be \\u006bind.');
}

describe.each(protocols)('a relayed turn of %s', (dialect) => {
  let services: UpstreamServices<'up'>;
  beforeAll(async () => {
    services = await startUpstreams({ up: { protocol: dialect } });
  });
  afterAll(() => services.close());
  const scenario = modelOf(dialect, 'text');

  function send(text: string, isStream: boolean, before = ''): Promise<Response> {
    const path = before + pathOf(dialect, `up/${scenario}`, isStream);
    return fetch(`${services.gatewayUrl}${path}`, { method: 'POST', headers, body: text });
  }
  const lastTurn = () => services.vendors.up.turns.at(-1);

  it.each([true, false])('sends every documented field as it was written (stream: %s)', async (isStream) => {
    const text = textOf(dialect, `up/${scenario}`, isStream);
    const answer = await send(text, isStream);
    expect([answer.status, answer.ok ? '' : await answer.text()]).toEqual([200, '']);
    expect(lastTurn()?.text).toBe(text.replace(`up/${scenario}`, scenario));
    expect(lastTurn()?.path).toBe(pathOf(dialect, scenario, isStream));
    expect(answer.headers.get('x-warp2api-ignored')).toBeNull();
    if (dialect === 'messages') {
      expect(lastTurn()?.headers).toMatchObject({
        'anthropic-version': headers['anthropic-version'],
        'anthropic-beta': headers['anthropic-beta'],
      });
    }
  });

  it('is relayed as well where the path has a slash too many', async () => {
    const text = textOf(dialect, `up/${scenario}`, false);
    const answer = await send(text, false, '/');
    expect(await answer.text()).toBe(lastTurn()?.answer);
    expect(lastTurn()?.text).toBe(text.replace(`up/${scenario}`, scenario));
  });

  it('sends fields that are not known yet, and passes on what the upstream says of them', async () => {
    const unknown = { brandNew: { model: 'inner', stream: false, deep: [1e2, null, { a: 'b' }] } };
    const text = textOf(dialect, `up/${scenario}`, true, unknown);
    const answer = await send(text, true);
    expect(lastTurn()?.text).toBe(text.replace(`up/${scenario}`, scenario));
    if (dialect === 'chat') expect(answer.status).toBe(200);
    else expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining('brandNew')]);
  });

  it('answers with the bytes of the upstream, however they are cut', async () => {
    const text = textOf(dialect, `up/${scenario}`, true);
    const cuts = fc.array(fc.integer({ min: 1, max: 4_000 }), { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(cuts, fc.boolean(), async (bytes, isStream) => {
        services.vendors.up.cutAt(bytes);
        const answer = await send(isStream ? text : textOf(dialect, `up/${scenario}`, false), isStream);
        const body = Buffer.from(await answer.arrayBuffer()).toString();
        expect(body).toBe(lastTurn()?.answer);
        expect(body.length).toBeGreaterThan(300);
      }),
      { numRuns: 25 },
    );
  });
});
