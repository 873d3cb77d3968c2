import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { Writable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { findFreePort } from '../../core/testing/free-port.ts';
import { createLogger } from '../log/logger.ts';
import { BodyBudget } from './body-budget.ts';
import { HttpFault, httpFaultFrom } from './http-fault.ts';
import { createHttpServer, type HttpServerOptions } from './http-server.ts';

const statuses: Record<string, number> = { not_found: 404, method_not_allowed: 405, too_large: 413 };

function createServer(change: Partial<HttpServerOptions> = {}): FastifyInstance {
  const app = createHttpServer({
    logger: createLogger('fatal'),
    bodyLimitBytes: 1024,
    bodies: new BodyBudget(1024 * 1024),
    callers: { allowedHosts: null, keysSetting: 'API_KEYS' },
    access: { keyed: () => 'a key' },
    ...change,
    encodeUnreadable: () => '',
    adviseOnPath: () => 'See /docs.',
  });
  app.setErrorHandler((error, _request, reply) => {
    const fault = httpFaultFrom(error);
    if (!(fault instanceof HttpFault)) return reply.code(500).send(String(error));
    return reply.code(statuses[fault.kind] ?? 400).send(fault.message);
  });
  return app;
}

const open = { config: { access: 'open' } };

it('has no route that does not say who may call it', () => {
  const app = createServer();
  expect(() => app.get('/', async () => 'here')).toThrow('GET / does not say who may call it');
  expect(() => app.get('/', { config: { access: 'typo' } }, async () => 'here')).toThrow('"typo"');
  expect(() => app.get('/', open, async () => 'here')).not.toThrow();
});

it('closes soon after its last answer, although the client keeps the connection', async () => {
  const app = createServer();
  let finish = () => {};
  app.get('/slow', open, (_request, reply) => {
    reply.hijack();
    reply.raw.write('begun');
    finish = () => reply.raw.end();
  });
  const address = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
  const agent = new Agent({ keepAlive: true });
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    request(new URL('/slow', address), { agent }, resolve).on('error', reject).end();
  });
  const closed = app.close();
  await vi.waitFor(() => expect(app.server.listening).toBe(false));
  finish();
  for await (const _ of answer);
  await closed;
  agent.destroy();
});

it('takes the request of a connection that was there before, as long as it still answers', async () => {
  const app = createServer();
  let drained = () => {};
  app.addHook('preClose', () => new Promise<void>((resolve) => (drained = resolve)));
  app.get('/', open, async () => 'stopping');
  const address = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
  const socket = connect(Number(address.port), address.hostname);
  await once(app.server, 'connection');
  vi.useFakeTimers({ toFake: ['setInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const closed = app.close();
  await vi.waitFor(() => expect(vi.getTimerCount()).toBeGreaterThan(0));
  vi.advanceTimersByTime(1_000);
  socket.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
  let answer = '';
  for await (const part of socket) answer += part;
  expect(answer).toContain('stopping');
  vi.useRealTimers();
  drained();
  await closed;
});

it.each([
  ['half of its headers', 'GET / HTTP/1.1\r\n', '^$'],
  [
    'half of a body that no route reads',
    'POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 9\r\n\r\n',
    '^HTTP/1.1 405 ',
  ],
])(
  'closes although a client has sent %s and no more, but not before what it works on is answered',
  async (_name, text, said) => {
    const app = createServer();
    const answer = Promise.withResolvers<string>();
    const begun = Promise.withResolvers<void>();
    app.get('/', { config: { access: 'keyed' } }, () => {
      begun.resolve();
      return answer.promise;
    });
    const address = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
    const open = async (sent: string) => {
      const known = once(app.server, 'connection');
      const socket = connect(Number(address.port), address.hostname).on('error', () => {});
      onTestFinished(() => void socket.destroy());
      let text = '';
      socket.on('data', (part) => (text += part));
      const closed = new Promise<string>((resolve) => socket.once('close', () => resolve(text)));
      socket.write(sent);
      await known;
      return closed;
    };
    const stuck = open(text);
    const waiting = open('GET / HTTP/1.1\r\nhost: here\r\n\r\n');
    await begun.promise;
    const closed = app.close();
    expect(await stuck).toMatch(new RegExp(said));
    answer.resolve('worth the wait');
    expect(await waiting).toContain('worth the wait');
    await closed;
  },
  20_000,
);

it('logs once what to do for each page that was refused, which the page itself cannot read', async () => {
  let log = '';
  const destination = new Writable({
    write(chunk, _encoding, done) {
      log += chunk;
      done();
    },
  });
  const cors = { origins: ['https://a.example'], exposedHeaders: [] };
  const app = createServer({
    logger: createLogger('warn', destination),
    callers: { allowedHosts: [], keysSetting: 'API_KEYS', cors },
  });
  app.get('/', open, async () => 'here');
  const ask = (origin: string, method: 'GET' | 'OPTIONS' = 'GET') => {
    const headers = { host: 'localhost', origin, 'access-control-request-method': 'POST' };
    return app.inject({ method, url: '/', headers });
  };
  for (const origin of ['https://a.example', 'null', 'null', 'https://b.example']) await ask(origin);
  await ask('http://localhost:3000', 'OPTIONS');
  const messages = log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).msg as string);
  expect(messages).toEqual([
    expect.stringContaining('add null to CORS_ORIGINS'),
    expect.stringContaining('add https://b.example to CORS_ORIGINS'),
    expect.stringContaining('add http://localhost:3000 to CORS_ORIGINS'),
  ]);
  for (let number = 0; number < 200; number += 1) await ask(`https://${number}.example`);
  expect(log.trim().split('\n')).toHaveLength(100);
});

/** What the server says to these bytes, until it closes the connection or `isDone`. */
async function say(
  app: FastifyInstance,
  bytes: string,
  isDone: (answer: string) => boolean = () => false,
  host = '127.0.0.1',
): Promise<string> {
  const socket = connect((app.server.address() as AddressInfo).port, host);
  onTestFinished(() => void socket.destroy());
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk;
    if (isDone(answer)) socket.destroy();
  });
  // A connection that is cut may reset.
  socket.on('error', () => {});
  socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return answer;
}

describe('requests sent without waiting for answers', () => {
  const get = 'GET / HTTP/1.1\r\nhost: here\r\n\r\n';
  const post = 'POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\n\r\n{}';
  async function serve(host = '127.0.0.1') {
    const app = createServer();
    const turns: number[] = [];
    let turn = 0;
    let isCounting = true;
    const count = () => {
      turn += 1;
      if (isCounting) setImmediate(count);
    };
    setImmediate(count);
    app.addHook('onRequest', async () => void turns.push(turn));
    app.get('/', open, async () => 'here');
    app.post('/', { config: { access: 'open', takesBody: false } }, async () => 'here');
    // Free under each address of the host.
    await app.listen({ host, port: await findFreePort() });
    onTestFinished(async () => {
      isCounting = false;
      await app.close();
    });
    return { app, turns };
  }

  it.each([get, post])('are answered in order while they are few: %j', async (request) => {
    const { app, turns } = await serve();
    const end = 'GET /end HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n';
    const answer = await say(app, request.repeat(20) + end);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toHaveLength(21);
    expect(answer).toMatch(/nothing at GET \/end[^{]*$/);
    // Others are served between them.
    expect(new Set(turns).size).toBe(20);
  });

  it.each([get, post])('cost the connection where they are many: %j', async (request) => {
    const { app, turns } = await serve();
    await say(app, request.repeat(5_000));
    expect(turns.length).toBeLessThan(100);
    expect(await say(app, get, (answer) => answer.endsWith('here'))).toContain('200 OK');
  });

  it('are bounded on each address of localhost', async () => {
    const { app, turns } = await serve('localhost');
    for (const { address } of app.addresses() as AddressInfo[]) {
      await say(app, get.repeat(5_000), undefined, address);
      expect(await say(app, get, (answer) => answer.endsWith('here'), address)).toContain('200 OK');
    }
    expect(turns.length).toBeLessThan(200);
  });
});

describe('a client that asks before it sends its body', () => {
  it('gets its 100 where the body is read, and only there', async () => {
    const app = createServer();
    app.post('/', { config: { access: 'open' } }, async ({ body }) => ({ body }));
    await app.listen({ host: '127.0.0.1', port: 0 });
    onTestFinished(() => app.close());
    const ask = (path: string, length: number) =>
      `POST ${path} HTTP/1.1\r\nhost: here\r\nexpect: 100-continue\r\ncontent-length: ${length}\r\n\r\n`;
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.write(ask('/', 7));
    expect(String((await once(socket, 'data'))[0])).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    socket.write('{"a":1}');
    expect(String((await once(socket, 'data'))[0])).toMatch(/200 OK[\s\S]*{"body":{"a":1}}$/);
    expect(await say(app, ask('/nowhere', 7))).toMatch(/^HTTP\/1\.1 404 /);
    expect(await say(app, ask('/', 5_000))).toMatch(/^HTTP\/1\.1 413 /);
  });
});

describe('a body that no route reads', () => {
  it.each(['keep-alive', 'close'])(
    'is followed by no second answer where it breaks off: connection %s',
    async (kept) => {
      const app = createServer({ encodeUnreadable: ({ message }) => message });
      await app.listen({ host: '127.0.0.1', port: 0 });
      onTestFinished(() => app.close());
      const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
      onTestFinished(() => void socket.destroy());
      let answer = '';
      socket.on('data', (part) => (answer += part));
      socket.write(
        `POST /nowhere HTTP/1.1\r\nhost: here\r\nconnection: ${kept}\r\ntransfer-encoding: chunked\r\n\r\n`,
      );
      await vi.waitFor(() => expect(answer).toContain('nothing at POST /nowhere'));
      socket.write('no chunk');
      await once(socket, 'close');
      expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 404']);
    },
  );

  it('may be sent to its end, also where the client ends the connection after it', async () => {
    const app = createServer();
    await app.listen({ host: '127.0.0.1', port: 0 });
    onTestFinished(() => app.close());
    const port = (app.server.address() as AddressInfo).port;
    for (const headers of [{ connection: 'close' }, { connection: 'keep-alive' }]) {
      const call = request({ port, method: 'POST', path: '/nowhere', headers });
      call.end(Buffer.alloc(32 * 1024 * 1024, '['));
      const [answer] = (await once(call, 'response')) as [IncomingMessage];
      expect([answer.statusCode, answer.headers.connection]).toEqual([404, headers.connection]);
      for await (const _ of answer);
      await once(call, 'close');
    }
  });

  it('may be sent to its end while the server closes, too', async () => {
    const app = createServer();
    let drained = () => {};
    app.addHook('preClose', () => new Promise<void>((resolve) => (drained = resolve)));
    const address = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
    const known = once(app.server, 'connection');
    const socket = connect(Number(address.port), address.hostname).on('error', () => {});
    onTestFinished(() => void socket.destroy());
    await known;
    const closed = app.close();
    const length = 16 * 1024 * 1024;
    socket.write(`POST /nowhere HTTP/1.1\r\nhost: here\r\ncontent-length: ${length}\r\n\r\n`);
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1\.1 404 [\s\S]*connection: close/i);
    await new Promise<void>((resolve, reject) => {
      socket.once('close', () => reject(new Error('The connection was cut.')));
      socket.write(Buffer.alloc(length - 1, '['), (error) => (error ? reject(error) : resolve()));
    });
    socket.end('[');
    drained();
    await closed;
  });

  it.each([
    ['has no end', 0x100000, 150 * 1024 * 1024],
    ['comes in tiny pieces', 1, 8 * 1024 * 1024],
  ])('ends the connection where it %s', async (_name, size, most) => {
    const app = createServer();
    await app.listen({ host: '127.0.0.1', port: 0 });
    onTestFinished(() => app.close());
    const port = (app.server.address() as AddressInfo).port;
    const socket = connect(port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => {});
    socket.resume();
    socket.write('POST /nowhere HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n');
    const piece = `${size.toString(16)}\r\n${'['.repeat(size)}\r\n`;
    const pieces = piece.repeat(Math.ceil(0x10000 / piece.length));
    const pump = (): void => {
      while (!socket.destroyed && socket.bytesWritten < 2 ** 30 && socket.write(pieces));
      if (!socket.destroyed) socket.once('drain', pump);
    };
    pump();
    await new Promise((resolve) => socket.once('close', resolve));
    // The bound and what lay in buffers.
    expect(socket.bytesWritten).toBeLessThan(most);
  });
});

describe('a request that two readers could understand in two ways', () => {
  it.each([
    ['a length and chunks', 'content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two lengths', 'content-length: 3\r\ncontent-length: 4\r\n\r\nabcd'],
    ['a signed length', 'content-length: +3\r\n\r\nabc'],
    ['an unknown coding', 'transfer-encoding: xchunked\r\n\r\n0\r\n\r\n'],
    ['chunks that are not the last coding', 'transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n'],
    ['a folded header', 'x: a\r\n b\r\n\r\n'],
    ['a space before the colon', 'x : a\r\n\r\n'],
    ['lines that end in LF', 'x: a\n\n'],
    ['a control character', 'x: a\x01b\r\n\r\n'],
    [
      'a chunk with an endless extension',
      `transfer-encoding: chunked\r\n\r\n1;${'a'.repeat(20_000)}\r\nx\r\n0\r\n\r\n`,
    ],
    ['a second host', 'host: there\r\n\r\n'],
  ])('is refused: %s', async (_name, rest) => {
    const app = createServer();
    await app.listen({ host: '127.0.0.1', port: 0 });
    onTestFinished(() => app.close());
    const answer = await say(app, `POST / HTTP/1.1\r\nhost: here\r\n${rest}`, (text) =>
      text.includes('\r\n\r\n'),
    );
    expect(answer).toMatch(/^HTTP\/1\.1 400 [\s\S]*x-request-id: /);
  });

  it('is refused without a host, but for HTTP/1.0', async () => {
    const app = createServer();
    await app.listen({ host: '127.0.0.1', port: 0 });
    onTestFinished(() => app.close());
    expect(await say(app, 'GET / HTTP/1.1\r\nconnection: close\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    expect(await say(app, 'GET / HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 404 /);
  });
});
