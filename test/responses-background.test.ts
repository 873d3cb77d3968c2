import OpenAI from 'openai';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { responseAnswer } from '../src/gateway/http/api-answers.ts';
import { eventually, servicesForTest, startTestServices, type TestServices } from './support/services.ts';

let services: TestServices;
let client: OpenAI;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
  client = services.openai();
});
afterAll(() => services.close());

const isUnderWay = ({ status }: OpenAI.Responses.Response) => status === 'queued' || status === 'in_progress';

function ended(id: string, from = client): Promise<OpenAI.Responses.Response> {
  return eventually('the response has ended', async () => {
    const response = await from.responses.retrieve(id);
    return isUnderWay(response) ? undefined : response;
  });
}

test('the answer comes at once, and the response later, to be polled and continued', async () => {
  const queued = await client.responses.create({ model: 'sandbox-slow', input: 'Hello', background: true });
  expect(queued).toMatchObject({ status: 'queued', background: true, output: [], usage: null });
  const { output_text: _, _request_id: __, ...wire } = queued as typeof queued & { _request_id?: string };
  expect(responseAnswer.safeParse(wire).error).toBeUndefined();
  expect(await client.responses.retrieve(queued.id)).toMatchObject({ status: 'in_progress' });
  await expect(
    client.responses.create({ model: 'sandbox', input: 'Go on', previous_response_id: queued.id }),
  ).rejects.toMatchObject({ status: 400, param: 'previous_response_id' });
  const response = await ended(queued.id);
  expect(response).toMatchObject({ status: 'completed', output_text: 'You said: Hello' });
  expect(response.usage?.total_tokens).toBeGreaterThan(0);
  const next = await client.responses.create({
    model: 'sandbox',
    input: 'Go on',
    previous_response_id: queued.id,
  });
  expect(next.output_text).toContain('Go on');
});

test('what it comes to is told: failed with the error, incomplete with the reason', async () => {
  const own = await servicesForTest();
  await own.addAccount('wk-1.good');
  const mine = own.openai();
  const failing = await mine.responses.create({ model: 'sandbox-context', input: 'x', background: true });
  expect(await ended(failing.id, mine)).toMatchObject({
    status: 'failed',
    error: { code: 'context_length_exceeded' },
  });
  const cut = await mine.responses.create({
    model: 'sandbox',
    input: 'one two three four five',
    max_output_tokens: 3,
    background: true,
  });
  expect(await ended(cut.id, mine)).toMatchObject({
    status: 'incomplete',
    incomplete_details: { reason: 'max_output_tokens' },
  });
});

test('a cancelled one stops at once, and cancelling again changes nothing', async () => {
  const queued = await client.responses.create({ model: 'sandbox-drip', input: 'x', background: true });
  await eventually('the upstream turn is open', () => services.upstream.counts().open === 1);
  const cancelled = await client.responses.cancel(queued.id);
  expect(cancelled).toMatchObject({ id: queued.id, status: 'cancelled', error: null });
  await eventually('the upstream turn is closed', () => services.upstream.counts().open === 0);
  expect(await client.responses.retrieve(queued.id)).toMatchObject({ status: 'cancelled' });
  expect(await client.responses.cancel(queued.id)).toMatchObject({ status: 'cancelled' });

  const done = await client.responses.create({ model: 'sandbox', input: 'x', background: true });
  await ended(done.id);
  expect(await client.responses.cancel(done.id)).toMatchObject({ status: 'completed' });
  const foreground = await client.responses.create({ model: 'sandbox', input: 'x' });
  await expect(client.responses.cancel(foreground.id)).rejects.toMatchObject({ status: 400 });
  await expect(services.openai({ apiKey: 'another' }).responses.cancel(done.id)).rejects.toMatchObject({
    status: 404,
  });
});

test('a deleted one stops and is gone', async () => {
  const queued = await client.responses.create({ model: 'sandbox-drip', input: 'x', background: true });
  await eventually('the upstream turn is open', () => services.upstream.counts().open === 1);
  await client.responses.delete(queued.id);
  await eventually('the upstream turn is closed', () => services.upstream.counts().open === 0);
  await expect(client.responses.retrieve(queued.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
});

test('a stream goes on although its client leaves, and is followed again from where it was left', async () => {
  const abort = new AbortController();
  const stream = await client.responses.create(
    { model: 'sandbox-paced', input: 'x', background: true, stream: true },
    { signal: abort.signal },
  );
  const first: OpenAI.Responses.ResponseStreamEvent[] = [];
  for await (const event of stream) {
    first.push(event);
    if (event.type === 'response.output_text.delta') break;
  }
  abort.abort();
  expect(first.slice(0, 3).map(({ type }) => type)).toEqual([
    'response.created',
    'response.queued',
    'response.in_progress',
  ]);
  const [created] = first;
  const id = created?.type === 'response.created' ? created.response.id : '';
  const last = first.at(-1)?.sequence_number ?? 0;
  const rest: OpenAI.Responses.ResponseStreamEvent[] = [];
  for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: last }))
    rest.push(event);
  const numbers = [...first, ...rest].map(({ sequence_number }) => sequence_number);
  expect(numbers).toEqual(numbers.map((_, index) => index));
  const end = rest.at(-1);
  expect(end?.type).toBe('response.completed');
  const text = [...first, ...rest]
    .map((event) => (event.type === 'response.output_text.delta' ? event.delta : ''))
    .join('');
  expect((await client.responses.retrieve(id)).output_text).toBe(text);

  const whole = await client.responses.stream({ response_id: id }).finalResponse();
  expect(whole.output_text).toBe(text);
});

test('a stream that is cancelled does not end like a whole one', async () => {
  const stream = await client.responses.create({
    model: 'sandbox-drip',
    input: 'x',
    background: true,
    stream: true,
  });
  const types: string[] = [];
  let id = '';
  const reading = (async () => {
    for await (const event of stream) {
      if (event.type === 'response.created') id = event.response.id;
      const isFirstText = event.type === 'response.output_text.delta' && !types.includes(event.type);
      types.push(event.type);
      if (isFirstText) void client.responses.cancel(id);
    }
  })();
  await expect(reading).rejects.toMatchObject({ code: 'cancelled' });
  expect(types).not.toContain('response.completed');
});

test('a stream is followed to its last event, and none is promised that has not come', async () => {
  const stream = await client.responses.create({
    model: 'sandbox',
    input: 'x',
    background: true,
    stream: true,
  });
  let id = '';
  let last = 0;
  for await (const event of stream) {
    if (event.type === 'response.created') id = event.response.id;
    last = event.sequence_number;
  }
  const follow = async (starting_after: number) => {
    const types: string[] = [];
    for await (const event of await client.responses.retrieve(id, { stream: true, starting_after }))
      types.push(event.type);
    return types;
  };
  expect(await follow(last - 1)).toEqual(['response.completed']);
  expect(await follow(last)).toEqual([]);
  await expect(follow(last + 1)).rejects.toMatchObject({ status: 400, param: 'starting_after' });

  await expect(services.openai({ apiKey: 'another' }).responses.delete(id)).rejects.toMatchObject({
    status: 404,
  });
  expect(await follow(last - 1)).toEqual(['response.completed']);
});

test('events of a response that was not streamed cannot be followed', async () => {
  const queued = await client.responses.create({ model: 'sandbox', input: 'x', background: true });
  await expect(client.responses.retrieve(queued.id, { stream: true })).rejects.toMatchObject({
    status: 400,
    param: 'stream',
  });
});

test('one that is not to be stored is refused, and so are more than may run', async () => {
  await expect(
    client.responses.create({ model: 'sandbox', input: 'x', background: true, store: false }),
  ).rejects.toMatchObject({ status: 400, param: 'store' });
  const own = await servicesForTest();
  await own.addAccount('wk-1.good');
  const mine = own.openai();
  const start = () => mine.responses.create({ model: 'sandbox-hang', input: 'x', background: true });
  await Promise.all(Array.from({ length: 20 }, start));
  await expect(start()).rejects.toMatchObject({ status: 429, param: 'background' });
  const other = own.openai({ apiKey: 'another' });
  expect(await other.responses.create({ model: 'sandbox', input: 'x', background: true })).toMatchObject({
    status: 'queued',
  });
});

test('a gateway that stops ends it with an error', async () => {
  const own = await startTestServices({ SHUTDOWN_SECONDS: '0' });
  onTestFinished(() => own.close());
  await own.addAccount('wk-1.good');
  const stream = await own.openai().responses.create({
    model: 'sandbox-drip',
    input: 'x',
    background: true,
    stream: true,
  });
  const reading = (async () => {
    for await (const event of stream) if (event.type === 'response.output_text.delta') void own.close();
  })();
  await expect(reading).rejects.toMatchObject({ code: 'shutting_down' });
});

test('a turn on the built-in sandbox ends whole while the services stop', async () => {
  const own = await startTestServices({ SHUTDOWN_SECONDS: '20' });
  onTestFinished(() => own.close());
  const stream = await own.openai().responses.create({ model: 'sandbox-paced', input: 'x', stream: true });
  let closing: Promise<void> | undefined;
  let last = '';
  for await (const event of stream) {
    if (event.type === 'response.output_text.delta') closing ??= own.close();
    last = event.type;
  }
  expect(last).toBe('response.completed');
  await closing;
});
