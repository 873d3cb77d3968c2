import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { isSurelyUnsent } from '../lib/network/transport-errors.ts';
import { testHttp, testHttpAt } from './testing/test-http.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function urlOf(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const http = testHttp;
const ask = (url: string, timeoutMs = 5_000) => http({ method: 'GET', url, headers: {}, timeoutMs });

it('hands over status, headers and the whole body', async () => {
  const url = await urlOf((_request, response) => response.writeHead(418, { 'x-kind': 'tea' }).end('short'));
  const answer = await ask(url);
  expect(answer.status).toBe(418);
  expect(answer.headers['x-kind']).toBe('tea');
  expect(Buffer.from(answer.body).toString()).toBe('short');
});

it('gives up on a body above 4 MiB', async () => {
  const url = await urlOf((_request, response) => response.end(Buffer.alloc(5 * 1024 * 1024)));
  await expect(ask(url)).rejects.toMatchObject({ code: 'upstream_protocol' });
});

it('gives up on an answer that does not come', async () => {
  let isOver = (): void => {};
  // Before it has come to the server, it would be another fault.
  const url = await urlOf(() => isOver());
  const slow = testHttpAt({
    after(_delayMs, task) {
      isOver = task;
      return () => {};
    },
  });
  const asked = slow({ method: 'GET', url, headers: {}, timeoutMs: 5_000 });
  await expect(asked).rejects.toMatchObject({ code: 'upstream_timeout' });
});

it('takes an answer that came while this process paused for longer than its limit', async () => {
  const pause = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  let isOver = (): void => {};
  const url = await urlOf((_request, response) => {
    response.end('there');
    // Timers that are due have their turn before what has arrived.
    setTimeout(() => isOver(), 1);
    pause(20);
  });
  const paused = testHttpAt({
    after(_delayMs, task) {
      isOver = task;
      return () => {};
    },
  });
  const answer = await paused({ method: 'GET', url, headers: {}, timeoutMs: 5_000 });
  expect(Buffer.from(answer.body).toString()).toBe('there');
});

it('says when nobody is there', async () => {
  await expect(ask('http://127.0.0.1:1/')).rejects.toMatchObject({ code: 'upstream_unavailable' });
});

it('knows that nothing was sent when the time limit ends before there is a connection', async () => {
  const hanging = createTcpServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => hanging.listen(0, '127.0.0.1', resolve));
  const { port } = hanging.address() as AddressInfo;
  // A handshake that never ends.
  const error = await ask(`https://127.0.0.1:${port}/`, 200).catch((thrown: unknown) => thrown);
  hanging.close();
  expect(error).toMatchObject({ code: 'upstream_unavailable', fault: 'network' });
  expect(isSurelyUnsent(error)).toBe(true);
});
