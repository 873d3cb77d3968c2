// Models that refuse a history whose answers came back without their `reasoning_content`, as DeepSeek's and Kimi's do.
import type { ServerResponse } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import type OpenAI from 'openai';
import { expect, it } from 'vitest';
import { type ScriptedSetup, sendJson, type VendorRequest, withScripted } from './support/scripted-vendor.ts';

interface Message {
  readonly role: string;
  readonly content?: unknown;
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly object[];
}

const thought = 'I should look.';
const parameters = { type: 'object' as const, properties: { city: { type: 'string' } } };
const toolCall = {
  id: 'call_1',
  type: 'function' as const,
  function: { name: 'get_weather', arguments: '{"city":"Paris"}' },
};

function send(response: ServerResponse, deltas: readonly object[], finish: string): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const delta of [{ role: 'assistant', content: '' }, ...deltas]) {
    response.write(`data: ${JSON.stringify({ id: 'c', choices: [{ index: 0, delta }] })}\n\n`);
  }
  const last = { id: 'c', choices: [{ index: 0, delta: {}, finish_reason: finish }] };
  response.end(`data: ${JSON.stringify(last)}\n\ndata: [DONE]\n\n`);
}

/** Thinks, calls a tool, and thinks again before it answers. */
function thinking(request: VendorRequest, response: ServerResponse): void {
  const messages = request.json['messages'] as readonly Message[];
  if (messages.some(({ role, reasoning_content: given }) => role === 'assistant' && !given)) {
    const message = 'The `reasoning_content` in the thinking mode must be passed back to the API.';
    sendJson(response, { error: { message, type: 'invalid_request_error', param: null, code: null } }, 400);
    return;
  }
  const thoughts = [{ reasoning_content: 'I should' }, { reasoning_content: ' look.' }];
  if (messages.at(-1)?.role === 'tool') send(response, [...thoughts, { content: 'Sun.' }], 'stop');
  else send(response, [...thoughts, { tool_calls: [{ index: 0, ...toolCall }] }], 'tool_calls');
}

const answersIn = ({ requests }: ScriptedSetup) =>
  requests.map(({ json }) =>
    (json['messages'] as readonly Message[])
      .filter(({ role }) => role === 'assistant')
      .map(({ reasoning_content: given }) => given),
  );

async function askMessages({ gatewayUrl }: ScriptedSetup, isShown: boolean): Promise<void> {
  const client = new Anthropic({ baseURL: gatewayUrl, apiKey: 'any', maxRetries: 0 });
  const messages: Anthropic.MessageParam[] = [];
  for (const asked of ['Weather?', 'And now?']) {
    messages.push({ role: 'user', content: asked });
    for (let isCalled = true; isCalled; ) {
      const answer = await client.messages.create({
        model: 'm',
        max_tokens: 4_000,
        ...(isShown && { thinking: { type: 'enabled', budget_tokens: 2_000 } }),
        tools: [{ name: 'get_weather', input_schema: parameters }],
        messages,
      });
      messages.push({ role: 'assistant', content: answer.content });
      const call = answer.content.find((block) => block.type === 'tool_use');
      isCalled = call !== undefined;
      if (call) {
        const content = [{ type: 'tool_result' as const, tool_use_id: call.id, content: 'sun' }];
        messages.push({ role: 'user', content });
      }
    }
  }
}

async function askResponses(services: ScriptedSetup, isCarried: boolean): Promise<void> {
  const input: OpenAI.Responses.ResponseInputItem[] = [];
  for (const asked of ['Weather?', 'And now?']) {
    input.push({ role: 'user', content: asked });
    for (let isCalled = true; isCalled; ) {
      const answer = await services.openai().responses.create({
        model: 'm',
        store: false,
        include: isCarried ? ['reasoning.encrypted_content'] : [],
        tools: [{ type: 'function', name: 'get_weather', parameters, strict: false }],
        input,
      });
      input.push(...(answer.output.filter(({ type }) => isCarried || type !== 'reasoning') as typeof input));
      const call = answer.output.find((item) => item.type === 'function_call');
      isCalled = call !== undefined;
      if (call) input.push({ type: 'function_call_output', call_id: call.call_id, output: 'sun' });
    }
  }
}

it.each([
  ['Messages', (services: ScriptedSetup) => askMessages(services, true)],
  ['Responses', (services: ScriptedSetup) => askResponses(services, true)],
])('a client of %s gives the model its reasoning back in all later turns', async (_dialect, ask) => {
  const services = await withScripted(thinking);
  await ask(services);
  const expected = [0, 1, 2, 3].map((count) => Array.from({ length: count }, () => thought));
  expect(answersIn(services)).toEqual(expected);
});

it.each([
  ['Messages', (services: ScriptedSetup) => askMessages(services, false)],
  ['Responses', (services: ScriptedSetup) => askResponses(services, false)],
])('a client of %s that carries none goes on with what is known of it', async (_dialect, ask) => {
  const services = await withScripted(thinking);
  await ask(services);
  // The second question begins without any that is known: the server says that it wants some.
  const known = [[], [thought], [undefined, undefined], [' ', ' '], [' ', ' ', thought]];
  expect(answersIn(services)).toEqual(known);
});

it('the preset of DeepSeek sends it at once', async () => {
  const services = await withScripted(thinking, { name: 'deepseek' });
  await askMessages(services, false);
  expect(answersIn(services)).toEqual([[], [thought], [' ', ' '], [' ', ' ', thought]]);
});

it('a client of the same dialect that drops it goes on', async () => {
  const services = await withScripted(thinking);
  for (let turn = 0; turn < 2; turn += 1) {
    const answer = await services.openai().chat.completions.create({
      model: 'm',
      stream: true,
      tools: [{ type: 'function', function: { name: 'get_weather', parameters } }],
      messages: [
        { role: 'user', content: 'Weather?' },
        { role: 'assistant', content: null, tool_calls: [toolCall] },
        { role: 'tool', tool_call_id: 'call_1', content: 'sun' },
      ],
    });
    let text = '';
    for await (const chunk of answer) text += chunk.choices[0]?.delta.content ?? '';
    expect(text).toBe('Sun.');
  }
  expect(answersIn(services)).toEqual([[undefined], [' '], [' ']]);
});

it('a server that knows no reasoning_content gets the history without it', async () => {
  const services = await withScripted((request, response) => {
    const messages = request.json['messages'] as readonly Message[];
    const at = messages.findIndex((message) => 'reasoning_content' in message);
    if (at === -1) {
      send(response, [{ content: 'Sun.' }], 'stop');
      return;
    }
    const message = `'messages.${at}' : for 'role:assistant' the following must be satisfied[('messages.${at}' : property 'reasoning_content' is unsupported)]`;
    sendJson(response, { error: { message, type: 'invalid_request_error' } }, 400);
  });
  for (let turn = 0; turn < 2; turn += 1) {
    const answer = await services.chat({
      model: 'm',
      stream: true,
      messages: [
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'Hello.', reasoning_content: thought },
        { role: 'user', content: 'Weather?' },
      ],
    });
    expect(await answer.text()).toContain('Sun.');
  }
  expect(answersIn(services)).toEqual([[thought], [undefined], [undefined]]);
});

it('a model that takes tools only where it does not reason does without, after one refusal at first', async () => {
  const refuse = ({ json }: VendorRequest, response: ServerResponse) => {
    if (json['reasoning_effort'] === 'none') {
      send(response, [{ content: 'Sun.' }], 'stop');
      return;
    }
    const message =
      "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use function tools, use /v1/responses or set reasoning_effort to 'none'.";
    sendJson(response, { error: { message, type: 'invalid_request_error', param: 'reasoning_effort' } }, 400);
  };
  const services = await withScripted(refuse, { name: 'azure-openai', models: ['gpt-5.6'] });
  const client = new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
  for (let turn = 0; turn < 2; turn += 1) {
    const { data, response } = await client.messages
      .create({
        model: 'gpt-5.6',
        max_tokens: 4_000,
        output_config: { effort: 'high' },
        tools: [{ name: 'get_weather', input_schema: parameters }],
        messages: [{ role: 'user', content: 'Weather?' }],
      })
      .withResponse();
    expect(data.content).toMatchObject([{ type: 'text', text: 'Sun.' }]);
    expect(response.headers.get('x-warp2api-ignored')).toContain('reasoning');
  }
  expect(services.requests.map(({ json }) => json['reasoning_effort'])).toEqual(['high', 'none', 'none']);
});
