import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import OpenAI from 'openai';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { eventually, servicesForTest, startTestServices, type TestServices } from './support/services.ts';

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
});
afterAll(() => services.close());

// biome-ignore lint/suspicious/noExplicitAny: frames are checked by what they hold
type Frame = any;

interface Connection {
  readonly socket: WebSocket;
  send(message: unknown): void;
  /** The frames up to the next one that ends a turn, and with it. */
  turn(): Promise<Frame[]>;
  ask(more: object): Promise<Frame[]>;
  readonly closed: Promise<number>;
}

async function connect(from = services, headers: Record<string, string> = {}): Promise<Connection> {
  const socket = new WebSocket(`${from.gatewayUrl.replace('http', 'ws')}/v1/responses`, {
    headers: { authorization: 'Bearer any', ...headers },
  });
  onTestFinished(() => socket.terminate());
  const frames: Frame[] = [];
  let seen = 0;
  let isClosed = false;
  socket.on('message', (data) => frames.push(JSON.parse(String(data))));
  const closed = new Promise<number>((resolve) =>
    socket.on('close', (code) => {
      isClosed = true;
      resolve(code);
    }),
  );
  await once(socket, 'open');
  const connection: Connection = {
    socket,
    closed,
    send: (message) => socket.send(JSON.stringify(message)),
    async turn() {
      const isEnd = ({ type }: Frame) => /^(error|response\.(completed|failed|incomplete))$/.test(type);
      const end = await eventually('the turn ends', () => {
        const found = frames.findIndex((frame, index) => index >= seen && isEnd(frame));
        if (found === -1 && isClosed) throw new Error('The connection closed.');
        return found === -1 ? undefined : found + 1;
      });
      const turn = frames.slice(seen, end);
      seen = end;
      return turn;
    },
    ask(more) {
      connection.send({ type: 'response.create', model: 'sandbox', store: false, ...more });
      return connection.turn();
    },
  };
  return connection;
}

const textOf = (frames: Frame[]) => frames.at(-1)?.response?.output?.[0]?.content?.[0]?.text;
const idOf = (frames: Frame[]) => frames.at(-1)?.response?.id;

test("OpenAI's own client holds a conversation over one connection", async () => {
  const socket = new ResponsesWS(services.openai());
  onTestFinished(() => socket.close());
  const ended = (async () => {
    const texts: string[] = [];
    for await (const event of socket) {
      if (event.type === 'error') throw event.error;
      if (event.type !== 'message' || event.message.type !== 'response.completed') continue;
      const { response } = event.message;
      const [item] = response.output;
      texts.push(
        item?.type === 'message' && item.content[0]?.type === 'output_text' ? item.content[0].text : '',
      );
      if (texts.length === 2) return texts;
      socket.send({
        type: 'response.create',
        model: 'sandbox',
        previous_response_id: response.id,
        input: 'Go on',
      });
    }
    throw new Error('The connection closed.');
  })();
  socket.send({ type: 'response.create', model: 'sandbox', input: 'Hello' });
  expect(await ended).toEqual(['You said: Hello', 'You said: Go on']);
});

test('a turn has the same events as a stream over HTTP, one to a frame', async () => {
  const connection = await connect();
  const frames = await connection.ask({ input: 'Hello' });
  const stream = await services.openai().responses.create({ model: 'sandbox', input: 'Hello', stream: true });
  const streamed: string[] = [];
  for await (const event of stream) streamed.push(event.type);
  expect(new Set(frames.map(({ type }) => type))).toEqual(new Set(streamed));
  expect(frames.map(({ sequence_number }) => sequence_number)).toEqual(frames.map((_, index) => index));
});

test('a tool loop goes on with new items only, though nothing is stored, in one conversation upstream', async () => {
  const connection = await connect();
  const before = services.upstream.turns.length;
  const tools = [{ type: 'function', name: 'read', parameters: { type: 'object', properties: {} } }];
  const first = await connection.ask({ input: 'call read {}', tools });
  const call = first.at(-1)?.response.output[0];
  expect(call).toMatchObject({ type: 'function_call', name: 'read' });
  const second = await connection.ask({
    previous_response_id: idOf(first),
    tools,
    input: [{ type: 'function_call_output', call_id: call.call_id, output: 'one' }],
  });
  expect(textOf(second)).toBe('Tool read returned: one');
  const turns = services.upstream.turns.slice(before);
  expect(turns.flatMap(({ problems }) => problems)).toEqual([]);
  expect(turns[1]?.conversationId).toBe(turns[0]?.conversationId);
  await expect(services.openai().responses.retrieve(idOf(second))).rejects.toBeInstanceOf(
    OpenAI.NotFoundError,
  );
});

test('what is stored can be continued over HTTP and on another connection, what is not only here', async () => {
  const one = await connect();
  const unstored = await one.ask({ input: 'Hello' });
  const stored = await one.ask({ input: 'And you?', previous_response_id: idOf(unstored), store: true });
  const overHttp = await services.openai().responses.create({
    model: 'sandbox',
    input: 'Go on',
    previous_response_id: idOf(stored),
  });
  expect(overHttp.status).toBe('completed');
  const items = await services.openai().responses.inputItems.list(idOf(stored), { order: 'asc' });
  expect(items.data).toHaveLength(3);

  const other = await connect();
  const again = await other.ask({ input: 'Go on', previous_response_id: idOf(stored) });
  expect(again.at(-1)).toMatchObject({ type: 'response.completed' });
  const lost = await other.ask({ input: 'Go on', previous_response_id: idOf(unstored) });
  expect(lost).toEqual([
    {
      type: 'error',
      status: 400,
      error: expect.objectContaining({
        code: 'previous_response_not_found',
        param: 'previous_response_id',
        type: 'invalid_request_error',
      }),
    },
  ]);
});

test('a failed turn takes back what it went on from, and the connection stays usable', async () => {
  const connection = await connect();
  const first = await connection.ask({ input: 'Hello' });
  const failed = await connection.ask({
    previous_response_id: idOf(first),
    input: [{ type: 'function_call_output', call_id: 'call_gone', output: 'x' }],
  });
  expect(failed.at(-1)).toMatchObject({ type: 'error', status: 400, error: { param: 'input.0.call_id' } });
  const retried = await connection.ask({ previous_response_id: idOf(first), input: 'Go on' });
  expect(retried.at(-1)?.error.code).toBe('previous_response_not_found');
  expect(textOf(await connection.ask({ input: 'Anew' }))).toBe('You said: Anew');
});

test('a request without generation is taken in, and the next one goes on from it', async () => {
  const connection = await connect();
  const before = services.upstream.turns.length;
  const prepared = await connection.ask({ input: 'I am Ann.', generate: false });
  expect(prepared.map(({ type }) => type)).toEqual([
    'response.created',
    'response.in_progress',
    'response.completed',
  ]);
  expect(prepared.at(-1)?.response.output).toEqual([]);
  expect(services.upstream.turns.length).toBe(before);
  const answer = await connection.ask({ previous_response_id: idOf(prepared), input: 'Who am I?' });
  expect(textOf(answer)).toContain('I am Ann.');
});

test('requests that come at once are answered one after another, each under its label', async () => {
  const connection = await connect();
  for (const name of ['one', 'two', 'three']) {
    connection.send({
      type: 'response.create',
      model: 'sandbox',
      store: false,
      input: name,
      stream_id: name,
    });
  }
  for (const name of ['one', 'two', 'three']) {
    const frames = await connection.turn();
    expect(textOf(frames)).toBe(`You said: ${name}`);
    expect(new Set(frames.map(({ stream_id }) => stream_id))).toEqual(new Set([name]));
  }
});

test('more requests than may wait are refused, the others answered', async () => {
  const connection = await connect();
  connection.send({ type: 'response.create', model: 'sandbox-slow', store: false, input: 'slow' });
  for (let count = 0; count < 20; count += 1) {
    connection.send({ type: 'response.create', model: 'sandbox', store: false, input: 'next' });
  }
  const refused = await connection.turn();
  expect(refused.at(-1)).toMatchObject({ status: 429, error: { code: 'rate_limit_exceeded' } });
});

describe('what is wrong is told in a frame', () => {
  test.each([
    ['no JSON', '{', undefined],
    ['another type', JSON.stringify({ type: 'response.cancel' }), 'type'],
    ['no model', JSON.stringify({ type: 'response.create', input: 'x' }), 'model'],
    [
      'background',
      JSON.stringify({ type: 'response.create', model: 'a', input: 'x', background: true }),
      'background',
    ],
    [
      'a conversation',
      JSON.stringify({ type: 'response.create', model: 'a', input: 'x', conversation: 'c' }),
      'conversation',
    ],
  ])('%s', async (_name, message, param) => {
    const connection = await connect();
    connection.socket.send(message);
    const [frame] = await connection.turn();
    expect(frame).toMatchObject({ type: 'error', status: 400, error: { param: param ?? null } });
  });

  test('letters that are not UTF-8, and the connection goes on after a byte order mark', async () => {
    const connection = await connect();
    connection.socket.send(Buffer.from('{"type":"\xe9"}', 'latin1'), { binary: false });
    const [frame] = await connection.turn();
    expect(frame).toMatchObject({ status: 400, error: { message: expect.stringContaining('UTF-8') } });
    const request = { type: 'response.create', model: 'sandbox', store: false, input: 'é' };
    connection.socket.send(`\ufeff${JSON.stringify(request)}`);
    expect(textOf(await connection.turn())).toBeTruthy();
  });

  test('an unknown model', async () => {
    const connection = await connect();
    const [frame] = await connection.ask({ model: 'no-such-model', input: 'x' });
    expect(frame).toMatchObject({ type: 'error', status: 404, error: { code: 'model_not_found' } });
  });

  test('a spent account, with when to come again', async () => {
    const own = await servicesForTest();
    await own.addAccount('wk-1.good');
    const connection = await connect(own);
    const [frame] = await connection.ask({ model: 'sandbox-429', input: 'x' });
    expect(frame).toMatchObject({ status: 429, error: { code: 'rate_limit_exceeded' } });
    expect(frame.error.headers['retry-after']).toMatch(/^\d+$/);
  });

  test('an answer that breaks off', async () => {
    const own = await servicesForTest({ UPSTREAM_IDLE_SECONDS: '2' });
    await own.addAccount('wk-1.good');
    const connection = await connect(own);
    const frames = await connection.ask({ model: 'sandbox-stall', input: 'x' });
    expect(frames.map(({ type }) => type)).toContain('response.output_text.delta');
    expect(frames.at(-1)).toMatchObject({ type: 'response.failed', response: { status: 'failed' } });
  });

  test('a message that is too large ends the connection', async () => {
    const connection = await connect();
    connection.send({ type: 'response.create', model: 'sandbox', input: 'x'.repeat(33 * 1024 * 1024) });
    expect(await connection.closed).toBe(1009);
  });
});

test('a client that leaves cancels the upstream at once', async () => {
  const connection = await connect();
  connection.send({ type: 'response.create', model: 'sandbox-drip', store: false, input: 'x' });
  await eventually('the upstream turn is open', () => services.upstream.counts().open === 1);
  connection.socket.terminate();
  await eventually('the upstream turn is closed', () => services.upstream.counts().open === 0);
});

test('a client that does not read holds the upstream up, and gets everything once it reads', async () => {
  // The kernel's own buffers may hold one answer of 8 MiB, but hardly all of them.
  const connections = await Promise.all(Array.from({ length: 12 }, () => connect()));
  const { turns } = services.upstream;
  const first = turns.length;
  for (const [index, { socket, send }] of connections.entries()) {
    socket.pause();
    send({ type: 'response.create', model: 'sandbox-huge', store: false, input: `${index}` });
  }
  const sent = () => turns.slice(first).reduce((sum, turn) => sum + turn.eventsSent, 0);
  let before = -1;
  await eventually('the upstream stands still', async () => {
    const now = sent();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const isStill = turns.length - first === connections.length && now === before;
    before = now;
    return isStill;
  });
  const waiting = turns.slice(first).find(({ finished }) => !finished);
  expect(waiting).toBeDefined();
  const reader = connections[Number(waiting?.query)];
  for (const { socket } of connections) if (socket !== reader?.socket) socket.terminate();
  reader?.socket.resume();
  const frames = (await reader?.turn()) ?? [];
  expect(textOf(frames).length).toBeGreaterThan(8 * 1024 * 1024 - 1_000);
});

describe('who may connect', () => {
  async function refusal(from: TestServices, headers: Record<string, string>): Promise<number> {
    const socket = new WebSocket(`${from.gatewayUrl.replace('http', 'ws')}/v1/responses`, { headers });
    onTestFinished(() => socket.terminate());
    return new Promise((resolve, reject) => {
      socket.on('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0));
      socket.on('open', () => reject(new Error('The connection was taken.')));
      socket.on('error', () => {});
    });
  }

  test('nobody without one of the keys', async () => {
    const own = await servicesForTest({ API_KEYS: 'secret-of-a-client' });
    expect(await refusal(own, {})).toBe(401);
    expect(await refusal(own, { authorization: 'Bearer wrong' })).toBe(401);
    await connect(own, { authorization: 'Bearer secret-of-a-client' });
  });

  test('no web page of another host', async () => {
    expect(await refusal(services, { origin: 'https://evil.example' })).toBe(403);
    expect(await refusal(services, { host: 'evil.example' })).toBe(403);
    await connect(services, { origin: services.gatewayUrl });
  });

  test.each([
    ['no key', { 'sec-websocket-version': '13' }],
    ['no version', { 'sec-websocket-key': Buffer.alloc(16).toString('base64') }],
  ])('a handshake with %s is refused like any request', async (_name, handshake) => {
    const headers = { connection: 'upgrade', upgrade: 'websocket', ...handshake };
    const request = httpRequest(`${services.gatewayUrl}/v1/responses`, { headers, agent: false });
    request.end();
    const [response] = await once(request, 'response');
    expect(response.statusCode).toBe(400);
    expect(response.headers['x-request-id']).toBeTruthy();
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    expect(JSON.parse(Buffer.concat(chunks).toString())).toMatchObject({
      error: { type: 'invalid_request_error', message: expect.stringContaining('Sec-WebSocket') },
    });
  });

  test('a plain GET is told how to go on, an offer of HTTP/2 with a POST is not taken', async () => {
    const answer = await fetch(`${services.gatewayUrl}/v1/responses`);
    expect(answer.status).toBe(426);
    const body = JSON.stringify({ model: 'sandbox', input: 'Hello' });
    const status = await new Promise((resolve, reject) => {
      const request = httpRequest(`${services.gatewayUrl}/v1/responses`, {
        method: 'POST',
        headers: { connection: 'upgrade', upgrade: 'h2c', 'content-length': Buffer.byteLength(body) },
      });
      request.on('response', (response) => resolve(response.resume().statusCode));
      request.on('error', reject);
      request.end(body);
    });
    expect(status).toBe(200);
  });
});

test('a gateway that stops ends idle connections at once and running turns with an error', async () => {
  const own = await startTestServices({ SHUTDOWN_SECONDS: '1' });
  onTestFinished(() => own.close());
  await own.addAccount('wk-1.good');
  const idle = await connect(own);
  const busy = await connect(own);
  busy.send({ type: 'response.create', model: 'sandbox-drip', store: false, input: 'x' });
  await eventually('the upstream turn is open', () => own.upstream.counts().open === 1);
  const turn = busy.turn();
  const closing = own.close();
  expect(await idle.closed).toBe(1001);
  expect((await turn).at(-1)).toMatchObject({ type: 'response.failed', error: { code: 'shutting_down' } });
  expect(await busy.closed).toBe(1001);
  await closing;
});
