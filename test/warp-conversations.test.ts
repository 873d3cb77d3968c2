import { describe, expect, test } from 'vitest';
import { servicesForTest, type TestServices } from './support/services.ts';

type ChatMessage = Record<string, unknown>;

const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } } },
  },
};

const user = (content: unknown): ChatMessage => ({ role: 'user', content });
const result = (id: string, content: string): ChatMessage => ({
  role: 'tool',
  tool_call_id: id,
  content,
});

/** One turn; the answer's message as a client sends it back. */
async function chat(services: TestServices, messages: readonly ChatMessage[], model = 'sandbox') {
  const answer = await services.chat({ model, messages, tools: [weather] });
  const body = (await answer.json()) as {
    choices: { message: ChatMessage & { content: string; tool_calls?: { id: string }[] } }[];
  };
  expect([answer.status, body]).toMatchObject([200, {}]);
  const message = body.choices[0]?.message;
  if (!message) throw new Error('no message');
  return message;
}

const lastTurn = (services: TestServices) => services.upstream.turns.at(-1);
const twoCalls = 'call get_weather {"city":"Bonn"}\n\ncall get_weather {"city":"Oslo"}';

describe('two calls at once', () => {
  test('are answered in one request, with what the user says between them behind', async () => {
    const services = await servicesForTest();
    await services.addAccount('wk-1');
    const asked = user(twoCalls);
    const called = await chat(services, [asked]);
    const [first, second] = (called.tool_calls ?? []).map(({ id }) => id);
    const messages = [
      asked,
      called,
      result(first ?? '', 'sunny'),
      result(second ?? '', 'snow'),
      user('Hurry!'),
    ];
    const { content } = await chat(services, messages);
    expect(content).toBe(
      'Tool get_weather returned: sunny\nTool get_weather returned: snow\nYou said: Hurry!',
    );
    expect(services.upstream.turns).toHaveLength(2);
    expect(lastTurn(services)).toMatchObject({ taskCount: 1, query: 'Hurry!', problems: [] });
  });

  test('of which the client answers one go on in the same conversation, and the model hears of it', async () => {
    const services = await servicesForTest();
    await services.addAccount('wk-1');
    const asked = user(twoCalls);
    const called = await chat(services, [asked]);
    const second = called.tool_calls?.[1]?.id ?? '';
    const { content } = await chat(services, [asked, called, result(second, 'snow')]);
    expect(content).toMatch(
      /^Tool get_weather returned: snow\nTool get_weather failed: No result: the client did not say/,
    );
    expect(lastTurn(services)).toMatchObject({ taskCount: 1, problems: [] });
  });

  test('on an account that is gone are told with their results to another one', async () => {
    const services = await servicesForTest();
    const lost = await services.addAccount('wk-1');
    const asked = user(twoCalls);
    const called = await chat(services, [asked]);
    await services.addAccount('wk-2');
    await services.pool(`/api/accounts/${lost}`, undefined, 'DELETE');
    const [first = '', second = ''] = (called.tool_calls ?? []).map(({ id }) => id);
    const messages = [asked, called, result(first, 'sunny'), result(second, 'snow')];
    const answered = await chat(services, messages);
    const told = lastTurn(services);
    expect(told).toMatchObject({ bearer: 'wk-2', taskCount: 0, toolResults: [], problems: [] });
    const recordOf = (id: string, city: string) => ({
      role: 'assistant',
      tool_call: { id, name: 'get_weather', arguments: JSON.stringify({ city }) },
    });
    for (const record of [
      recordOf(first, 'Bonn'),
      recordOf(second, 'Oslo'),
      { role: 'tool', tool_call_id: first, text: 'sunny' },
      { role: 'tool', tool_call_id: second, text: 'snow' },
    ]) {
      expect(told?.query).toContain(`\n${JSON.stringify(record)}\n`);
    }
    expect(told?.query).toContain('The last tool records are new results.');
    // From there on the new account carries the conversation.
    await chat(services, [...messages, answered, user('Thanks.')]);
    expect(lastTurn(services)).toMatchObject({
      bearer: 'wk-2',
      taskCount: 1,
      query: 'Thanks.',
      problems: [],
    });
  });
});

test.each([
  'move',
  'subtask',
  'subtask-open',
  'transaction',
  'extras',
  'unknown-actions',
  'update',
  'two-messages',
])('after an answer of the kind "%s" the next two turns send back exactly what was sent', async (kind) => {
  const services = await servicesForTest();
  await services.addAccount('wk-1');
  const model = `sandbox-${kind}`;
  const messages: ChatMessage[] = [];
  for (const said of ['One', 'Two', 'Three']) {
    messages.push(user(said));
    messages.push(await chat(services, messages, model));
    expect(lastTurn(services)).toMatchObject({ query: said, problems: [] });
  }
  expect(lastTurn(services)?.taskCount).toBeGreaterThan(0);
});

test.each(['spent', '429-quota', '401', 'quota-late'])(
  'a conversation whose account ends with "%s" goes on with another one, told once',
  async (scenario) => {
    const services = await servicesForTest();
    await services.addAccount('wk-1');
    const history = [user('My cat is called Mia.')];
    history.push(await chat(services, history), user('What is she called?'));
    await services.addAccount('wk-2');
    services.upstream.setKeyScenario('wk-1', scenario);
    history.push(await chat(services, history));
    const [, refused, told, ...more] = services.upstream.turns;
    expect(refused).toMatchObject({ bearer: 'wk-1', taskCount: 1, query: 'What is she called?' });
    expect(told).toMatchObject({ bearer: 'wk-2', taskCount: 0, problems: [] });
    expect(told?.query.match(/"role":"user","text":"My cat is called Mia/g)).toHaveLength(1);
    expect(more).toEqual([]);
    // It stays there, remembered, though the other account may be asked again.
    services.upstream.setKeyScenario('wk-1', undefined);
    await chat(services, [...history, user('Thanks.')]);
    expect(lastTurn(services)).toMatchObject({
      bearer: 'wk-2',
      taskCount: 1,
      query: 'Thanks.',
      problems: [],
    });
  },
);

test('a conversation larger than what is kept is told anew and goes on', async () => {
  const services = await servicesForTest({ KEEP_URL: 'memory', KEEP_MAX_MB: '1' });
  await services.addAccount('wk-1');
  const long = user('x'.repeat(1_200_000));
  const first = await chat(services, [long]);
  const messages = [long, first, user('And now?')];
  const second = await chat(services, messages);
  expect(lastTurn(services)).toMatchObject({ taskCount: 0, problems: [] });
  expect(second.content).toContain('"}\n\nAnd now?');
  expect(second.content.length).toBeGreaterThan(2_400_000);
  const short = user('Hello');
  await chat(services, [short, await chat(services, [short]), user('More')]);
  expect(lastTurn(services)).toMatchObject({ taskCount: 1, query: 'More' });
});
