import dns from 'node:dns';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import websocket from '@fastify/websocket';
import type { FastifyInstance } from 'fastify';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { findFreePort } from '../../core/testing/free-port.ts';
import { createLogger } from '../log/logger.ts';
import { watchObjects } from '../process/testing/collected.ts';
import { BodyBudget } from './body-budget.ts';
import type { ConnectionLimits } from './connections.ts';
import { HttpFault } from './http-fault.ts';
import { createHttpServer } from './http-server.ts';

const key = 'x-api-key: right\r\n';
const ask = (path: string, shown = key) => `GET ${path} HTTP/1.1\r\nhost: here\r\n${shown}\r\n`;

async function serve(connectionLimits: Partial<ConnectionLimits>, host = '127.0.0.1') {
  let log = '';
  const destination = new Writable({
    write(chunk, _encoding, done) {
      log += chunk;
      done();
    },
  });
  const app = createHttpServer({
    logger: createLogger('warn', destination),
    takesWebSockets: true,
    bodyLimitBytes: 1024 * 1024,
    bodies: new BodyBudget(1024 * 1024),
    callers: { allowedHosts: null, keysSetting: 'API_KEYS' },
    access: {
      keyed({ headers }) {
        const shown = String(headers['x-api-key'] ?? '');
        if (!shown.startsWith('right')) throw new HttpFault('invalid_request', 'No key was sent.');
        return shown;
      },
    },
    connectionLimits,
    encodeUnreadable: (fault) => fault.message,
    adviseOnPath: () => 'See /docs.',
  });
  const keyed = { config: { access: 'keyed' } };
  app.get('/', keyed, async () => 'here');
  const requests = watchObjects();
  app.post('/', keyed, async ({ raw }) => {
    requests.add(raw);
    return 'taken';
  });
  app.get('/stream', keyed, (_request, reply) => {
    reply.hijack();
    reply.raw.write('begun');
  });
  const slow = Promise.withResolvers<string>();
  app.get('/slow', keyed, () => slow.promise);
  await app.register(websocket);
  app.get('/socket', { ...keyed, websocket: true }, () => {});
  app.get('/large', { config: { access: 'open' } }, async () => 'x'.repeat(20_000_000));
  // Free under each address of the host.
  await app.listen({ host, port: await findFreePort() });
  onTestFinished(async () => {
    app.server.closeAllConnections();
    await app.close();
  });
  return { app, log: () => log, requests, slow };
}

interface Connected {
  readonly socket: Socket;
  /** What came so far. */
  said(): string;
  readonly closed: Promise<unknown>;
}

/** Once the server knows of it. */
async function open(app: FastifyInstance, text = '', host = '127.0.0.1'): Promise<Connected> {
  const known = host === '127.0.0.1' ? once(app.server, 'connection') : undefined;
  const socket = connect((app.server.address() as AddressInfo).port, host);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  let said = '';
  socket.on('data', (chunk) => {
    said += chunk;
  });
  if (text !== '') socket.write(text);
  await known;
  return { socket, said: () => said, closed };
}

/** Bodies are looked at when the test says, each time after a thousand bytes of a connection have arrived. */
async function serveWithLooks(lookEveryMs: number, host?: string) {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const { app } = await serve({ lookEveryMs, leastGrowth: 1_000 }, host);
  const sockets: Socket[] = [];
  app.server.on('connection', (socket: Socket) => sockets.push(socket));
  const arrived = ({ socket: { localPort } }: Connected) =>
    sockets.find(({ remotePort }) => remotePort === localPort)?.bytesRead ?? 0;
  return {
    app,
    async look(flow: Connected, isLast: boolean) {
      flow.socket.write(isLast ? `${' '.repeat(999)}1` : ' '.repeat(1_000));
      while (arrived(flow) < flow.socket.bytesWritten) await delay(5);
      vi.advanceTimersByTime(lookEveryMs);
    },
  };
}

const count = (app: FastifyInstance) =>
  new Promise<number>((resolve) => app.server.getConnections((_error, number) => resolve(number)));
const says = (connection: Connected, text: string) =>
  vi.waitFor(() => expect(connection.said()).toContain(text));

describe('where there are too many connections', () => {
  it('those go that showed no key, the oldest first, and it is logged once', async () => {
    const { app, log } = await serve({ most: 100, mostWithoutKey: 10 });
    const friend = await open(app, ask('/'));
    await says(friend, 'here');
    const keyless: Connected[] = [];
    for (let count = 0; count < 300; count += 1) keyless.push(await open(app, count % 2 ? 'GET / HT' : ''));
    await Promise.all(keyless.slice(0, 290).map(({ closed }) => closed));
    expect(keyless.slice(290).map(({ socket }) => socket.closed)).toEqual(Array(10).fill(false));
    friend.socket.write(ask('/stream'));
    await says(friend, 'begun');
    const other = await open(app, ask('/'));
    await says(other, 'here');
    expect(log().trim().split('\n')).toHaveLength(1);
    expect(log()).toContain('"most":100');
  });

  it('those of one key leave room for other keys, also where all wait for more of their bodies', async () => {
    const { app } = await serve({ most: 8, mostWithoutKey: 2, mostOfKey: 6 });
    const half = (shown: string) =>
      open(app, `POST / HTTP/1.1\r\nhost: here\r\nx-api-key: ${shown}\r\ncontent-length: 100\r\n\r\n{`);
    for (let number = 0; number < 12; number += 1) await half('right');
    const refused = await half('right');
    await says(refused, 'Too many connections with this key');
    const other = await open(app, ask('/', 'x-api-key: right too\r\n'));
    await says(other, 'here');
  });

  it('an idle one of a key that has too many makes room for its next', async () => {
    const { app } = await serve({ most: 8, mostWithoutKey: 4, mostOfKey: 2 });
    const first = await open(app, ask('/'));
    await says(first, 'here');
    const stream = await open(app, ask('/stream'));
    await says(stream, 'begun');
    const third = await open(app, ask('/'));
    await says(third, 'here');
    await first.closed;
    expect([stream.socket.closed, third.socket.closed]).toEqual([false, false]);
  });

  it('one that had no room for its key has none for its next request either', async () => {
    const { app } = await serve({ most: 8, mostWithoutKey: 4, mostOfKey: 1 });
    await says(await open(app, ask('/stream')), 'begun');
    const second = await open(app, ask('/'));
    await says(second, 'Too many connections with this key');
    second.socket.write(ask('/'));
    await vi.waitFor(() => expect(second.said()).toMatch(/Too many.*Too many/s));
    expect(second.said()).not.toContain('here');
  });

  it('then idle ones are closed, the longest idle first; one that is being answered stays', async () => {
    const { app } = await serve({ most: 4, mostWithoutKey: 2 });
    const stream = await open(app, ask('/stream'));
    await says(stream, 'begun');
    const idle: Connected[] = [];
    for (let count = 0; count < 3; count += 1) {
      const connection = await open(app, ask('/'));
      await says(connection, 'here');
      idle.push(connection);
    }
    // The first asked again, so the second has been idle for longest.
    idle[0]?.socket.write(ask('/stream'));
    await says(idle[0] as Connected, 'begun');
    const next = await open(app, ask('/stream'));
    await idle[1]?.closed;
    await says(next, 'begun');
    const last = await open(app, ask('/stream'));
    await idle[2]?.closed;
    await says(last, 'begun');
    const refused = await open(app, ask('/'));
    await refused.closed;
    expect(refused.said()).toMatch(/^HTTP\/1\.1 503 [\s\S]*retry-after: 5\r\n[\s\S]*Too many connections/);
    expect([stream, idle[0], next, last].map((connection) => connection?.socket.closed)).toEqual(
      Array(4).fill(false),
    );
    expect(await app.inject({ url: '/', headers: { 'x-api-key': 'right' } })).toMatchObject({
      statusCode: 200,
    });
  });

  it('a wrong key counts as none', async () => {
    const { app } = await serve({ most: 100, mostWithoutKey: 2 });
    const wrong = await open(app, ask('/', 'x-api-key: wrong\r\n'));
    await says(wrong, 'No key was sent');
    await open(app);
    await open(app);
    await wrong.closed;
  });

  it('a flood of connections without a key leaves a busy client alone', async () => {
    const { app } = await serve({ most: 100, mostWithoutKey: 10 });
    const { port } = app.server.address() as AddressInfo;
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    onTestFinished(() => agent.destroy());
    const get = () =>
      new Promise<number | undefined>((resolve, reject) => {
        const headers = { 'x-api-key': 'right' };
        request({ port, path: '/', agent, headers }, (answer) => {
          answer.resume().once('end', () => resolve(answer.statusCode));
        })
          .on('error', reject)
          .end();
      });
    expect(await get()).toBe(200);
    for (let count = 0; count < 100; count += 1) {
      await open(app);
      expect(await get()).toBe(200);
    }
  });
});

it('a connection that waits for its next request keeps nothing of the last', async () => {
  const { app, requests } = await serve({});
  const text = `POST / HTTP/1.1\r\nhost: here\r\n${key}content-length: 2\r\n\r\n{}`;
  const connections = await Promise.all(Array.from({ length: 8 }, () => open(app, text)));
  await Promise.all(connections.map((connection) => says(connection, 'taken')));
  await requests.gone(8);
  expect(connections.map(({ socket }) => socket.closed)).toEqual(Array(8).fill(false));
});

describe('a connection is cut', () => {
  it.each([
    ['sends nothing', '', false],
    ['sends its headers one by one', 'GET / HTTP/1.1\r\n', true],
  ])('whose client %s', async (_name, text, goesOn) => {
    const { app } = await serve({ headersMs: 300 });
    const connection = await open(app, text);
    const timer = setInterval(() => goesOn && connection.socket.write('x: y\r\n'), 20);
    await connection.closed;
    clearInterval(timer);
    expect(connection.said()).toMatch(/^HTTP\/1\.1 408 [\s\S]*did not arrive in time/);
  });

  it('whose body hardly grows, while one that does is taken', async () => {
    const { app, look } = await serveWithLooks(400);
    const head = `POST / HTTP/1.1\r\nhost: here\r\n${key}content-length: 5000\r\n\r\n`;
    const trickle = await open(app, head);
    const flow = await open(app, head);
    for (let sent = 1_000; sent <= 5_000; sent += 1_000) {
      trickle.socket.write(' ');
      await look(flow, sent === 5_000);
    }
    await trickle.closed;
    expect(trickle.said()).toMatch(/^HTTP\/1\.1 408 /);
    await says(flow, 'HTTP/1.1 200 OK');
    // Of a body that grows nothing else bounds the time: at 3 KB a second, two megabytes take ten minutes.
    expect(app.server.requestTimeout).toBe(0);
  });

  it('not where it is a quiet WebSocket, whatever its handshake said of a body', async () => {
    const { app } = await serve({ lookEveryMs: 50 });
    const handshake = 'sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
    const upgrade = `connection: upgrade\r\nupgrade: websocket\r\n${handshake}content-length: 9\r\n`;
    const quiet = await open(app, ask('/socket', key + upgrade));
    await says(quiet, '101 Switching Protocols');
    const trickle = await open(app, `POST / HTTP/1.1\r\nhost: here\r\n${key}content-length: 9\r\n\r\n`);
    await trickle.closed;
    expect(quiet.socket.closed).toBe(false);
    expect(quiet.said()).not.toContain('408');
  });

  it('no sooner where the service listens on two addresses of one name', async () => {
    const lookup = dns.lookup as (name: string, options: dns.LookupAllOptions, done: unknown) => void;
    vi.spyOn(dns, 'lookup').mockImplementation(((
      name: string,
      options: dns.LookupAllOptions,
      done: unknown,
    ) => {
      if (name !== 'localhost' || !options.all || typeof done !== 'function')
        return lookup(name, options, done);
      done(
        null,
        ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 })),
      );
    }) as typeof dns.lookup);
    onTestFinished(() => void vi.restoreAllMocks());
    const { app, look } = await serveWithLooks(1_000, 'localhost');
    expect(app.addresses()).toHaveLength(2);
    const head = `POST / HTTP/1.1\r\nhost: here\r\n${key}content-length: 5000\r\n\r\n`;
    const stuck = await open(app, head, '127.0.0.2');
    const flow = await open(app, head);
    for (let sent = 1_000; sent <= 5_000; sent += 1_000) await look(flow, sent === 5_000);
    await says(flow, 'taken');
    await says(stuck, 'HTTP/1.1 408 ');
  });

  it('whose client does not take its answer, while one that waits for a late answer is kept', async () => {
    const { app, slow } = await serve({ silentMs: 500 });
    const waiting = await open(app, ask('/slow'));
    const deaf = await open(app);
    deaf.socket.pause();
    deaf.socket.write(ask('/large', ''));
    await vi.waitFor(async () => expect(await count(app)).toBe(1));
    deaf.socket.resume();
    await deaf.closed;
    expect(deaf.said().length).toBeLessThan(20_000_000);
    slow.resolve('late');
    await says(waiting, 'late');
  });
});
