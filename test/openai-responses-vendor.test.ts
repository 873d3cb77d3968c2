import Anthropic from '@anthropic-ai/sdk';
import { expect, it } from 'vitest';
import { pixel } from '../src/core/testing/pixel.ts';
import { userTurn } from './support/services.ts';
import { type UpstreamServices, withUpstreams } from './support/upstreams.ts';

// Over a simulator that refuses what the API refuses: reasoning out of its place, calls without outputs, loose schemas.
const setup = () => withUpstreams({ up: { protocol: 'responses' } });
type Services = UpstreamServices<'up'>;

const look = {
  name: 'look',
  description: 'Looks.',
  input_schema: { type: 'object' as const, properties: { at: { type: 'string' } } },
};
const turnsOf = ({ vendors }: Services) => vendors.up.turns.map(({ text }) => JSON.parse(text));

it('gives reasoning back over three tool turns of a Messages client', async () => {
  const services = await setup();
  const client = new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
  const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'Look around' }];
  for (;;) {
    const { content } = await client.messages
      .stream({
        model: 'gpt-thinking',
        max_tokens: 4_000,
        thinking: { type: 'enabled', budget_tokens: 2_000 },
        tools: [look],
        messages,
      })
      .finalMessage();
    messages.push({ role: 'assistant', content });
    const results = content.flatMap((block): Anthropic.ToolResultBlockParam[] =>
      block.type !== 'tool_use'
        ? []
        : [
            {
              type: 'tool_result',
              tool_use_id: block.id,
              content: [
                { type: 'text', text: 'seen' },
                { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } },
              ],
            },
          ],
    );
    if (results.length === 0) break;
    expect(content[0]?.type).toBe('thinking');
    messages.push({ role: 'user', content: results });
  }
  expect(messages).toHaveLength(8);
  const kinds = (turnsOf(services).at(-1).input as { type: string }[]).map(({ type }) => type);
  const round = ['reasoning', 'function_call', 'function_call_output'];
  expect(kinds).toEqual(['message', ...round, ...round, ...round]);
});

it.each([
  ['kept here', {}],
  ['relayed', { store: false }],
])('gives reasoning back over three tool turns of a Responses client: %s', async (_case, more) => {
  const services = await setup();
  const { responses } = services.openai();
  const input: unknown[] = [{ role: 'user', content: 'Look around' }];
  let calls = 0;
  for (;;) {
    const { output } = await responses.create({
      model: 'gpt-thinking',
      include: ['reasoning.encrypted_content'],
      tools: [{ type: 'function', name: 'look', parameters: look.input_schema, strict: false }],
      input: input as never,
      ...more,
    });
    input.push(...output);
    const made = output.flatMap((item) => (item.type === 'function_call' ? [item.call_id] : []));
    if (made.length === 0) break;
    calls += made.length;
    input.push(...made.map((id) => ({ type: 'function_call_output', call_id: id, output: 'seen' })));
  }
  expect(calls).toBe(3);
  const kinds = (turnsOf(services).at(-1).input as { type: string }[]).map(({ type }) => type);
  expect(kinds.filter((type) => type === 'reasoning')).toHaveLength(3);
});

it('runs parallel tools of a Chat client, and has its answer follow a schema', async () => {
  const services = await setup();
  const client = services.openai();
  const runner = client.chat.completions.runTools({
    ...userTurn('gpt-tools', 'Weather?'),
    stream: true,
    tools: ['get_weather', 'get_time'].map((name) => ({
      type: 'function' as const,
      function: {
        name,
        description: 'Tells.',
        parameters: { type: 'object', properties: { city: { type: 'string' } } },
        parse: JSON.parse,
        function: () => 'sunny',
      },
    })),
  });
  expect(await runner.finalContent()).toContain('sunny');
  expect(turnsOf(services)).toHaveLength(2);
  const schema = { type: 'object', properties: { a: { type: 'string', maxLength: 40 } } };
  const made = await client.chat.completions.create({
    ...userTurn('gpt-json', 'Make one'),
    response_format: { type: 'json_schema', json_schema: { name: 'one', schema } },
  });
  expect(JSON.parse(made.choices[0]?.message.content ?? '')).toMatchObject({});
});

it.each([
  ['gpt-length', { finish_reason: 'length' }],
  ['gpt-refusal', { finish_reason: 'stop', message: { refusal: 'I am sorry, I cannot help with that.' } }],
  ['gpt-filter', { finish_reason: 'content_filter' }],
])('tells a Chat client how %s ended', async (model, choice) => {
  const services = await setup();
  const made = await services.openai().chat.completions.create(userTurn(model, 'Hi'));
  expect(made.choices[0]).toMatchObject(choice);
  expect(made.usage?.prompt_tokens).toBeGreaterThan(0);
});

it("asks OpenAI's models that do not reason for no reasoning", async () => {
  const services = await withUpstreams({ openai: { protocol: 'responses' } });
  const made = await services.openai().chat.completions.create({
    ...userTurn('gpt-plain', 'Hi'),
    reasoning_effort: 'high',
  });
  expect(made.choices[0]?.finish_reason).toBe('stop');
});
