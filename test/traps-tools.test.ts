import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dialectClients, type Said, user, type Wish } from './support/dialects.ts';
import { startTestServices, type TestServices } from './support/services.ts';
import type { Dialect, ReadAnswer } from './support/stream-grammar.ts';

// What users of other gateways suffer from in tools and translation; each test is named after the behaviour.

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
});
afterAll(() => services.close());

const tools = ['get_weather', 'get_time'].map((name) => ({
  name,
  description: `does ${name}`,
  parameters: { type: 'object', properties: {} },
}));
const inputs = [
  { city: 'Ålesund "north"', at: [1, -0.5, null, { deep: ['\\', '\n', '👩‍👩‍👧'] }], empty: {} },
  { city: 'Rome', html: '<b>&amp;</b>', json: '{"a":1}' },
  { big: 123456789, none: null, no: false },
];
const calls = inputs.map(
  (input, index) => `call ${index === 1 ? 'get_time' : 'get_weather'} ${JSON.stringify(input)}`,
);

const ways = (Object.keys(dialectClients) as Dialect[]).flatMap((dialect) => [
  { dialect, isStream: false, name: `${dialect}, whole` },
  { dialect, isStream: true, name: `${dialect}, streamed` },
]);

describe.each(ways)('$name', ({ dialect, isStream }) => {
  const client = dialectClients[dialect];

  async function ask(wish: Omit<Wish, 'model'>, model = 'sandbox'): Promise<ReadAnswer> {
    const answer = await fetch(services.gatewayUrl + client.path(model, isStream), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...client.headers },
      body: JSON.stringify(client.body({ model, ...wish }, isStream)),
    });
    const body = await answer.text();
    expect(answer.status, body).toBe(200);
    return isStream ? client.readStream(body) : client.readAnswer(body);
  }
  const said = (answer: ReadAnswer): Said => ({ by: 'assistant', text: answer.text, calls: answer.calls });

  test('calls keep their order, names and arguments to the letter, and the answer ends for them', async () => {
    const answer = await ask({ messages: [user(calls.join('\n'))], tools });
    expect(answer.calls.map(({ name }) => name)).toEqual(['get_weather', 'get_time', 'get_weather']);
    expect(answer.calls.map((call) => JSON.parse(call.arguments) as unknown)).toEqual(inputs);
    expect(answer.end).toBe('tool-calls');
  });

  test('a call is a call and never text', async () => {
    const answer = await ask({ messages: [user(calls.join('\n'))], tools });
    expect(answer.text).toBe('');
  });

  test("a call's id is the upstream's own, on the way out and on the way back", async () => {
    const messages: Said[] = [user(calls.join('\n'))];
    const answer = await ask({ messages, tools });
    const ids = answer.calls.map(({ id }) => id);
    for (const id of ids) expect(id).toMatch(/^call-\d+-\d+-[0-9a-f-]{36}$/);
    expect(new Set(ids).size).toBe(3);
    // Results may come in any order.
    const results = ids.map((callId, index) => ({ callId, text: `result ${index}` })).reverse();
    const second = await ask({ messages: [...messages, said(answer), { by: 'tools', results }], tools });
    const turn = services.upstream.turns.at(-1);
    expect(turn?.toolResults.map(({ toolCallId, text }) => [toolCallId, text])).toEqual(
      results.map(({ callId, text }) => [callId, text]),
    );
    expect(turn?.problems).toEqual([]);
    expect(second.text).toBe(
      'Tool get_weather returned: result 2\nTool get_time returned: result 1\nTool get_weather returned: result 0',
    );
  });

  test('a history with calls that another upstream made goes on as it is told', async () => {
    const history: Said[] = [
      user('What is it?'),
      {
        by: 'assistant',
        text: '',
        calls: [{ id: 'toolu_01X', name: 'get_time', arguments: '{"zone":"UTC"}' }],
      },
      { by: 'tools', results: [{ callId: 'toolu_01X', text: 'noon' }] },
    ];
    const answer = await ask({ messages: history, tools });
    expect(answer.text).toContain('"id":"toolu_01X","name":"get_time","arguments":"{\\"zone\\":\\"UTC\\"}"');
    expect(answer.text).toContain('"tool_call_id":"toolu_01X","text":"noon"');
    expect(services.upstream.turns.at(-1)?.problems).toEqual([]);
  });

  test('of several calls some without a result leave the conversation whole', async () => {
    const messages: Said[] = [user(calls.join('\n'))];
    const first = await ask({ messages, tools });
    messages.push(said(first), user('Never mind.'));
    const answer = await ask({ messages, tools });
    expect(answer.text).toContain('Never mind.');
    expect(answer.end).toBe('stop');
  });

  test('what a model thinks is never in the text, nor the other way round', async () => {
    const answer = await ask({ messages: [user('Hello')] }, 'sandbox-reasoning');
    expect(answer.text).toBe('You said: Hello');
    expect(answer.reasoning).toBe('The user wrote 5 characters. I will repeat them.');
  });

  test('thinking before a call is no part of it', async () => {
    const answer = await ask({ messages: [user(calls[1] ?? '')], tools }, 'sandbox-reasoning');
    expect(answer.reasoning).toContain('I will repeat them.');
    expect(answer.calls.map((call) => JSON.parse(call.arguments) as unknown)).toEqual([inputs[1]]);
    expect(answer).toMatchObject({ text: '', end: 'tool-calls' });
  });
});
