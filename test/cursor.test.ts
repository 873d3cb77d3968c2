// Cursor sends Responses requests to the path of Chat Completions, and reads the answers as those.
import OpenAI from 'openai';
import { expect, it } from 'vitest';
import { withScripted } from './support/scripted-vendor.ts';
import { servicesForTest } from './support/services.ts';

const readFile = { type: 'function', name: 'read_file', parameters: { type: 'object', properties: {} } };
const applyPatch = {
  type: 'custom',
  name: 'ApplyPatch',
  description: 'Applies a patch.',
  format: { type: 'grammar', syntax: 'lark', definition: 'start: /.+/' },
};
const asked = {
  model: 'm',
  stream: true,
  stream_options: { include_usage: true },
  include: ['reasoning.encrypted_content'],
  reasoning: { effort: 'medium', summary: 'auto' },
  text: { verbosity: 'low' },
  tools: [readFile, applyPatch],
};

it('gets its calls as chunks, and sends what came of them as items', async () => {
  const services = await withScripted((_request, response) => {
    const calls = [
      { index: 0, id: 'call_1', type: 'function', function: { name: 'read_file', arguments: '{}' } },
      {
        index: 1,
        id: 'call_2',
        type: 'function',
        function: { name: 'ApplyPatch', arguments: '{"input":"*** Begin Patch"}' },
      },
    ];
    const chunks = [
      { choices: [{ index: 0, delta: { role: 'assistant', tool_calls: calls } }] },
      { choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] },
      { choices: [], usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 } },
    ];
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const chunk of chunks) response.write(`data: ${JSON.stringify({ id: 'c', ...chunk })}\n\n`);
    response.end('data: [DONE]\n\n');
  });
  const client = new OpenAI({ baseURL: `${services.gatewayUrl}/v1`, apiKey: 'any', maxRetries: 0 });
  const input: object[] = [{ role: 'user', content: 'Mend it.' }];
  const stream = (await client.chat.completions.create({
    ...asked,
    input,
  } as never)) as unknown as AsyncIterable<OpenAI.ChatCompletionChunk>;
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  const choices = chunks.flatMap((chunk) => chunk.choices);
  expect(choices.flatMap(({ delta }) => delta.tool_calls ?? [])).toEqual([
    { index: 0, id: 'call_1', type: 'function', function: { name: 'read_file', arguments: '' } },
    { index: 0, function: { arguments: '{}' } },
    { index: 1, id: 'call_2', type: 'custom', custom: { name: 'ApplyPatch', input: '' } },
    { index: 1, custom: { input: '*** Begin Patch' } },
  ]);
  expect(choices.at(-1)?.finish_reason).toBe('tool_calls');
  expect(chunks.at(-1)?.usage).toMatchObject({ prompt_tokens: 5, completion_tokens: 2 });

  input.push(
    { type: 'function_call', call_id: 'call_1', name: 'read_file', arguments: '{}' },
    { type: 'custom_tool_call', call_id: 'call_2', name: 'ApplyPatch', input: '*** Begin Patch' },
    { type: 'function_call_output', call_id: 'call_1', output: 'text' },
    { type: 'custom_tool_call_output', call_id: 'call_2', output: 'done' },
  );
  const whole = await services.chat({ ...asked, stream: false, input });
  expect([whole.status, ((await whole.json()) as { object: string }).object]).toEqual([
    200,
    'chat.completion',
  ]);
  const [first, second] = services.requests;
  expect(first?.path).toBe('/v1/chat/completions');
  expect(first?.json['tools']).toMatchObject([
    { type: 'function', function: { name: 'read_file' } },
    { type: 'function', function: { name: 'ApplyPatch' } },
  ]);
  const messages = (second?.json['messages'] ?? []) as readonly { role: string }[];
  expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'tool']);
});

it('gets an error that names what is not kept', async () => {
  const services = await servicesForTest();
  const answer = await services.chat({
    ...asked,
    model: 'sandbox',
    input: 'Hi',
    previous_response_id: 'resp_1',
  });
  const { error } = (await answer.json()) as { error: { param: string } };
  expect([answer.status, error.param]).toEqual([400, 'previous_response_id']);
});

it('may have the tools of Responses beside messages', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1');
  const answer = await services.openai().chat.completions.create({
    model: 'sandbox-eager',
    messages: [{ role: 'user', content: 'Call ApplyPatch.' }],
    tools: [{ type: 'function', function: { name: 'list', parameters: {} } }, applyPatch] as never,
    tool_choice: { type: 'custom', custom: { name: 'ApplyPatch' } },
  });
  expect(answer.choices[0]?.message.tool_calls).toMatchObject([
    { type: 'custom', custom: { name: 'ApplyPatch' } },
  ]);
});

it('gets them to a server of Chat Completions in its own form', async () => {
  const services = await withScripted((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const message = { role: 'assistant', content: 'Done.' };
    response.end(JSON.stringify({ id: 'c', choices: [{ index: 0, message, finish_reason: 'stop' }] }));
  });
  const nested = { type: 'function', function: { name: 'list', parameters: {} } };
  const messages = [{ role: 'user', content: 'Hi' }];
  await services.chat({ model: 'm', messages, tools: [nested, readFile] });
  expect(services.requests[0]?.json['tools']).toMatchObject([nested, { function: { name: 'read_file' } }]);
  await services.chat({
    model: 'm',
    messages,
    tools: [nested],
    tool_choice: { type: 'function', name: 'list' },
  });
  expect(services.requests.at(-1)?.json).toMatchObject({
    tool_choice: { type: 'function', function: { name: 'list' } },
  });
});

it('is explained as it would be answered', async () => {
  const services = await servicesForTest();
  const answer = await fetch(`${services.gatewayUrl}/api/models/explain`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'sandbox', body: { ...asked, input: 'Hi' } }),
  });
  expect([answer.status, await answer.json()]).toMatchObject([200, { candidates: [{}] }]);
});
