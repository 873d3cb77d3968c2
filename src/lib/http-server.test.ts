import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import { expect, it, onTestFinished, vi } from 'vitest';
import { createHttpServer, type HttpServerOptions } from './http-server.ts';
import { createLogger } from './logger.ts';

const createServer = (change: Partial<HttpServerOptions> = {}) =>
  createHttpServer({
    logger: createLogger('fatal'),
    bodyLimitBytes: 1024,
    callers: { allowedHosts: null, keysSetting: 'API_KEYS' },
    access: {},
    ...change,
    encodeUnreadable: () => '',
    adviseOnPath: () => 'See /docs.',
  });

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
}, 5_000);

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
