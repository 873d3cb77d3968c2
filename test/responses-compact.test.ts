import type OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compactedAnswer } from '../src/gateway/http/api-answers.ts';
import { startTestServices, type TestServices } from './support/services.ts';

let services: TestServices;
let client: OpenAI;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
  client = services.openai();
});
afterAll(() => services.close());

const conversation: OpenAI.Responses.ResponseInputItem[] = [
  { role: 'developer', content: 'Always answer in rhyme.' },
  { role: 'user', content: 'We launch on Tuesday.' },
  { role: 'assistant', content: 'Understood: on Tuesday.' },
  { role: 'user', content: [{ type: 'input_text', text: 'Tell support first.' }] },
];

test('a conversation becomes its messages of the user and one item with the rest', async () => {
  const compacted = await client.responses.compact({ model: 'sandbox', input: conversation });
  const { _request_id: _, ...wire } = compacted as typeof compacted & { _request_id?: string };
  expect(compactedAnswer.safeParse(wire).error).toBeUndefined();
  expect(compacted.output).toMatchObject([
    { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'We launch on Tuesday.' }] },
    { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Tell support first.' }] },
    { type: 'compaction' },
  ]);
  expect(compacted.usage.total_tokens).toBeGreaterThan(0);
  const [, , item] = compacted.output;
  if (item?.type !== 'compaction') throw new Error('There is no compaction.');
  expect(Buffer.from(item.encrypted_content, 'base64url').toString('latin1')).not.toMatch(/Tuesday|rhyme/);
  const turn = services.upstream.turns.at(-1);
  expect(turn?.problems).toEqual([]);
  expect(turn?.toolNames ?? []).toEqual([]);
});

test('what was compacted is gone on from, with its rules, and by previous_response_id as well', async () => {
  const compacted = await client.responses.compact({ model: 'sandbox-echo', input: conversation });
  const input = compacted.output as OpenAI.Responses.ResponseInputItem[];
  const next = await client.responses.create({
    model: 'sandbox-echo',
    input: [...input, { role: 'user', content: 'When do we launch?' }],
  });
  // The echo has summed the conversation up by saying it again.
  expect(next.output_text).toContain('in short:');
  expect(next.output_text).toContain('Understood: on Tuesday.');
  expect(next.output_text).toContain('When do we launch?');
  expect(services.upstream.turns.at(-1)?.projectRules.join()).toContain('Always answer in rhyme.');

  const later = await client.responses.create({
    model: 'sandbox-echo',
    previous_response_id: next.id,
    input: 'And then?',
  });
  expect(later.output_text).toContain('And then?');
  const again = await client.responses.compact({ model: 'sandbox', previous_response_id: later.id });
  expect(again.output.filter(({ type }) => type === 'compaction')).toHaveLength(1);
  expect(again.output.filter(({ type }) => type === 'message')).toHaveLength(4);
});

test('another key cannot go on from it', async () => {
  const compacted = await client.responses.compact({ model: 'sandbox', input: 'We launch on Tuesday.' });
  const stranger = services.openai({ apiKey: 'another' });
  await expect(
    stranger.responses.create({
      model: 'sandbox',
      input: compacted.output as OpenAI.Responses.ResponseInputItem[],
    }),
  ).rejects.toMatchObject({ status: 400, param: 'input.1.encrypted_content' });
});

test.each([
  [{ input: 'x' }, 'model'],
  [{ model: 'sandbox' }, 'input'],
  [{ model: 'sandbox', previous_response_id: 'resp_gone' }, 'previous_response_id'],
])('%j is refused with the name of the parameter', async (body, param) => {
  await expect(
    client.responses.compact(body as OpenAI.Responses.ResponseCompactParams),
  ).rejects.toMatchObject({ status: 400, param });
});

test('a summary that was cut short makes no compaction', async () => {
  const input = 'We launch on Tuesday.';
  await expect(client.responses.compact({ model: 'sandbox-max-tokens', input })).rejects.toMatchObject({
    status: 502,
    code: 'upstream_protocol',
  });
  const limited = { model: 'sandbox-echo', input, max_output_tokens: 2 };
  await expect(client.responses.compact(limited)).rejects.toMatchObject({
    status: 400,
    param: 'max_output_tokens',
  });
});

test('a body as it was sent to answer the conversation is taken, tools and all', async () => {
  const tools = [{ type: 'function', name: 'read', parameters: {} }];
  for (const tool_choice of ['required', { type: 'function', name: 'read' }]) {
    const body = {
      model: 'sandbox',
      input: conversation,
      tools,
      tool_choice,
      text: { format: { type: 'json_object' } },
    };
    const compacted = await client.responses.compact(body as OpenAI.Responses.ResponseCompactParams);
    expect(compacted.output.at(-1)?.type).toBe('compaction');
  }
});

test('tools that cannot be brought again, or that a provider runs, stand in no way', async () => {
  const input = [
    ...conversation,
    { type: 'tool_search_call', call_id: 's', execution: 'client', arguments: {} },
    {
      type: 'tool_search_output',
      call_id: 's',
      execution: 'client',
      tools: [{ type: 'function', name: 'look' }, { type: 'function', name: 'bad name' }, { name: 'x' }],
    },
    { role: 'assistant', content: 'Found.' },
    { type: 'additional_tools', role: 'developer', tools: [{ type: 'web_search' }] },
  ] as never[];
  const { output } = await client.responses.compact({ model: 'sandbox', input });
  expect(output[0]).toMatchObject({ tools: [{ name: 'look' }, { type: 'web_search' }] });
  await client.responses.create({
    model: 'sandbox',
    input: [...output, { role: 'user', content: 'Hello' }] as never,
  });
  expect(services.upstream.turns.at(-1)?.toolNames).toEqual(['look']);
});

test.each(['[]', 'null', '5', '"x"', ''])('a body that is no object is refused: %s', async (body) => {
  for (const path of ['compact', 'input_tokens']) {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${services.gatewayUrl}/v1/responses/${path}`, {
      method: 'POST',
      headers,
      body,
    });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { message: expect.stringMatching(/JSON/) } });
  }
});

test('a conversation is not compacted in the background', async () => {
  const body = { model: 'sandbox', input: conversation, background: true };
  await expect(client.responses.compact(body)).rejects.toMatchObject({ status: 400, param: 'background' });
});

test('a model that says nothing makes no compaction', async () => {
  await expect(
    client.responses.compact({ model: 'sandbox-nothing', input: 'We launch on Tuesday.' }),
  ).rejects.toMatchObject({ status: 502, code: 'upstream_protocol' });
});
