import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { dialectClients, user } from './support/dialects.ts';
import { eventually, startTestServices, type TestServices } from './support/services.ts';
import type { Dialect, ReadAnswer } from './support/stream-grammar.ts';

// What users of other gateways suffer from in figures; each test is named after the behaviour.

const model = 'trap';
const dialects = Object.keys(dialectClients) as Dialect[];

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices({ UPSTREAM_IDLE_SECONDS: '2' });
  services.upstream.setModels([{ id: model }]);
});
afterAll(() => services.close());

/** One account that behaves as told, gone when the test ends. */
async function account(behaviour: string): Promise<string> {
  const id = await services.addAccount(`wk-${randomUUID()}.${behaviour}`);
  onTestFinished(async () => {
    await services.pool(`/api/accounts/${id}`, undefined, 'DELETE');
  });
  return id;
}

interface Counted {
  readonly turns: number;
  readonly input_tokens: number;
  readonly output_tokens: number;
}

/** What the pool has counted of an account, once it has heard of a turn. */
function countedOf(id: string): Promise<Counted> {
  return eventually('the turn is counted', async () => {
    const found = (await services.pool(`/api/accounts/${id}`))['account'] as { usage: Counted };
    return found.usage.output_tokens > 0 && found.usage;
  });
}

function post(dialect: Dialect, isStream: boolean, more = {}, signal?: AbortSignal): Promise<Response> {
  const client = dialectClients[dialect];
  return fetch(services.gatewayUrl + client.path(model, isStream), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...client.headers },
    body: JSON.stringify(client.body({ model, messages: [user('Hello')], ...more }, isStream)),
    ...(signal === undefined ? {} : { signal }),
  });
}

async function ask(dialect: Dialect, isStream: boolean, more = {}): Promise<ReadAnswer> {
  const body = await (await post(dialect, isStream, more)).text();
  const client = dialectClients[dialect];
  return isStream ? client.readStream(body) : client.readAnswer(body);
}

describe.each(dialects)('%s', (dialect) => {
  test("a stream tells the upstream's own figures, those of the input too", async () => {
    const id = await account('plain');
    const streamed = await ask(dialect, true);
    // 100 and a quarter of "Hello"; a quarter of "You said: Hello".
    expect(streamed.usage).toEqual({ input: 102, output: 4, cached: 0 });
    expect((await ask(dialect, false)).usage).toEqual(streamed.usage);
    const counted = await eventually('both are counted', async () => {
      const usage = await countedOf(id);
      return usage.turns === 2 && usage;
    });
    expect(counted).toMatchObject({ input_tokens: 204, output_tokens: 8 });
  });

  test('figures an upstream does not give are counted and never zero', async () => {
    await account('no-usage');
    const { usage } = await ask(dialect, true);
    expect(usage?.input).toBeGreaterThan(0);
    expect(usage?.output).toBeGreaterThan(0);
  });

  test('an answer cut by the upstream counts what it has', async () => {
    const id = await account('max-tokens');
    const answer = await ask(dialect, true);
    expect(answer.end).toBe('length');
    expect(answer.usage).toEqual({
      input: 102,
      output: Math.ceil('The first part of an answer'.length / 4),
      cached: 0,
    });
    expect(await countedOf(id)).toMatchObject({ output_tokens: answer.usage?.output });
  });

  test("an answer cut at the client's limit counts what was produced", async () => {
    const id = await account('plain');
    const answer = await ask(dialect, true, {
      messages: [user('one two three four five six')],
      maxTokens: 4,
    });
    expect(answer.end).toBe('length');
    expect(answer.usage?.input).toBeGreaterThan(0);
    expect(answer.usage?.output).toBeGreaterThan(0);
    expect((await countedOf(id)).turns).toBe(1);
  });

  test('a stream that broke counts what was produced until then', async () => {
    const id = await account('stall');
    await (await post(dialect, true)).text();
    const counted = await countedOf(id);
    expect(counted.input_tokens).toBeGreaterThan(0);
    expect(counted.output_tokens).toBeLessThan(20);
  });

  test('a client that leaves is counted for what was produced, neither in full nor not at all', async () => {
    const id = await account('drip');
    const abort = new AbortController();
    const answer = await post(dialect, true, {}, abort.signal);
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    let seen = '';
    while (!seen.includes('tick 3')) seen += (await reader?.read())?.value ?? '';
    abort.abort();
    const counted = await countedOf(id);
    expect(counted.input_tokens).toBeGreaterThan(0);
    expect(counted.output_tokens).toBeGreaterThanOrEqual(3);
    // The whole answer has 50 ticks of two tokens or more.
    expect(counted.output_tokens).toBeLessThan(30);
  });
});
