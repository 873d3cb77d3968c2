import Anthropic from '@anthropic-ai/sdk';
import { describe, expect, it } from 'vitest';
import { type VendorSetup, withVendor } from './support/openai-vendor.ts';
import { eventually } from './support/services.ts';

// What only some upstreams take, and what answers hold beside text and calls, through dialects that are not the upstream's.

const openrouter = () => withVendor(undefined, {}, {}, '', 'openrouter');
const openai = () => withVendor(undefined, {}, {}, '', 'openai');
const anthropic = ({ gatewayUrl }: VendorSetup) =>
  new Anthropic({ baseURL: gatewayUrl, apiKey: 'any', maxRetries: 0 });

type Sent = Record<string, unknown> & { messages: Record<string, unknown>[] };
const sentBy = ({ vendor }: VendorSetup, turn = -1): Sent => JSON.parse(vendor.turns.at(turn)?.text ?? '{}');

const pdf = Buffer.from('%PDF-1.7 a page').toString('base64');
const pdfUrl = `data:application/pdf;base64,${pdf}`;
/** No longer a field of the SDK's. */
const topK = { top_k: 5 };
const document = {
  type: 'document' as const,
  title: 'a.pdf',
  source: { type: 'base64' as const, media_type: 'application/pdf' as const, data: pdf },
};
const ephemeral = { cache_control: { type: 'ephemeral' as const } };
const forAnHour = { cache_control: { type: 'ephemeral' as const, ttl: '1h' as const } };

describe('a Messages client', () => {
  it('has caches, documents, thinking and parallel tools with an upstream that has them', async () => {
    const setup = await openrouter();
    const client = anthropic(setup);
    const asked = {
      model: 'openrouter/chat-signed',
      max_tokens: 2_000,
      ...topK,
      thinking: { type: 'enabled' as const, budget_tokens: 1_024 },
      system: [
        { type: 'text' as const, text: 'Be kind.' },
        { type: 'text' as const, text: 'Be brief.', ...forAnHour },
      ],
      tools: ['get_weather', 'get_time'].map((name) => ({
        name,
        input_schema: { type: 'object' as const },
        ...ephemeral,
      })),
    };
    const question = {
      role: 'user' as const,
      content: [
        { type: 'text' as const, text: 'What of this?' },
        { ...document, ...ephemeral },
      ],
    };
    const { data: first, response } = await client.messages
      .create({ ...asked, messages: [question] })
      .withResponse();
    expect(response.headers.get('x-warp2api-ignored')).toBeNull();
    expect(first.content.map(({ type }) => type)).toEqual(['thinking', 'tool_use', 'tool_use']);
    const sent = sentBy(setup);
    expect(sent).toMatchObject({
      top_k: 5,
      reasoning_effort: 'low',
      tools: [{ function: { name: 'get_weather' } }, {}],
    });
    expect(sent.messages).toEqual([
      {
        role: 'system',
        content: [
          { type: 'text', text: 'Be kind.' },
          { type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral', ttl: '1h' } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What of this?' },
          { type: 'file', file: { filename: 'a.pdf', file_data: pdfUrl }, ...ephemeral },
        ],
      },
    ]);

    const results = ['call_up_1', 'call_up_2'].map((id) => ({
      type: 'tool_result' as const,
      tool_use_id: id,
      content: [{ type: 'text' as const, text: `of ${id}` }, ...(id === 'call_up_1' ? [document] : [])],
      ...(id === 'call_up_2' && ephemeral),
    }));
    const answered = [
      question,
      { role: 'assistant' as const, content: first.content },
      { role: 'user' as const, content: results },
    ];
    const stream = client.messages.stream({ ...asked, messages: answered });
    const second = await stream.finalMessage();
    expect(second.stop_reason).toBe('end_turn');
    expect(sentBy(setup).messages.slice(2)).toMatchObject([
      {
        role: 'assistant',
        reasoning_details: [{ text: 'Let me think.', signature: 'c2ln' }],
        tool_calls: [{ id: 'call_up_1' }, { id: 'call_up_2' }],
      },
      { role: 'tool', tool_call_id: 'call_up_1', content: 'of call_up_1' },
      {
        role: 'tool',
        tool_call_id: 'call_up_2',
        content: [{ type: 'text', text: 'of call_up_2', ...ephemeral }],
      },
      { role: 'user', content: [{ type: 'text' }, { type: 'file', file: { file_data: pdfUrl } }] },
    ]);
  });

  it('gets a 400 for a new document that the upstream lacks, and a note in place of an earlier one', async () => {
    const setup = await withVendor();
    const client = anthropic(setup);
    const asked = { model: 'chat-text', max_tokens: 99 };
    const sending = { role: 'user' as const, content: [{ ...document, ...ephemeral }] };
    await expect(client.messages.create({ ...asked, messages: [sending] })).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining('messages.0.content.0.source: is a PDF'),
    });
    expect(setup.vendor.turns).toHaveLength(0);
    const { response } = await client.messages
      .create({
        ...asked,
        ...topK,
        messages: [sending, { role: 'assistant', content: 'Yes.' }, { role: 'user', content: 'And?' }],
      })
      .withResponse();
    expect(response.headers.get('x-warp2api-ignored')).toBe('top_k, messages.content.document');
    expect(sentBy(setup)).not.toHaveProperty('top_k');
    expect(sentBy(setup).messages[0]).toEqual({
      role: 'user',
      content: '[Not shown: the file "a.pdf" that is a PDF.]',
    });
  });

  it('sees a refusal as one, whole and streamed', async () => {
    const setup = await openai();
    const client = anthropic(setup);
    const question = { role: 'user' as const, content: 'Hi' };
    const asked = { model: 'openai/chat-refusal', max_tokens: 99, messages: [question] };
    const whole = await client.messages.create(asked);
    const streamed = await client.messages.stream(asked).finalMessage();
    for (const { content, stop_reason, stop_details } of [whole, streamed]) {
      expect(content).toMatchObject([{ type: 'text', text: 'I am sorry, I cannot help with that.' }]);
      expect([stop_reason, stop_details?.explanation]).toEqual([
        'refusal',
        'I am sorry, I cannot help with that.',
      ]);
    }
  });

  it('sees the sources of a text', async () => {
    const client = anthropic(await withVendor());
    const asked = {
      model: 'chat-annotations',
      max_tokens: 99,
      messages: [{ role: 'user' as const, content: 'Hi' }],
    };
    const citations = [
      { type: 'web_search_result_location', url: 'https://example.com/w', title: 'Weather' },
    ];
    const expected = [{ type: 'text', text: 'Rain (example.com).', citations }];
    expect((await client.messages.create(asked)).content).toMatchObject(expected);
    expect((await client.messages.stream(asked).finalMessage()).content).toMatchObject(expected);
  });
});

describe('a Responses client', () => {
  it('sees a refusal as a part of the message, and sends it back as one', async () => {
    const setup = await openai();
    const client = setup.openai();
    const asked = { model: 'openai/chat-refusal', input: 'Hi', store: false };
    const refusal = 'I am sorry, I cannot help with that.';
    const whole = await client.responses.create(asked);
    const types: string[] = [];
    const stream = client.responses.stream(asked);
    stream.on('event', ({ type }) => types.push(type));
    const streamed = await stream.finalResponse();
    for (const { output, status } of [whole, streamed]) {
      expect(status).toBe('completed');
      expect(output).toMatchObject([{ type: 'message', content: [{ type: 'refusal', refusal }] }]);
    }
    expect(types.filter((type) => type.startsWith('response.refusal'))).toEqual([
      'response.refusal.delta',
      'response.refusal.delta',
      'response.refusal.done',
    ]);
    expect(types.filter((type) => type.startsWith('response.content_part'))).toEqual([
      'response.content_part.added',
      'response.content_part.done',
    ]);
    const next = { role: 'user' as const, content: 'Why?' };
    await client.responses.create({ ...asked, input: [...(whole.output as never[]), next] });
    expect(sentBy(setup).messages[0]).toEqual({ role: 'assistant', content: null, refusal });
    const plain = await withVendor();
    const input = [...(whole.output as never[]), next];
    await plain.openai().responses.create({ ...asked, model: 'chat-text', input });
    expect(sentBy(plain).messages[0]).toEqual({ role: 'assistant', content: refusal });
  });

  it('sees the sources of a text, and what the upstream wrote to its cache', async () => {
    const client = (await withVendor()).openai();
    const asked = { model: 'chat-annotations', input: 'Hi' };
    const whole = await client.responses.create(asked);
    const added: object[] = [];
    const stream = client.responses.stream(asked);
    stream.on('event', (event) => {
      if (event.type === 'response.output_text.annotation.added') added.push(event);
    });
    const streamed = await stream.finalResponse();
    const annotation = {
      type: 'url_citation',
      url: 'https://example.com/w',
      title: 'Weather',
      start_index: 6,
      end_index: 17,
    };
    for (const { output, usage } of [whole, streamed]) {
      expect(output).toMatchObject([{ content: [{ type: 'output_text', annotations: [annotation] }] }]);
      expect(usage).toMatchObject({
        input_tokens: 21,
        input_tokens_details: { cached_tokens: 16, cache_write_tokens: 2 },
        output_tokens_details: { reasoning_tokens: 3 },
      });
    }
    expect(added).toMatchObject([{ annotation_index: 0, content_index: 0, annotation }]);
  });

  it('has its documents, strict tools and settings with an upstream that has them', async () => {
    const setup = await openai();
    const strict = { type: 'function' as const, strict: true };
    const closed = { type: 'object', additionalProperties: false };
    const asked = {
      input: [
        {
          role: 'user' as const,
          content: [{ type: 'input_file' as const, file_data: pdfUrl, filename: 'a.pdf' }],
        },
      ],
      tools: [
        { ...strict, name: 'f', parameters: closed },
        // OpenAI refuses to promise this form.
        { ...strict, name: 'open', parameters: { type: 'object' } },
      ],
      text: { verbosity: 'low' as const },
      service_tier: 'flex' as const,
      safety_identifier: 'one',
      prompt_cache_key: 'session',
    };
    const { data, response } = await setup
      .openai()
      .responses.create({ ...asked, model: 'openai/chat-text' })
      .withResponse();
    expect(data.service_tier).toBe('flex');
    // Not one of OpenAI's models that have it.
    expect(response.headers.get('x-warp2api-ignored')).toBe('text.verbosity');
    expect(JSON.stringify(sentBy(setup)).match(/"strict":/g)).toHaveLength(1);
    expect(sentBy(setup)).toMatchObject({
      service_tier: 'flex',
      safety_identifier: 'one',
      prompt_cache_key: 'session',
      tools: [{ function: { name: 'f', strict: true } }, { function: { name: 'open' } }],
      messages: [{ content: [{ type: 'file', file: { filename: 'a.pdf', file_data: pdfUrl } }] }],
    });
    const plain = await withVendor();
    const input = 'Hi';
    const { response: other } = await plain
      .openai()
      .responses.create({ ...asked, input, model: 'chat-text' })
      .withResponse();
    expect(other.headers.get('x-warp2api-ignored')).toBe('tools.strict, text.verbosity, service_tier');
    expect(Object.keys(sentBy(plain))).toEqual(['model', 'messages', 'stream', 'stream_options', 'tools']);
  });
});

it.each([
  ['chat-text', 'stop', 'end_turn', 'completed'],
  ['chat-length', 'length', 'max_tokens', 'incomplete'],
  ['chat-odd-finish', 'length', 'max_tokens', 'incomplete', 'model_length'],
  ['chat-filter', 'content-filter', 'refusal', 'incomplete', 'content_filter'],
])('the end of %s has the word of each dialect, and the log the upstream’s own', async (...expected) => {
  const [model, finish, stopReason, status, upstreamFinish = finish] = expected;
  const setup = await withVendor();
  const message = await anthropic(setup).messages.create({
    model,
    max_tokens: 99,
    messages: [{ role: 'user', content: 'Hi' }],
  });
  expect(message.stop_reason).toBe(stopReason);
  expect((await setup.openai().responses.create({ model, input: 'Hi' })).status).toBe(status);
  await eventually('both turns are logged', () => {
    const lines = setup
      .log()
      .split('\n')
      .filter((line) => line.includes('"msg":"turn"'));
    const ends = lines.map((line) => JSON.parse(line)).map((line) => [line.finish, line.upstream_finish]);
    return JSON.stringify(ends) === JSON.stringify(Array(2).fill([finish, upstreamFinish]));
  });
});

it('usage has what was read from a cache, written to it and thought, in every dialect', async () => {
  const setup = await withVendor();
  const message = await anthropic(setup).messages.create({
    model: 'chat-annotations',
    max_tokens: 99,
    messages: [{ role: 'user', content: 'Hi' }],
  });
  expect(message.usage).toMatchObject({
    input_tokens: 3,
    cache_read_input_tokens: 16,
    cache_creation_input_tokens: 2,
    output_tokens: 7,
    output_tokens_details: { thinking_tokens: 3 },
  });
  const { usage } = await setup.openai().chat.completions.create({
    model: 'chat-annotations',
    messages: [{ role: 'user', content: 'Hi' }],
  });
  expect(usage).toMatchObject({
    prompt_tokens: 21,
    prompt_tokens_details: { cached_tokens: 16, cache_write_tokens: 2 },
    completion_tokens_details: { reasoning_tokens: 3 },
  });
});
