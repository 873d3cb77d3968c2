import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../clock.ts';
import { PendingRequest } from './exchange.ts';
import { OriginPool } from './origin-pool.ts';

it('gives no request to a connection that is closing, be it a fresh one for which no request had waited', async () => {
  const held: ServerResponse[] = [];
  const server = createServer((_request, response) => held.push(response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const sockets: Socket[] = [];
  const opened: PromiseWithResolvers<void>[] = [];
  const pool = new OriginPool({
    origin: new URL(`http://127.0.0.1:${port}`),
    clock: systemClock,
    maxStreams: 10,
    isKept: true,
    connectTimeoutMs: 10_000,
    connector: {
      async open() {
        const socket = connect(port, '127.0.0.1');
        const isOpen = Promise.withResolvers<void>();
        sockets.push(socket);
        opened.push(isOpen);
        await Promise.all([once(socket, 'connect'), isOpen.promise]);
        return socket;
      },
      forwardProxy: () => undefined,
      probeProxy: async () => {},
    },
  });
  onTestFinished(() => {
    pool.destroy(new Error('the test is over'));
    server.close();
    server.closeAllConnections();
  });
  const ask = (): Promise<number> => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    let status = 0;
    const handler = {
      onResponseStart: (_controller: unknown, code: number) => {
        status = code;
      },
      onResponseEnd: () => resolve(status),
      onResponseError: (_controller: unknown, error: Error) => reject(error),
    };
    pool.take(new PendingRequest({ path: '/', method: 'POST', body: 'x' }, handler, () => 0));
    return promise;
  };
  const answer = async (): Promise<void> => {
    while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
    held.shift()?.end('ok');
  };

  const first = ask();
  opened[0]?.resolve();
  const second = ask();
  // The second waits for a connection of its own, and gets that of the first.
  await answer();
  await answer();
  expect([await first, await second, sockets.length]).toEqual([200, 200, 2]);
  opened[1]?.resolve();
  let isClosed = false;
  sockets[1]?.once('close', () => {
    isClosed = true;
  });
  while (sockets[1]?.destroyed === false) await Promise.resolve();
  expect(isClosed).toBe(false);
  expect((await Promise.all([ask(), answer()]))[0]).toBe(200);
});
