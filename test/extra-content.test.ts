// Google's OpenAI-compatible endpoint refuses calls that come back without the signature beside them.
import Anthropic from '@anthropic-ai/sdk';
import { expect, it } from 'vitest';
import { sendJson, withScripted } from './support/scripted-vendor.ts';

interface Message {
  readonly role: string;
  readonly tool_calls?: readonly { readonly id: string; readonly extra_content?: unknown }[];
}

const extra = { google: { thought_signature: 'c2lnbmVk' } };
const called = (id: string, city: string) => ({
  id,
  type: 'function',
  function: { name: 'get_weather', arguments: JSON.stringify({ city }) },
});

it.each([
  ['carries it in its thinking', { type: 'enabled' as const, budget_tokens: 1_024 }],
  ['sends back the calls alone', { type: 'disabled' as const }],
])('a client of Messages that %s has it given back', async (_name, thinking) => {
  const setup = await withScripted(({ json }, response) => {
    const [answer] = (json['messages'] as readonly Message[]).filter(({ role }) => role === 'assistant');
    if (answer && JSON.stringify(answer.tool_calls?.[0]?.extra_content) !== JSON.stringify(extra)) {
      const message = 'Function call is missing a thought_signature in functionCall parts.';
      sendJson(response, [{ error: { code: 400, message, status: 'INVALID_ARGUMENT' } }], 400);
      return;
    }
    const calls = [
      { index: 0, extra_content: extra, ...called('f1', 'Paris') },
      { index: 1, ...called('f2', 'Rome') },
    ];
    const delta = answer ? { content: 'Sun.' } : { role: 'assistant', tool_calls: calls };
    const choice = { index: 0, delta, finish_reason: answer ? 'stop' : 'tool_calls' };
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(`data: ${JSON.stringify({ id: 'c', choices: [choice] })}\n\ndata: [DONE]\n\n`);
  });
  const client = new Anthropic({ baseURL: setup.gatewayUrl, apiKey: 'any', maxRetries: 0 });
  const asked = {
    model: 'local/m',
    max_tokens: 4_000,
    thinking,
    tools: [{ name: 'get_weather', input_schema: { type: 'object' as const } }],
  };
  const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'Weather?' }];
  const first = await client.messages.stream({ ...asked, messages }).finalMessage();
  const results = first.content
    .filter((block) => block.type === 'tool_use')
    .map(({ id }) => ({ type: 'tool_result' as const, tool_use_id: id, content: 'sun' }));
  messages.push({ role: 'assistant', content: first.content }, { role: 'user', content: results });
  const last = await client.messages.create({ ...asked, messages });
  expect(last.content).toMatchObject([{ type: 'text', text: 'Sun.' }]);
  const [, again] = setup.requests;
  const [, sent] = (again?.json['messages'] ?? []) as readonly Message[];
  expect(sent?.tool_calls).toEqual([
    { ...called('f1', 'Paris'), extra_content: extra },
    called('f2', 'Rome'),
  ]);
  expect(sent).not.toHaveProperty('reasoning_details');
  expect(setup.requests).toHaveLength(2);
});

it('a client of Chat Completions that has dropped it goes on with the placeholder that Google documents', async () => {
  const setup = await withScripted(
    ({ json }, response) => {
      const [, answer] = json['messages'] as readonly Message[];
      if (answer?.tool_calls?.[0]?.extra_content === undefined) {
        const message = 'Function call is missing a thought_signature in functionCall parts.';
        sendJson(response, [{ error: { code: 400, message, status: 'INVALID_ARGUMENT' } }], 400);
      } else
        sendJson(response, { choices: [{ index: 0, message: { content: 'Sun.' }, finish_reason: 'stop' }] });
    },
    { models: ['gemini-3-flash'] },
  );
  const answer = await setup.chat({
    model: 'local/gemini-3-flash',
    messages: [
      { role: 'user', content: 'Weather?' },
      { role: 'assistant', content: null, tool_calls: [called('f1', 'Paris'), called('f2', 'Rome')] },
      { role: 'tool', tool_call_id: 'f1', content: 'sun' },
      { role: 'tool', tool_call_id: 'f2', content: 'sun' },
    ],
  });
  expect(await answer.json()).toMatchObject({ choices: [{ message: { content: 'Sun.' } }] });
  const sent = setup.requests.map(({ json }) => (json['messages'] as readonly Message[])[1]?.tool_calls);
  const google = { thought_signature: 'skip_thought_signature_validator' };
  const bare = [called('f1', 'Paris'), called('f2', 'Rome')];
  expect(sent).toEqual([bare, [{ ...bare[0], extra_content: { google } }, bare[1]]]);
});
