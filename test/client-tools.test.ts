import type OpenAI from 'openai';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { responseAnswer } from '../src/gateway/http/api-answers.ts';
import { eventually, startTestServices, type TestServices } from './support/services.ts';

type Response = OpenAI.Responses.Response;
type Body = OpenAI.Responses.ResponseCreateParamsNonStreaming;

let services: TestServices;
let client: OpenAI;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
  client = services.openai();
});
afterAll(() => services.close());

/** Every way a response can reach its client. */
const ways: Readonly<Record<string, (body: Body) => Promise<Response>>> = {
  'as a whole': (body) => client.responses.create(body),
  'as a stream': async (body) => client.responses.stream({ ...body, stream: true }).finalResponse(),
  'over a WebSocket': async (body) => {
    const socket = new ResponsesWS(client);
    onTestFinished(() => socket.close());
    const ended = new Promise<Response>((resolve, reject) => {
      socket.on('response.completed', ({ response }) => resolve(response));
      socket.on('error', reject);
    });
    socket.send({ ...body, type: 'response.create' } as never);
    return ended;
  },
  'in the background': async (body) => {
    const { id } = await client.responses.create({ ...body, background: true });
    return eventually('the response has ended', async () => {
      const response = await client.responses.retrieve(id);
      return response.status === 'completed' ? response : undefined;
    });
  },
};

const search = {
  type: 'tool_search',
  execution: 'client',
  parameters: { type: 'object', properties: { query: { type: 'string' } }, required: ['query'] },
} as const;
const found = {
  type: 'namespace',
  name: 'archive',
  description: '',
  tools: [
    { type: 'function', name: 'look', defer_loading: true, parameters: { type: 'object', properties: {} } },
  ],
} as const;
const brought = {
  type: 'additional_tools',
  role: 'developer',
  tools: [{ type: 'function', name: 'brought', parameters: { type: 'object', properties: {} } }],
} as never;

const offeredLast = () => services.upstream.turns.at(-1)?.toolNames;

describe.each(Object.entries(ways))('%s', (_way, ask) => {
  test('the call of a shell reaches its client, and its output the model', async () => {
    const tools: OpenAI.Responses.Tool[] = [{ type: 'shell', environment: { type: 'local' } }];
    const called = await ask({ model: 'sandbox', tools, input: 'call shell {"commands":["date"]}' });
    const { output_text: _, _request_id: __, ...wire } = called as Response & { _request_id?: string };
    expect(responseAnswer.safeParse(wire).error).toBeUndefined();
    expect(called.output).toMatchObject([
      {
        type: 'shell_call',
        status: 'completed',
        action: { commands: ['date'] },
        environment: { type: 'local' },
      },
    ]);
    const [call] = called.output;
    if (call?.type !== 'shell_call') throw new Error('There is no call.');
    const outcome = { type: 'exit', exit_code: 0 } as const;
    const output = {
      type: 'shell_call_output' as const,
      call_id: call.call_id,
      output: [{ stdout: 'magnolia', stderr: '', outcome }],
    } satisfies OpenAI.Responses.ResponseInputItem;
    const answered = await ask({ model: 'sandbox', tools, previous_response_id: called.id, input: [output] });
    expect(JSON.stringify(answered.output)).toContain('magnolia');
    expect(services.upstream.turns.at(-1)?.toolResults).toHaveLength(1);
    expect(services.upstream.turns.at(-1)?.problems).toEqual([]);
  });

  test('what a search found is offered from then on, and what an item brought too', async () => {
    const tools = [search] as never;
    const ask1 = 'call tool_search {"query":"archive"}';
    const searched = await ask({
      model: 'sandbox',
      tools,
      input: [brought, { role: 'user', content: ask1 }],
    });
    expect(searched.output).toMatchObject([
      { type: 'tool_search_call', execution: 'client', status: 'completed', arguments: { query: 'archive' } },
    ]);
    expect(offeredLast()).toEqual(['tool_search', 'brought']);
    const [call] = searched.output;
    if (call?.type !== 'tool_search_call') throw new Error('There is no call.');
    const output = { type: 'tool_search_output', call_id: call.call_id, execution: 'client', tools: [found] };
    const told = await ask({
      model: 'sandbox',
      tools,
      previous_response_id: searched.id,
      input: [output] as never,
    });
    expect(JSON.stringify(told.output)).toContain('archive__look');
    const called = await ask({
      model: 'sandbox',
      tools,
      previous_response_id: told.id,
      input: 'call archive__look {"key":"x"}',
    });
    expect(called.output).toMatchObject([{ type: 'function_call', name: 'look', namespace: 'archive' }]);
    expect(offeredLast()).toEqual(['tool_search', 'brought', 'archive__look']);
  });

  test('a trigger answers with a summary to go on from', async () => {
    const rules = { role: 'developer', content: 'Always answer in rhyme.' } as const;
    const input = [rules, { role: 'user', content: 'We launch on Tuesday.' }, { type: 'compaction_trigger' }];
    const compacted = await ask({ model: 'sandbox', input: input as never });
    expect(compacted.output).toMatchObject([{ type: 'compaction', encrypted_content: expect.any(String) }]);
    const next = [rules, ...compacted.output, { role: 'user', content: 'When?' }];
    const answered = await ask({ model: 'sandbox-echo', input: next as never });
    expect(JSON.stringify(answered.output)).toContain('Tuesday');
    const ruled = services.upstream.turns.at(-1)?.projectRules.join() ?? '';
    expect(ruled.split('Always answer in rhyme.')).toHaveLength(2);
  });
});

// Models write arguments in more forms than an item has.
test.each<[string, OpenAI.Responses.Tool, string, (call_id: string) => OpenAI.Responses.ResponseInputItem]>([
  [
    'a patch inside its operation',
    { type: 'apply_patch' },
    'call apply_patch {"operation":{"type":"create_file","path":"a","diff":"+x"}}',
    (call_id) => ({ type: 'apply_patch_call_output', call_id, status: 'completed' }),
  ],
  [
    'a deletion with an empty diff',
    { type: 'apply_patch' },
    'call apply_patch {"type":"delete_file","path":"a","diff":""}',
    (call_id) => ({ type: 'apply_patch_call_output', call_id, status: 'failed' }),
  ],
  [
    'a shell with an extra field',
    { type: 'shell' },
    'call shell {"commands":["date"],"why":"to know"}',
    (call_id) => ({ type: 'shell_call_output', call_id, output: [] }),
  ],
  [
    'a custom tool with arguments',
    { type: 'custom', name: 'run' },
    'call run {"code":"1"}',
    (call_id) => ({ type: 'custom_tool_call_output', call_id, output: 'x' }),
  ],
])('%s: the upstream gets the result alone, not the history again', async (_name, tool, ask, outputOf) => {
  const body = { model: 'sandbox', tools: [tool], store: false };
  const called = await client.responses.create({ ...body, input: ask });
  const callId = called.output.flatMap((item) => ('call_id' in item ? [String(item.call_id)] : []))[0] ?? '';
  const input = [{ role: 'user' as const, content: ask }, ...called.output, outputOf(callId)];
  await client.responses.create({ ...body, input: input as never });
  expect(services.upstream.turns.at(-1)).toMatchObject({
    problems: [],
    toolResults: [{ toolCallId: callId }],
  });
});

test('the same for a custom tool of Chat Completions that got arguments', async () => {
  const { completions } = client.chat;
  const ask = { role: 'user' as const, content: 'call run {"code":1}' };
  const tools = [{ type: 'custom' as const, custom: { name: 'run' } }];
  const called = await completions.create({ model: 'sandbox', messages: [ask], tools });
  const [choice] = called.choices;
  const id = choice?.message.tool_calls?.[0]?.id ?? '';
  if (!choice) throw new Error('There is no answer.');
  const messages = [ask, choice.message, { role: 'tool' as const, tool_call_id: id, content: 'x' }];
  await completions.create({ model: 'sandbox', messages, tools });
  expect(services.upstream.turns.at(-1)).toMatchObject({ problems: [], toolResults: [{ toolCallId: id }] });
});

test('tools that came as items are counted, and outlast a compaction', async () => {
  const input = [brought, { role: 'user', content: 'Hello' }];
  const count = async (items: unknown[]) =>
    (await client.responses.inputTokens.count({ model: 'sandbox', input: items as never })).input_tokens;
  expect(await count(input)).toBeGreaterThan(await count(input.slice(1)));
  const compacted = await client.responses.compact({ model: 'sandbox', input: input as never });
  await client.responses.create({
    model: 'sandbox',
    input: [...compacted.output, { role: 'user', content: 'Hello' }] as never,
  });
  expect(offeredLast()).toEqual(['brought']);
});

test('a summary that is cut is no summary, streamed or not', async () => {
  const body = {
    model: 'sandbox',
    input: [{ role: 'user', content: 'one two three four' }, { type: 'compaction_trigger' }] as never,
    max_output_tokens: 2,
  };
  await expect(client.responses.create(body)).rejects.toMatchObject({ param: 'max_output_tokens' });
  await expect(client.responses.stream({ ...body, stream: true }).finalResponse()).rejects.toThrow(
    /max_output_tokens/,
  );
});

test('a search of the web alone is refused by name in all dialects, and costs no turn', async () => {
  const before = services.upstream.turns.length;
  const messages = [{ role: 'user', content: 'Search' }];
  const refused = async (path: string, body: object) => {
    const answer = await fetch(`${services.gatewayUrl}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'sandbox', ...body }),
    });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toMatch(/tools\.0\.type: .*web_search/);
  };
  const claude = [{ type: 'web_search_20250305', name: 'web_search', max_uses: 8 }];
  await refused('/v1/messages', { max_tokens: 9, messages, tools: claude, tool_choice: { type: 'auto' } });
  await refused('/v1/responses', { input: 'Search', tools: [{ type: 'web_search' }] });
  await refused('/v1/chat/completions', { messages, tools: [{ type: 'web_search' }] });
  expect(services.upstream.turns).toHaveLength(before);
});

test('a tool of the provider beside others is named, and the turn goes on', async () => {
  const answer = await client.responses
    .create({
      model: 'sandbox',
      input: 'Hello',
      tools: [{ type: 'web_search' }, { type: 'image_generation' }, { type: 'shell' }],
    })
    .asResponse();
  expect(answer.headers.get('x-warp2api-ignored')).toContain('tools.web_search, tools.image_generation');
  expect(offeredLast()).toEqual(['shell']);
});
