import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { residentKib } from '../bench/proc.ts';
import { startSandbox } from '../sandbox/index.ts';
import { dialectClients, user } from './support/dialects.ts';
import { startProcess } from './support/process.ts';
import { eventually, startTestServices, type TestServices } from './support/services.ts';
import type { Dialect } from './support/stream-grammar.ts';

// What users of other gateways suffer from in streams; each test is named after the behaviour.

const model = 'trap';
const dialects = Object.keys(dialectClients) as Dialect[];

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices({ UPSTREAM_FIRST_EVENT_SECONDS: '3', UPSTREAM_IDLE_SECONDS: '2' });
  services.upstream.setModels([{ id: model }]);
});
afterAll(() => services.close());

/** Accounts that behave as told, lent in this order, gone when the test ends. */
async function accounts(...behaviours: string[]): Promise<string[]> {
  const keys: string[] = [];
  for (const [tier, behaviour] of behaviours.entries()) {
    const key = `wk-${randomUUID()}.${behaviour}`;
    const id = await services.addAccount(key, { tier });
    onTestFinished(async () => {
      await services.pool(`/api/accounts/${id}`, undefined, 'DELETE');
    });
    keys.push(key);
  }
  return keys;
}

async function ask(dialect: Dialect, isStream: boolean, more = {}) {
  const client = dialectClients[dialect];
  const from = services.upstream.turns.length;
  const answer = await fetch(services.gatewayUrl + client.path(model, isStream), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...client.headers },
    body: JSON.stringify(client.body({ model, messages: [user('Hello')], ...more }, isStream)),
  });
  const body = await answer.text();
  return {
    status: answer.status,
    body,
    bearers: services.upstream.turns.slice(from).map(({ bearer }) => bearer),
  };
}

describe.each(['cut-early', 'eof-early', 'empty', 'silent', 'hang', 'error-early', 'html', '500'])(
  'an upstream that does "%s" before any content',
  (behaviour) => {
    test('is replaced by another account, and the client sees one whole stream', async () => {
      const keys = await accounts(behaviour, 'plain');
      const { status, body, bearers } = await ask('chat', true);
      expect(status).toBe(200);
      expect(dialectClients.chat.readStream(body)).toMatchObject({ text: 'You said: Hello', end: 'stop' });
      // A fault of the upstream is met with a second try on the same account.
      expect([...new Set(bearers)]).toEqual(keys);
    });
  },
);

test.each(dialects)(
  'an error before content is a status and never a 200 that begins (%s)',
  async (dialect) => {
    await accounts('error-early');
    const { status, body } = await ask(dialect, true);
    expect(status).toBeGreaterThanOrEqual(500);
    expect(body).not.toMatch(/message_start|response\.created|chat\.completion\.chunk|candidates/);
  },
);

test.each(dialects)(
  'an upstream that answers 200 and then no event is given up at a limit (%s)',
  async (dialect) => {
    await accounts('silent');
    const { status, body } = await ask(dialect, true);
    expect(status).toBe(dialect === 'messages' ? 500 : 504);
    expect(body).toContain('did not begin to answer');
  },
);

test.each(dialects)(
  'an error inside a stream of status 200 ends the answer as an error (%s)',
  async (dialect) => {
    await accounts('error', 'plain');
    const { status, body } = await ask(dialect, true);
    // Came the error in one read with the first text, nothing was shown yet and the other account answers.
    if (status !== 200) return;
    const read = dialectClients[dialect].readStream(body);
    if (read.end === 'error') expect('The first part of an answer'.startsWith(read.text)).toBe(true);
    else expect(read.text).toBe('You said: Hello');
  },
);

test.each(['stall', 'cut', 'garbage', 'endless'])(
  'text that was shown is never repeated by another try: %s',
  async (behaviour) => {
    await accounts(behaviour, behaviour, 'plain');
    const { body } = await ask('chat', true);
    const read = dialectClients.chat.readStream(body);
    if (read.text !== 'You said: Hello') {
      expect(read.end).toBe('error');
      expect('The first part of an answer'.startsWith(read.text)).toBe(true);
    }
    expect(body.match(/The first part/g)?.length ?? 0).toBeLessThanOrEqual(1);
  },
);

test.each(dialects)(
  'an answer that is collected is begun anew when it breaks, and shows one try only (%s)',
  async (dialect) => {
    await accounts('stall', 'plain');
    const { status, body } = await ask(dialect, false);
    expect(status).toBe(200);
    expect(dialectClients[dialect].readAnswer(body)).toMatchObject({ text: 'You said: Hello', end: 'stop' });
  },
);

test("a good answer is over with the upstream's own end mark, without [DONE] and before the connection ends", async () => {
  await accounts('lingering');
  const { body } = await ask('chat', true);
  expect(dialectClients.chat.readStream(body)).toMatchObject({ text: 'You said: Hello', end: 'stop' });
  await eventually('the connection is given up', () => services.upstream.counts().open === 0);
});

test.each(dialects)(
  'a chunk that is cut at a limit or a stop sequence stays a whole event (%s)',
  async (dialect) => {
    await accounts('plain');
    const limited = await ask(dialect, true, {
      messages: [user('one two three four five six')],
      maxTokens: 4,
    });
    expect(dialectClients[dialect].readStream(limited.body)).toMatchObject({ end: 'length' });
    if (dialect === 'responses') return;
    const stopped = await ask(dialect, true, { messages: [user('one STOP two')], stop: ['STOP'] });
    expect(dialectClients[dialect].readStream(stopped.body)).toMatchObject({
      text: 'You said: one ',
      end: 'stop',
    });
  },
);

test('a client that leaves cancels the upstream at once', async () => {
  await accounts('drip');
  const client = dialectClients.chat;
  const abort = new AbortController();
  const answer = await fetch(services.gatewayUrl + client.path(model, true), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(client.body({ model, messages: [user('Hello')] }, true)),
    signal: abort.signal,
  });
  const before = services.upstream.counts().cancelled;
  await answer.body?.getReader().read();
  abort.abort();
  // An answer that went on to its end would not count as cancelled.
  await eventually('it is cancelled', () => services.upstream.counts().cancelled > before);
});

test('the memory of the gateway is bounded while its clients do not read', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-test-'));
  const upstream = await startSandbox();
  onTestFinished(async () => {
    await upstream.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const { child, url } = await startProcess(
    ['serve'],
    {
      PORT: '0',
      POOL_SERVICE_PORT: '0',
      DATA_DIR: folder,
      LOG_DIR: folder,
      WARP_SERVER_URL: upstream.url,
      WARP_API_KEY: 'wk-1.burst-100000',
      USE_POOL_SERVICE: 'false',
      NODE_OPTIONS: '--max-semi-space-size=16',
    },
    folder,
  );
  const pid = child.pid ?? 0;
  const warm = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({
      model: 'sandbox',
      messages: [{ role: 'user', content: 'Hello' }],
      stream: true,
    }),
  });
  expect((await warm.text()).length).toBeGreaterThan(8 * 1024 * 1024);

  const before = residentKib(pid, 'now');
  const count = 8;
  const sockets = await Promise.all(Array.from({ length: count }, () => silentReader(url)));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  let last = -1;
  const isStanding = async () => {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const size = residentKib(pid, 'now');
    const isStill = upstream.turns.length === count + 1 && Math.abs(size - last) < 1024;
    last = size;
    return isStill;
  };
  await eventually('the gateway stands still', isStanding);
  // Small pieces make much of little text: the answers have 8 MiB, and the bytes that nobody takes some 200 MiB.
  expect(last - before).toBeLessThan(96 * 1024);
});

/** A client that sends its request and never reads what comes. */
async function silentReader(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  await once(socket, 'connect');
  socket.pause();
  const body = JSON.stringify({
    model: 'sandbox',
    messages: [{ role: 'user', content: 'Hello' }],
    stream: true,
  });
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  return socket;
}
