import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import { expect, it, onTestFinished } from 'vitest';
import { createManualClock } from '../../gateway/testing/manual-clock.ts';
import { systemClock } from '../clock.ts';
import { PendingRequest } from './exchange.ts';
import { OriginPool } from './network.ts';
import { makeCertificate } from './testing/certificate.ts';

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

const settings = '000000040000000000';
const head = '00000101040000000188';
const wholeAnswer = '00000101050000000188';
const goAway = '0000080700000000000000000100000000';

/** Answers the first request of each connection with these frames, and ends none, whatever the other side does. */
async function startHalfOpenH2(answer: string) {
  const certificate = await makeCertificate();
  const server = createTlsServer({ ...certificate, ALPNProtocols: ['h2'], allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.write(Buffer.from(settings, 'hex'));
    let read = Buffer.alloc(0);
    const listen = (bytes: Buffer): void => {
      read = Buffer.concat([read, bytes]);
      for (let at = 24; at + 9 <= read.length; at += 9 + read.readUIntBE(at, 3)) {
        if (read[at + 3] !== 1) continue;
        socket.off('data', listen);
        socket.resume();
        socket.write(Buffer.from(answer, 'hex'));
        return;
      }
    };
    socket.on('data', listen);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const sockets: Socket[] = [];
  const connector = {
    async open() {
      const socket = tlsConnect({ port, host: '127.0.0.1', ca: certificate.cert, ALPNProtocols: ['h2'] });
      onTestFinished(() => void socket.destroy());
      sockets.push(socket);
      await once(socket, 'secureConnect');
      return socket;
    },
    forwardProxy: () => undefined,
    probeProxy: async () => {},
  };
  return { origin: new URL(`https://127.0.0.1:${port}`), connector, sockets };
}

function ask(pool: OriginPool, signal?: AbortSignal) {
  const answered = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  let abort = (_reason: Error): void => {};
  const handler = {
    onRequestStart: (controller: { abort(reason: Error): void }) => {
      abort = (reason) => controller.abort(reason);
    },
    onResponseStart: () => answered.resolve(),
    onResponseEnd: () => ended.resolve(),
    onResponseError: () => ended.resolve(),
  };
  const options = { path: '/', method: 'GET' as const, ...(signal && { signal }) };
  pool.take(new PendingRequest(options, handler, () => 0));
  return { answered: answered.promise, ended: ended.promise, abort: (reason: Error) => abort(reason) };
}

it('leaves no connection half open to a server that keeps its half, where each is for one request', async () => {
  const common = { clock: systemClock, isKept: false, connectTimeoutMs: 10_000 };
  const whole = await startHalfOpenH2(wholeAnswer);
  const pool = new OriginPool({ ...common, ...whole });
  await ask(pool).ended;
  const [answered] = whole.sockets;
  if (answered?.destroyed === false) await once(answered, 'close');

  const part = await startHalfOpenH2(head);
  const other = new OriginPool({ ...common, ...part });
  const asked = ask(other);
  await asked.answered;
  asked.abort(new Error('enough'));
  await asked.ended;
  const [aborted] = part.sockets;
  if (aborted?.destroyed === false) await once(aborted, 'close');

  const leaving = new AbortController();
  const left = ask(other, leaving.signal);
  leaving.abort(new Error('gone'));
  await left.ended;
  const unused = part.sockets[1] as Socket;
  if (!unused.destroyed) await once(unused, 'close');
});

it.each([wholeAnswer, `${wholeAnswer}${goAway}`])(
  'ends a kept connection that nothing uses, though the other side keeps its half (%s)',
  async (answer) => {
    const clock = createManualClock();
    const h2 = await startHalfOpenH2(answer);
    const pool = new OriginPool({ ...h2, clock, isKept: true, connectTimeoutMs: 10_000 });
    await ask(pool).ended;
    const socket = h2.sockets[0] as Socket;
    const closed = once(socket, 'close');
    for (let ticks = 0; ticks < 14; ticks += 1) await clock.advance(5_000);
    await closed;
  },
);
