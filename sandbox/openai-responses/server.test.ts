import OpenAI from 'openai';
import type { ResponseInputItem } from 'openai/resources/responses/responses';
import { describe, expect, it, onTestFinished } from 'vitest';
import { soundText } from '../vendor/scenarios.ts';
import { startResponsesSandbox } from './server.ts';

type Params = OpenAI.Responses.ResponseCreateParamsNonStreaming;

async function started() {
  const vendor = await startResponsesSandbox();
  onTestFinished(() => vendor.close());
  return { vendor, client: new OpenAI({ baseURL: vendor.url, apiKey: 'sk-1', maxRetries: 0 }) };
}

const question = { role: 'user' as const, content: 'Weather?' };
const asked = { model: 'gpt-text', input: [question] };
const tools = ['get_weather', 'get_time'].map((name) => ({
  type: 'function' as const,
  name,
  strict: false,
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
}));
const stateless = {
  store: false,
  include: ['reasoning.encrypted_content' as const],
  reasoning: { effort: 'low' as const, summary: 'auto' as const },
};

describe('the official SDK', () => {
  it('reads a text, whole and streamed, with its usage', async () => {
    const { client } = await started();
    const whole = await client.responses.create(asked);
    const streamed = await client.responses.stream({ ...asked, stream: true }).finalResponse();
    for (const response of [whole, streamed]) {
      expect(response.output_text).toBe(soundText);
      expect(response.usage).toMatchObject({
        input_tokens: 21,
        input_tokens_details: { cached_tokens: 16 },
        output_tokens: 7,
        total_tokens: 28,
      });
    }
  });

  it.each(['sealed', 'stored'])('goes through three calls with reasoning that is %s', async (kind) => {
    const { client } = await started();
    const input: ResponseInputItem[] = [question];
    const more = kind === 'sealed' ? stateless : {};
    for (let turn = 0; turn < 4; turn++) {
      const response = await client.responses
        .stream({ ...asked, ...more, model: 'gpt-thinking', tools, input })
        .finalResponse();
      expect(response.output.map(({ type }) => type)).toEqual([
        'reasoning',
        turn < 3 ? 'function_call' : 'message',
      ]);
      for (const item of response.output) {
        // The SDK adds a field that its own vendor refuses.
        const { parsed_arguments: _parsed, ...sent } = item as typeof item & { parsed_arguments?: unknown };
        input.push(sent as ResponseInputItem);
      }
      for (const item of response.output) {
        if (item.type !== 'function_call') continue;
        input.push({ type: 'function_call_output', call_id: item.call_id, output: `sunny ${turn}` });
      }
      if (turn === 3) {
        expect(response.output_text).toBe(
          'Results: get_weather(Place 1)=sunny 0; get_weather(Place 2)=sunny 1; get_weather(Place 3)=sunny 2',
        );
      }
    }
  });

  it('goes on from a stored response, and not from one that is unknown', async () => {
    const { client } = await started();
    const first = await client.responses.create({ ...asked, model: 'gpt-tools', tools });
    const output = first.output.flatMap((item) =>
      item.type === 'function_call'
        ? [{ type: 'function_call_output' as const, call_id: item.call_id, output: `of ${item.name}` }]
        : [],
    );
    const next = { ...asked, model: 'gpt-tools', tools, input: output.toReversed() };
    const second = await client.responses.create({ ...next, previous_response_id: first.id });
    expect(second.output_text).toBe(
      'Results: get_weather(Place 1)=of get_weather; get_time(Place 2)=of get_time',
    );
    await expect(
      client.responses.create({ ...next, previous_response_id: 'resp_none' }),
    ).rejects.toMatchObject({
      status: 400,
      code: 'previous_response_not_found',
    });
  });

  it('sees what the key of its prompts saved', async () => {
    const { client } = await started();
    const params = { ...asked, model: 'gpt-cache', prompt_cache_key: 'mine' };
    const [first, second] = [await client.responses.create(params), await client.responses.create(params)];
    expect(first.usage?.input_tokens_details.cached_tokens).toBe(0);
    expect(second.usage?.input_tokens_details.cached_tokens).toBe(first.usage?.input_tokens);
  });
});

const call = { type: 'function_call', call_id: 'call_1', name: 'get_weather', arguments: '{}' };
const output = { type: 'function_call_output', call_id: 'call_1', output: 'sunny' };
const strictTool = { type: 'function', name: 'a', strict: true };

describe('a request is refused', () => {
  it.each<[string, string | null, string, object]>([
    [
      'answers a custom tool that was not called',
      null,
      'No tool call found for custom tool call output with call_id call_1.',
      { input: [{ type: 'custom_tool_call_output', call_id: 'call_1', output: 'x' }] },
    ],
    [
      'has a field that is not known',
      'unknown_parameter',
      "Unknown parameter: 'brand_new'",
      { brand_new: 1 },
    ],
    ['has stop words', 'unknown_parameter', "'stop'", { stop: ['a'] }],
    [
      'has an item with another field',
      'unknown_parameter',
      "'input[0].odd'",
      { input: [{ ...question, odd: 1 }] },
    ],
    ['says nothing', 'missing_required_parameter', "'input'", { input: undefined }],
    ['names another role', 'invalid_value', 'Supported values', { input: [{ role: 'tool', content: 'Hi' }] }],
    [
      'has a part of the other side',
      'invalid_value',
      "'output_text'",
      {
        input: [{ role: 'user', content: [{ type: 'output_text', text: 'Hi' }] }],
      },
    ],
    [
      'has a part of the other endpoint',
      'invalid_value',
      'Invalid value',
      {
        input: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }],
      },
    ],
    ['has a small limit', 'integer_below_min_value', '>= 16', { max_output_tokens: 15 }],
    [
      'has a long id',
      'string_above_max_length',
      'input[1].call_id',
      {
        input: [question, { ...call, call_id: 'c'.repeat(65) }],
      },
    ],
    ['has a call without its output', null, 'No tool output found', { input: [question, call] }],
    ['has an output without its call', null, 'No tool call found', { input: [question, output] }],
    [
      'has reasoning of another vendor',
      'invalid_encrypted_content',
      'could not be verified',
      {
        input: [
          question,
          { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'gAAAAAx' },
          call,
          output,
        ],
      },
    ],
    [
      'lacks the reasoning of a call',
      null,
      "without its required 'reasoning' item: 'rs_r1'",
      {
        input: [question, { ...call, id: 'fc_r1_1' }, output],
      },
    ],
    [
      'has a loose schema that is strict',
      'invalid_function_parameters',
      "'additionalProperties' is required",
      {
        tools: [{ ...strictTool, parameters: { type: 'object', properties: {} } }],
      },
    ],
    [
      'leaves a property of a strict schema out',
      'invalid_function_parameters',
      "Missing 'city'",
      {
        tools: [
          {
            ...strictTool,
            parameters: {
              type: 'object',
              properties: { city: { type: 'string' } },
              required: [],
              additionalProperties: false,
            },
          },
        ],
      },
    ],
    [
      'samples where all is thought',
      'unsupported_parameter',
      "'temperature' is not supported",
      {
        model: 'gpt-thinking',
        temperature: 0.5,
      },
    ],
    [
      'thinks where nothing is',
      'unsupported_parameter',
      "'reasoning.effort'",
      {
        model: 'gpt-plain',
        reasoning: { effort: 'low' },
      },
    ],
    [
      'wants JSON and does not say so',
      null,
      "must contain the word 'json'",
      {
        text: { format: { type: 'json_object' } },
      },
    ],
  ])('that %s', async (_name, code, message, more) => {
    const { client } = await started();
    const refused = client.responses.create({ ...asked, ...more } as Params);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toMatchObject({ status: 400, code, type: 'invalid_request_error' });
  });

  it('for reasoning that was not stored', async () => {
    const { client } = await started();
    const input = [question, { type: 'reasoning', id: 'rs_1', summary: [] }, call, output];
    const refused = client.responses.create({ ...asked, store: false, input } as Params);
    await expect(refused).rejects.toMatchObject({ status: 404 });
    await expect(refused).rejects.toThrow('not persisted');
  });
});
