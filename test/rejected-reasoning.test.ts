import Anthropic from '@anthropic-ai/sdk';
import { expect, it } from 'vitest';
import { carriedDetails } from '../src/protocols/openai-chat/reasoning-details.ts';
import { modelOf, type Protocol, type UpstreamServices, withUpstreams } from './support/upstreams.ts';

type Services = UpstreamServices<'up'>;

const parameters = { type: 'object' as const, properties: { city: { type: 'string' } } };
const args = { city: 'Paris' };
const forged = 'c2lnbmVkIGJ5IGFub3RoZXI=';
const proofs: Readonly<Record<'messages' | 'gemini', object>> = {
  messages: { blocks: [{ type: 'thinking', thinking: 'Hm.', signature: forged }] },
  gemini: { signed: [{ signature: forged, part: { type: 'call', id: 'call_1' } }] },
};

/** A tool loop of Chat Completions whose proof the vendor does not accept. */
async function ask(services: Services, protocol: 'messages' | 'gemini'): Promise<string> {
  const model = modelOf(protocol, 'tools');
  const named = protocol === 'messages' ? 'anthropic-messages' : 'gemini';
  const proof = { protocol: named, data: JSON.stringify({ model, ...proofs[protocol] }) };
  const call = {
    id: 'call_1',
    type: 'function',
    function: { name: 'get_weather', arguments: JSON.stringify(args) },
  };
  const answer = await services.openai().chat.completions.create({
    model,
    reasoning_effort: 'high',
    messages: [
      { role: 'user', content: 'Look.' },
      { role: 'assistant', content: null, tool_calls: [call], reasoning_details: carriedDetails(proof) },
      { role: 'tool', tool_call_id: 'call_1', content: 'sun' },
    ] as never,
    tools: [{ type: 'function', function: { name: 'get_weather', parameters } }],
  });
  return answer.choices[0]?.message.content ?? '';
}

async function askMessages({ gatewayUrl }: Services): Promise<string> {
  const client = new Anthropic({ baseURL: gatewayUrl, apiKey: 'any', maxRetries: 0 });
  const answer = await client.messages.create({
    model: modelOf('messages', 'tools'),
    max_tokens: 4_000,
    thinking: { type: 'enabled', budget_tokens: 2_000 },
    tools: [{ name: 'get_weather', input_schema: parameters }],
    messages: [
      { role: 'user', content: 'Look.' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'Hm.', signature: forged },
          { type: 'tool_use', id: 'call_1', name: 'get_weather', input: args },
        ],
      },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'call_1', content: 'sun' }] },
    ],
  });
  return answer.content.map((block) => (block.type === 'text' ? block.text : '')).join('');
}

/** Of a client that has lost the signature where it has none to give back. */
async function askGemini({ gatewayUrl }: Services, thoughtSignature?: string): Promise<string> {
  const functionCall = { name: 'get_weather', args };
  const answer = await fetch(`${gatewayUrl}/v1beta/models/${modelOf('gemini', 'tools')}:generateContent`, {
    method: 'POST',
    body: JSON.stringify({
      contents: [
        { role: 'user', parts: [{ text: 'Look.' }] },
        { role: 'model', parts: [{ functionCall, thoughtSignature }] },
        { role: 'user', parts: [{ functionResponse: { name: 'get_weather', response: { output: 'sun' } } }] },
      ],
      tools: [{ functionDeclarations: [{ name: 'get_weather', parametersJsonSchema: parameters }] }],
    }),
  });
  const { candidates } = (await answer.json()) as {
    candidates?: { content: { parts: { text: string }[] } }[];
  };
  return candidates?.[0]?.content.parts.map(({ text }) => text).join('') ?? '';
}

const cases: readonly (readonly [string, Protocol, (services: Services) => Promise<string>])[] = [
  ['Anthropic, translated', 'messages', (services) => ask(services, 'messages')],
  ['Gemini, translated', 'gemini', (services) => ask(services, 'gemini')],
  ['Anthropic, relayed', 'messages', askMessages],
  ['Gemini, relayed', 'gemini', (services) => askGemini(services, forged)],
];

it.each(cases)(
  'a conversation goes on without reasoning that was refused once: %s',
  async (_case, protocol, asked) => {
    const services = await withUpstreams({ up: { protocol } });
    for (let turn = 0; turn < 2; turn += 1) expect(await asked(services)).toContain('sun');
    expect(services.vendors.up.turns.map(({ text }) => text.includes(forged))).toEqual([true, false, false]);
  },
);

it('a conversation goes on whose client of Gemini has lost the signatures', async () => {
  const services = await withUpstreams({ up: { protocol: 'gemini' } });
  for (let turn = 0; turn < 2; turn += 1) expect(await askGemini(services)).toContain('sun');
  const signed = services.vendors.up.turns.map(({ text }) =>
    text.includes('skip_thought_signature_validator'),
  );
  expect(signed).toEqual([false, true, true]);
});
