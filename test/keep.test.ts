import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { type Sandbox, startSandbox } from '../sandbox/index.ts';
import { startServices } from '../src/compose.ts';
import { loadConfig } from '../src/config.ts';
import { startPostgresServer } from '../src/db/testing/postgres-server.ts';
import { newDatabase } from '../src/db/testing/shared-postgres.ts';
import { createLogger } from '../src/lib/log/logger.ts';
import { startProcess } from './support/process.ts';
import { eventually, servicesForTest, type TestServices } from './support/services.ts';

interface ChatMessage {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

const user = (content: string): ChatMessage => ({ role: 'user', content });

/** A conversation as a client holds it. `say` is a turn, at whatever gateway. */
function conversation(model = 'sandbox') {
  const messages: ChatMessage[] = [];
  return {
    messages,
    async say(gatewayUrl: string, text: string, headers: Record<string, string> = {}): Promise<string> {
      messages.push(user(text));
      const answer = await fetch(`${gatewayUrl}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ model, messages }),
      });
      const body = (await answer.json()) as { choices?: { message: { content: string } }[] };
      const content = body.choices?.[0]?.message.content;
      if (answer.status !== 200 || content === undefined) throw new Error(JSON.stringify(body));
      messages.push({ role: 'assistant', content });
      return content;
    },
  };
}

const conversationsOf = (upstream: Sandbox) => upstream.turns.map(({ conversationId }) => conversationId);
const problemsOf = (upstream: Sandbox) => upstream.turns.flatMap(({ problems }) => problems);

async function figure(gatewayUrl: string, name: string): Promise<number | undefined> {
  const text = await (await fetch(`${gatewayUrl}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`warp2api_gateway_${name} `));
  return line === undefined ? undefined : Number(line.split(' ')[1]);
}

const written = (gatewayUrl: string) =>
  eventually('everything is written', async () => (await figure(gatewayUrl, 'keep_unwritten')) === 0);

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-keep-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Another gateway over the pool of `services`. */
async function gatewayBeside(services: TestServices, environment: Record<string, string>) {
  const folder = temporaryFolder();
  let log = '';
  const destination = new Writable({
    write(chunk, _encoding, done) {
      log += chunk;
      done();
    },
  });
  const config = loadConfig(
    {
      PORT: '0',
      POOL_SERVICE_URL: services.poolUrl,
      DATA_DIR: folder,
      WARP_SERVER_URL: services.upstream.url,
      SHUTDOWN_SECONDS: '0',
      ...environment,
    },
    folder,
  );
  const running = await startServices(config, 'gateway', createLogger('INFO', destination), (error) => {
    throw error;
  });
  onTestFinished(() => running.close());
  return { url: running.gatewayUrl ?? '', log: () => log };
}

test('a gateway that was killed goes on with the conversation after its next start', async () => {
  const folder = temporaryFolder();
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const environment = {
    DATA_DIR: folder,
    WARP_SERVER_URL: upstream.url,
    WARP_API_KEY: 'wk-1.good',
    POOL_SERVICE_PORT: '0',
    PORT: '0',
    SHUTDOWN_SECONDS: '1',
  };
  const talk = conversation();
  const first = await startProcess(['serve'], environment, folder);
  await talk.say(first.url, 'Hello');
  await talk.say(first.url, 'And again');
  await written(first.url);
  await first.kill('SIGKILL');

  const second = await startProcess(['serve'], environment, folder);
  expect(await talk.say(second.url, 'Still there?')).toBe('You said: Still there?');
  expect(new Set(conversationsOf(upstream)).size).toBe(1);
  expect(upstream.turns.at(-1)?.query).toBe('Still there?');
  expect(problemsOf(upstream)).toEqual([]);
  await eventually('the log says so', () => second.output().includes('"conversation":"hit"'));

  // What is not yet written when it ends in order is written then.
  await talk.say(second.url, 'One more');
  expect(await second.kill('SIGTERM')).toBe(0);
  const third = await startProcess(['serve'], environment, folder);
  await talk.say(third.url, 'The last');
  expect(new Set(conversationsOf(upstream)).size).toBe(1);
});

test('gateways on one PostgreSQL database go on with each other’s conversations, and one of two claimants', async () => {
  const environment = { KEEP_URL: await newDatabase() };
  const services = await servicesForTest(environment);
  await services.addAccount('wk-1.good');
  await services.addAccount('wk-2.good');
  const other = await gatewayBeside(services, environment);
  const { upstream } = services;

  const talk = conversation();
  for (const url of [services.gatewayUrl, other.url, services.gatewayUrl, other.url]) {
    await talk.say(url, `Turn ${talk.messages.length}`);
    await written(url);
  }
  expect(new Set(conversationsOf(upstream)).size).toBe(1);
  expect(upstream.turns.at(-1)?.query).toBe('Turn 6');

  const history = [...talk.messages];
  const twins = [services.gatewayUrl, other.url].map(async (url) => {
    const twin = conversation();
    twin.messages.push(...history);
    return twin.say(url, 'Both');
  });
  // The one that folds tells the history in its query, and the sandbox repeats all of it.
  const answers = await Promise.all(twins);
  expect(answers.filter((answer) => answer === 'You said: Both').length).toBe(1);
  expect(answers.filter((answer) => answer.includes('Turn 0') && answer.endsWith('Both')).length).toBe(1);
  expect(new Set(conversationsOf(upstream)).size).toBe(2);
  expect(problemsOf(upstream)).toEqual([]);
});

test('a stored response is found by every gateway on the database, with its key only', async () => {
  const environment = { KEEP_URL: await newDatabase() };
  const services = await servicesForTest(environment);
  const other = await gatewayBeside(services, environment);
  const client = services.openai({ apiKey: 'mine' });
  const { id } = await client.responses.create({ model: 'sandbox', input: 'Hello' });
  await written(services.gatewayUrl);
  const found = (key: string) =>
    fetch(`${other.url}/v1/responses/${id}`, { headers: { authorization: `Bearer ${key}` } });
  expect(((await (await found('mine')).json()) as { output_text?: string; id: string }).id).toBe(id);
  expect((await found('yours')).status).toBe(404);
});

test('no turn fails for a database that goes away', async () => {
  const server = await startPostgresServer();
  onTestFinished(() => server.dispose());
  const services = await servicesForTest({ KEEP_URL: server.url('postgres') });
  await services.addAccount('wk-1.good');
  const { gatewayUrl, upstream } = services;
  const talk = conversation();
  await talk.say(gatewayUrl, 'Before');
  await written(gatewayUrl);
  await server.stop();

  // What lies there is out of reach, so the history is told; what is said from now on is remembered here.
  expect(await talk.say(gatewayUrl, 'During')).toContain('Before');
  expect(await talk.say(gatewayUrl, 'Meanwhile')).toBe('You said: Meanwhile');
  expect(await figure(gatewayUrl, 'keep_failures_total')).toBeGreaterThan(0);
  const stored = await fetch(`${gatewayUrl}/v1/responses/resp_${'0'.repeat(32)}`);
  expect(stored.status).toBe(503);
  expect(stored.headers.get('retry-after')).toBe('5');

  await server.start();
  const later = conversation();
  await eventually('a turn is kept in the database again', async () => {
    await later.say(gatewayUrl, 'Back?');
    return (await figure(gatewayUrl, 'keep_unwritten')) === 0;
  });
  expect(await talk.say(gatewayUrl, 'After')).toBe('You said: After');
  expect(problemsOf(upstream)).toEqual([]);
});

test('a second gateway on one file says so, answers, and folds what it does not have', async () => {
  const environment = { KEEP_URL: `sqlite:${join(temporaryFolder(), 'gateway.db')}` };
  const services = await servicesForTest(environment);
  await services.addAccount('wk-1.good');
  const other = await gatewayBeside(services, environment);
  expect(other.log()).toMatch(/is held by process \d+/);
  const health = async (url: string) =>
    ((await (await fetch(`${url}/health`)).json()) as { keep: unknown }).keep;
  expect(await health(services.gatewayUrl)).toEqual({ store: 'sqlite', reachable: true });
  expect(await health(other.url)).toEqual({ store: 'memory', reachable: false });
  const talk = conversation();
  await talk.say(services.gatewayUrl, 'Hello');
  expect(await talk.say(other.url, 'And here?')).toContain('Hello');
  expect(await talk.say(other.url, 'And now?')).toBe('You said: And now?');
});
