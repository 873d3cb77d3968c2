import { expect, test } from 'vitest';
import { eventually, servicesForTest, userTurn } from './support/services.ts';

test('several answers come side by side, whole and as a stream, each a turn of its own', async () => {
  const services = await servicesForTest({ MAX_CHOICES: '4' });
  await services.addAccount('wk-1.good');
  const client = services.openai();
  const whole = await client.chat.completions.create(userTurn('sandbox', 'Hello', { n: 3 }));
  expect(whole.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
  expect(whole.choices.every(({ message }) => message.content === 'You said: Hello')).toBe(true);
  expect(services.upstream.turns).toHaveLength(3);
  const one = await client.chat.completions.create(userTurn('sandbox', 'Hello'));
  expect(whole.usage?.total_tokens).toBe((one.usage?.total_tokens ?? 0) * 3);

  const stream = client.chat.completions.stream({
    ...userTurn('sandbox', 'Hello', { n: 2 }),
    stream_options: { include_usage: true },
  });
  const final = await stream.finalChatCompletion();
  expect(final.choices.map(({ message }) => message.content)).toEqual(['You said: Hello', 'You said: Hello']);
  expect(final.usage?.total_tokens).toBe((one.usage?.total_tokens ?? 0) * 2);
});

test('a conversation goes on after several answers, whichever the client takes', async () => {
  const services = await servicesForTest({ MAX_CHOICES: '2' });
  await services.addAccount('wk-1.good');
  const client = services.openai();
  const asked = userTurn('sandbox', 'Hello');
  const { choices } = await client.chat.completions.create({ ...asked, n: 2 });
  const said = choices[1]?.message;
  if (!said) throw new Error('There is no second answer.');
  const messages = [...asked.messages, said, { role: 'user' as const, content: 'And now?' }];
  const next = await client.chat.completions.create({ model: 'sandbox', messages, n: 2 });
  expect(next.choices).toHaveLength(2);
  const queries = services.upstream.turns.slice(-2).map(({ query }) => query);
  expect(queries.filter((query) => query === 'And now?')).toHaveLength(1);
  expect(queries.every((query) => query.endsWith('And now?'))).toBe(true);
  expect(services.upstream.turns.flatMap(({ problems }) => problems)).toEqual([]);
});

test('a client that leaves ends all of its answers', async () => {
  const services = await servicesForTest({ MAX_CHOICES: '2' });
  await services.addAccount('wk-1.good');
  const client = new AbortController();
  const answer = await fetch(`${services.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(userTurn('sandbox-drip', 'Hello', { n: 2, stream: true })),
    signal: client.signal,
  });
  await answer.body?.getReader().read();
  client.abort();
  const ended = () => services.log().match(/"outcome":"cancelled".*"msg":"turn"/g)?.length === 2;
  await eventually('both turns end', ended);
});

test('more answers than the operator allows are a 400 that names the parameter', async () => {
  const services = await servicesForTest();
  const ask = (n: number) => services.openai().chat.completions.create(userTurn('sandbox', 'Hello', { n }));
  await expect(ask(2)).rejects.toMatchObject({ status: 400, param: 'n' });
  expect((await ask(1)).choices).toHaveLength(1);
});
