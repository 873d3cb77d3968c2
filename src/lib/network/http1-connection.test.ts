import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setTimeout as delay, setImmediate as nextRound } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createManualClock, type ManualClock } from '../../gateway/testing/manual-clock.ts';
import { PendingRequest } from './exchange.ts';
import { Http1Connection } from './http1-connection.ts';
import { createNetwork, type Network } from './network.ts';
import { noProxies } from './proxy-rules.ts';
import { send } from './testing/send.ts';
import { isConnectionLoss, isSurelyUnsent } from './transport-errors.ts';

let clock: ManualClock;
let network: Network;
let server: Server;
let sockets: Socket[];
let requests: string[];
/** What the server does when the bytes of a request have come. */
let answer: (socket: Socket) => void;
let url: string;

const whole = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole';

beforeEach(async () => {
  clock = createManualClock();
  network = createNetwork({ proxies: noProxies, clock, userAgent: 'warp2api/test' });
  sockets = [];
  requests = [];
  answer = (socket) => void socket.write(whole);
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      requests.push(bytes.toString('latin1'));
      answer(socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/turn`;
});
afterEach(async () => {
  network.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

async function ask(options: Parameters<typeof send>[2] = {}) {
  const sent = send(network.dispatcher, url, options);
  const error = await sent.ended;
  return { error, body: sent.body(), ends: sent.ends() };
}
const good = { error: undefined, body: 'whole', ends: 1 };
/** Some time and, in case a busy machine gave it to others, rounds of the event loop, which read what has arrived. */
async function turn(): Promise<void> {
  await delay(20);
  for (let round = 0; round < 20; round += 1) await nextRound();
}

it('sends a request in one piece, with its own word about the connection', async () => {
  const headers = { Accept: 'x', Connection: 'close', 'content-length': '99', te: 'trailers' };
  expect(await ask({ method: 'POST', headers, body: 'héllo' })).toEqual(good);
  const host = new URL(url).host;
  expect(requests).toEqual([
    `POST /turn HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\nAccept: x\r\ncontent-length: 6\r\n\r\nh\u00c3\u00a9llo`,
  ]);
  expect(await ask()).toEqual(good);
  expect(requests[1]).toBe(`GET /turn HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n\r\n`);
  expect(sockets.length).toBe(1);
});

it.each([
  [{ headers: { 'x-key': 'a\r\nx-other: b' } }],
  [{ headers: { 'x key': 'a' } }],
  [{ headers: { authorization: 'Bearer \u2026' } }],
  [{ path: '/a b' }],
  [{ path: '/a HTTP/1.1\r\nx: y' }],
])('does not send what would be another request: %j', async (options) => {
  const { error, ends } = await ask(options);
  expect([error, ends, requests]).toEqual([expect.any(TypeError), 1, []]);
  expect(await ask()).toEqual(good);
});

it('takes nothing for an answer that came before it asked', async () => {
  answer = (socket) => {
    socket.write(whole);
    setImmediate(() => socket.write(whole.replace('whole', 'wrong')));
  };
  expect(await ask()).toEqual(good);
  await turn();
  answer = (socket) => void socket.write(whole);
  expect(await ask({ method: 'POST', body: 'turn', mayResend: true })).toEqual(good);
  expect(sockets.length).toBe(2);
  // In the same read as the answer before.
  answer = (socket) => void socket.write(whole + whole.replace('whole', 'wrong'));
  expect(await ask()).toEqual(good);
  expect(await ask()).toEqual(good);
  expect(sockets.length).toBe(3);
});

it('does not use a connection again that the other side will close, or says it keeps for too short', async () => {
  for (const header of ['connection: close', 'keep-alive: timeout=2']) {
    answer = (socket) => void socket.write(whole.replace('\r\n', `\r\n${header}\r\n`));
    expect([await ask(), await ask()]).toEqual([good, good]);
  }
  expect(sockets.length).toBe(4);
});

it('closes a connection that nothing has used for half a minute, or as long as the other side keeps it', async () => {
  expect(await ask()).toEqual(good);
  await clock.advance(20_000);
  expect(await ask()).toEqual(good);
  await clock.advance(20_000);
  expect(await ask()).toEqual(good);
  expect(sockets.length).toBe(1);
  await clock.advance(31_000);
  answer = (socket) => void socket.write(whole.replace('\r\n', '\r\nKeep-Alive: timeout=5, max=9\r\n'));
  expect(await ask()).toEqual(good);
  expect(sockets.length).toBe(2);
  await clock.advance(3_100);
  expect(await ask()).toEqual(good);
  expect(sockets.length).toBe(3);
});

it('keeps a connection for less time once the other side says so', async () => {
  expect(await ask()).toEqual(good);
  answer = (socket) => void socket.write(whole.replace('\r\n', '\r\nkeep-alive: timeout=5\r\n'));
  expect(await ask()).toEqual(good);
  await clock.advance(3_100);
  expect(await ask()).toEqual(good);
  expect(sockets.length).toBe(2);
});

it('takes an answer that comes before the request was read, and does not use its connection again', async () => {
  const early = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.pause();
    socket.write(whole);
  });
  await new Promise<void>((resolve) => early.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(early.address() as AddressInfo).port}/`;
  const body = Buffer.alloc(30 * 1024 * 1024);
  expect(await ask({ method: 'POST', body })).toEqual(good);
  expect(await ask({ method: 'POST', body })).toEqual(good);
  expect(sockets.length).toBe(2);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => early.close(resolve));
});

it('makes an error of an answer that is none, and of one that is cut, and of either just one', async () => {
  for (const text of ['garbage\r\n\r\n', `${whole.slice(0, -1)}`]) {
    answer = (socket) => void socket.end(text);
    expect(await ask({ method: 'POST', body: 'turn', mayResend: true })).toMatchObject({
      error: expect.any(Error),
      ends: 1,
    });
  }
  expect(requests.length).toBe(2);
});

it.each(['EHOSTUNREACH', 'ENETDOWN', 'ECONNRESET'])(
  'does not take a request for unsent whose connection breaks with %s',
  async (code) => {
    const written: string[] = [];
    const stream = new Duplex({
      read() {},
      write(chunk, _encoding, done) {
        written.push(String(chunk));
        done();
      },
    });
    const socket = Object.assign(stream, { ref() {}, unref() {} }) as unknown as Socket;
    const connection = new Http1Connection(socket, {
      origin: new URL(url),
      isKept: true,
      clock,
      serial: 1,
      pool: { changed() {}, closed() {} },
      forwardProxy: undefined,
    });
    const error = await new Promise<Error>((resolve) => {
      const request = new PendingRequest(
        { origin: url, path: '/', method: 'POST', body: 'turn' },
        { onResponseError: (_controller, given) => resolve(given) },
        clock.monotonic,
      );
      connection.send(request);
      socket.destroy(Object.assign(new Error('read'), { code }));
    });
    expect(written.length).toBe(1);
    expect([isSurelyUnsent(error), isConnectionLoss(error)]).toEqual([false, true]);
  },
);
