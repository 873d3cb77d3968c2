import { createServer, type RequestListener, type Server } from 'node:http';
import { constants, type ServerHttp2Stream } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, createServer as createSocketServer } from 'node:net';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { createManualClock, type ManualClock } from '../../gateway/testing/manual-clock.ts';
import { createNetwork, type Network } from './network.ts';
import { noProxies } from './proxy-rules.ts';
import { type Certificate, makeCertificate, trust } from './testing/certificate.ts';
import { type H2Call, type H2Server, startH2Server } from './testing/h2-server.ts';
import { send } from './testing/send.ts';
import { ConnectionLostError, StreamResetError, UnsentError } from './transport-errors.ts';

let certificate: Certificate;
let clock: ManualClock;
let network: Network;
let h2: H2Server;
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  certificate = await makeCertificate();
  return trust(certificate);
});
beforeEach(async () => {
  clock = createManualClock();
  network = createNetwork({ proxies: noProxies, clock, userAgent: 'warp2api/test' });
  h2 = await startH2Server(certificate);
});
afterEach(async () => {
  network.close();
  await h2.close();
  for (const close of closers.splice(0)) await close();
});

async function serve(server: Server): Promise<string> {
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}
const plain = async (listener: RequestListener) => `http://${await serve(createServer(listener))}`;
const secure = async (listener: RequestListener) =>
  `https://${await serve(createHttpsServer(certificate, listener))}`;

function begin({ stream }: H2Call, text = 'begun'): void {
  stream.respond({ ':status': 200, 'content-type': 'text/plain' });
  stream.write(text);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

it('speaks HTTP/2 where the origin does, with the headers and the body it was given', async () => {
  const body = Buffer.from('a question');
  const headers = { Accept: 'text/plain', connection: 'keep-alive', Host: 'elsewhere' };
  const sent = send(network.dispatcher, `${h2.url}/turn?a=b`, { method: 'POST', headers, body });
  expect(await sent.ended).toBeUndefined();
  expect(sent).toMatchObject({ status: expect.any(Function) });
  expect([sent.status(), sent.body(), sent.ends()]).toEqual([200, 'whole', 1]);
  const [call] = h2.calls;
  expect(call?.headers).toMatchObject({
    ':path': '/turn?a=b',
    ':method': 'POST',
    ':authority': new URL(h2.url).host,
    accept: 'text/plain',
    'content-length': '10',
  });
  expect(call?.headers).not.toHaveProperty('connection');
  expect(call?.body).toEqual(body);
  expect(h2.sessions[0]?.alpnProtocol).toBe('h2');
});

it('offers h2 before http/1.1', async () => {
  let offered: readonly string[] = [];
  const server = createHttpsServer(
    {
      ...certificate,
      ALPNCallback: ({ protocols }) => {
        offered = protocols;
        return 'http/1.1';
      },
    },
    (_request, response) => response.end('one'),
  );
  const sent = send(network.dispatcher, `https://${await serve(server)}/`);
  expect(await sent.ended).toBeUndefined();
  expect([sent.body(), offered]).toEqual(['one', ['h2', 'http/1.1']]);
});

it('speaks http/1.1 over TLS and in the clear, and keeps those connections', async () => {
  const ports = new Set<number>();
  const listener: RequestListener = (request, response) => {
    ports.add(request.socket.remotePort ?? 0);
    response.end('one');
  };
  for (const url of [await secure(listener), await plain(listener)]) {
    ports.clear();
    for (let turn = 0; turn < 3; turn += 1) {
      const sent = send(network.dispatcher, `${url}/`);
      expect([await sent.ended, sent.body()]).toEqual([undefined, 'one']);
    }
    expect(ports.size).toBe(1);
  }
});

it('fails a request that needs HTTP/2 where the origin has another version, and names that', async () => {
  const url = await secure((_request, response) => response.end('one'));
  const sent = send(network.dispatcher, `${url}/`, { needsHttp2: true });
  const error = await sent.ended;
  expect(error).toBeInstanceOf(UnsentError);
  expect(error?.message).toMatch(/negotiated http\/1\.1.*HTTP\/2/);
  expect(sent.starts()).toBe(0);
  expect(await network.probe(new URL(url))).toEqual({ protocol: 'http/1.1', proxy: undefined });
  expect(await network.probe(new URL(h2.url))).toMatchObject({ protocol: 'h2' });
});

it('spreads streams over sessions of ten, or of as many as the other side allows', async () => {
  h2.answer = (call) => begin(call);
  const running = Array.from({ length: 25 }, () => send(network.dispatcher, `${h2.url}/`));
  await until(() => running.every((one) => one.body() === 'begun'));
  expect(h2.sessions.length).toBe(3);
  for (const { stream } of h2.calls) stream.end();
  expect(await Promise.all(running.map(({ ended }) => ended))).toEqual(running.map(() => undefined));

  const small = await startH2Server(certificate, { settings: { maxConcurrentStreams: 2 } });
  closers.push(() => small.close());
  small.answer = (call) => begin(call);
  const few = Array.from({ length: 5 }, () => send(network.dispatcher, `${small.url}/`));
  await until(() => few.every((one) => one.body() === 'begun'));
  expect(small.sessions.length).toBeGreaterThanOrEqual(3);
  for (const { stream } of small.calls) stream.end();
  await Promise.all(few.map(({ ended }) => ended));
});

it('makes an error of a stream that is reset in mid-body, and touches no other', async () => {
  h2.answer = (call) => begin(call);
  const one = send(network.dispatcher, `${h2.url}/`);
  const other = send(network.dispatcher, `${h2.url}/`);
  await until(() => one.body() === 'begun' && other.body() === 'begun');
  h2.calls[0]?.stream.destroy(new Error('a fault of the server'));
  h2.calls[1]?.stream.end(' and ended');
  const errors = await Promise.all([one.ended, other.ended]);
  expect(errors).toEqual([expect.any(StreamResetError), undefined]);
  expect(errors[0]).toMatchObject({ code: 'NGHTTP2_INTERNAL_ERROR' });
  expect([one.ends(), other.ends(), other.body()]).toEqual([1, 1, 'begun and ended']);
});

it('makes an error of a stream that is reset without an error in mid-body', async () => {
  h2.answer = (call) => begin(call);
  const sent = send(network.dispatcher, `${h2.url}/`);
  await until(() => sent.body() === 'begun');
  // A destroyed stream sends RST_STREAM with NO_ERROR, which node:http2 shows as an end like any other.
  h2.calls[0]?.stream.destroy();
  expect(await sent.ended).toBeInstanceOf(StreamResetError);
  expect(sent.ends()).toBe(1);
});

it('does not believe a stream to be refused that was begun to be answered', async () => {
  h2.answer = (call) => begin(call);
  const sent = send(network.dispatcher, `${h2.url}/`, { method: 'POST', body: 'turn' });
  await until(() => sent.body() === 'begun');
  for (const { stream } of h2.calls) {
    // Node would end the body before it resets the stream.
    stream.end = () => stream;
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
  }
  expect(await sent.ended).toBeInstanceOf(StreamResetError);
  expect(h2.calls.length).toBe(1);
});

it('costs only its own streams when a session is destroyed', async () => {
  h2.answer = (call) => begin(call);
  const running = Array.from({ length: 20 }, () => send(network.dispatcher, `${h2.url}/`));
  await until(() => running.every((one) => one.body() === 'begun'));
  const [doomed] = h2.sessions;
  const hit = h2.calls.filter(({ stream }) => stream.session === doomed).length;
  doomed?.destroy();
  await until(() => running.filter((one) => one.ends() > 0).length >= hit);
  for (const { stream } of h2.calls) if (!stream.destroyed) stream.end(' and ended');
  const errors = await Promise.all(running.map(({ ended }) => ended));
  expect(hit).toBe(10);
  expect(errors.filter(isBroken).length).toBe(hit);
  expect(errors.filter((error) => error === undefined).length).toBe(20 - hit);
  expect(running.every((one) => one.ends() === 1)).toBe(true);
});

it('gives every stream one end and none a short one while sessions are destroyed at random', async () => {
  const whole = 'x'.repeat(2_000);
  h2.answer = ({ stream }) => {
    stream.respond({ ':status': 200 });
    let parts = 0;
    const more = (): void => {
      if (stream.destroyed) return;
      parts += 1;
      if (parts === 20) stream.end(whole.slice(0, 100));
      else stream.write(whole.slice(0, 100), () => setImmediate(more));
    };
    more();
  };
  let next = 42;
  const random = (): number => {
    next = (next * 1_103_515_245 + 12_345) % 2 ** 31;
    return next / 2 ** 31;
  };
  const running = Array.from({ length: 200 }, () => send(network.dispatcher, `${h2.url}/`));
  const destroyed = new Set<unknown>();
  await until(() => h2.calls.length > 100);
  for (let round = 0; round < 8; round += 1) {
    const session = h2.sessions[Math.floor(random() * h2.sessions.length)];
    session?.destroy();
    destroyed.add(session);
    for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
  const errors = await Promise.all(running.map(({ ended }) => ended));
  expect(running.every((one) => one.ends() === 1)).toBe(true);
  const good = running.filter((_one, index) => errors[index] === undefined);
  expect(good.every((one) => one.body() === whole)).toBe(true);
  expect(good.length).toBeGreaterThan(80);
  expect(good.length).toBeLessThan(200);
  for (const error of errors) if (error) expect(isBroken(error)).toBe(true);
});

it('lets streams that a GOAWAY names go on, and takes a new session for the next', async () => {
  h2.answer = (call) => begin(call);
  const first = send(network.dispatcher, `${h2.url}/`);
  await until(() => first.body() === 'begun');
  h2.sessions[0]?.close();
  const second = send(network.dispatcher, `${h2.url}/`);
  await until(() => second.body() === 'begun');
  h2.calls[0]?.stream.end(' and ended');
  h2.calls[1]?.stream.end(' too');
  expect([await first.ended, first.body()]).toEqual([undefined, 'begun and ended']);
  expect([await second.ended, second.body()]).toEqual([undefined, 'begun too']);
  expect(h2.sessions.length).toBe(2);
});

it('sends a refused stream again on another session, also a POST, and gives up on a peer that refuses all', async () => {
  h2.server.removeAllListeners('stream');
  let refusals = 1;
  h2.server.on('stream', (given) => {
    const stream = given as ServerHttp2Stream;
    stream.on('error', () => {});
    if (refusals > 0) {
      refusals -= 1;
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return;
    }
    stream.respond({ ':status': 200 });
    stream.end('taken');
  });
  const sent = send(network.dispatcher, `${h2.url}/`, { method: 'POST', body: 'turn' });
  expect([await sent.ended, sent.body(), sent.ends()]).toEqual([undefined, 'taken', 1]);
  expect(h2.sessions.length).toBe(2);
  refusals = 1_000;
  const refused = send(network.dispatcher, `${h2.url}/`, { method: 'POST', body: 'turn' });
  expect(await refused.ended).toMatchObject({ name: 'UnsentError', phase: 'refused' });
  expect(1_000 - refusals).toBeLessThan(6);
});

it('sends streams above the last one of a GOAWAY again, whatever code it has', async () => {
  h2.answer = (call) => begin(call);
  const first = send(network.dispatcher, `${h2.url}/`);
  await until(() => first.body() === 'begun');
  const [session] = h2.sessions;
  // Not answered: its GOAWAY will name the first stream as the last one.
  h2.answer = () => session?.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 1);
  const second = send(network.dispatcher, `${h2.url}/`, { method: 'POST', body: 'turn' });
  await until(() => h2.calls.length === 2);
  h2.answer = ({ stream }) => {
    stream.respond({ ':status': 200 });
    stream.end('again');
  };
  expect([await second.ended, second.body()]).toEqual([undefined, 'again']);
  expect(await first.ended).toBeInstanceOf(ConnectionLostError);
});

it('finds a peer that no longer answers within 40 seconds, and lets one that is only slow be', async () => {
  h2.answer = (call) => begin(call);
  const relay = await startRelay(h2.port);
  const sent = send(network.dispatcher, `https://127.0.0.1:${relay.port}/`);
  await until(() => sent.body() === 'begun');
  for (let ticks = 0; ticks < 20; ticks += 1) {
    const pings = relay.passed();
    await clock.advance(5_000);
    if (ticks % 4 === 3) await until(() => relay.passed() > pings);
  }
  await clock.advance(0);
  expect(sent.ends()).toBe(0);
  relay.stop();
  for (let ticks = 0; ticks < 8; ticks += 1) await clock.advance(5_000);
  expect(await sent.ended).toBeInstanceOf(ConnectionLostError);
  expect(sent.ends()).toBe(1);
});

it('pings immediately when an idle session is used again', async () => {
  const relay = await startRelay(h2.port);
  expect(await send(network.dispatcher, `https://127.0.0.1:${relay.port}/`).ended).toBeUndefined();
  await clock.advance(30_000);
  relay.stop();
  const sent = send(network.dispatcher, `https://127.0.0.1:${relay.port}/`);
  await clock.advance(15_000);
  expect(await sent.ended).toBeInstanceOf(ConnectionLostError);
});

it('closes a session that nothing uses for a minute', async () => {
  expect(await send(network.dispatcher, `${h2.url}/`).ended).toBeUndefined();
  await clock.advance(50_000);
  expect(h2.sessions[0]?.closed).toBe(false);
  await clock.advance(20_000);
  await until(() => h2.sessions[0]?.destroyed === true);
  expect(clock.waiting).toBe(0);
});

it('ends only the stream that is aborted', async () => {
  h2.answer = (call) => begin(call);
  const one = send(network.dispatcher, `${h2.url}/`);
  const other = send(network.dispatcher, `${h2.url}/`);
  await until(() => one.body() === 'begun' && other.body() === 'begun');
  const reason = new Error('the client left');
  one.controller()?.abort(reason);
  expect(await one.ended).toBe(reason);
  await until(() => h2.calls[0]?.stream.destroyed === true);
  expect(h2.calls[0]?.stream.rstCode).toBe(constants.NGHTTP2_CANCEL);
  h2.calls[1]?.stream.end(' and ended');
  expect([await other.ended, other.body(), h2.sessions.length]).toEqual([undefined, 'begun and ended', 1]);
});

it('stops the other side while the reader is behind, and loses nothing', async () => {
  const size = 5 * 1024 * 1024;
  let written = 0;
  h2.answer = ({ stream }) => {
    stream.respond({ ':status': 200 });
    const pump = (): void => {
      while (written < size && stream.write(Buffer.alloc(16_384), noteWritten)) written += 16_384;
      if (written < size) stream.once('drain', pump);
      else stream.end();
    };
    pump();
  };
  let arrived = 0;
  let isPaused = false;
  const sent = send(network.dispatcher, `${h2.url}/`, {}, (chunk) => {
    arrived += chunk.length;
    if (isPaused) return;
    isPaused = true;
    sent.controller()?.pause();
  });
  await until(() => isPaused);
  let before = -1;
  while (before !== written) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(written).toBeLessThan(1024 * 1024);
  expect(arrived).toBeLessThan(100_000);
  sent.controller()?.resume();
  expect(await sent.ended).toBeUndefined();
  expect(arrived).toBeGreaterThanOrEqual(size);
});

it('passes early hints by, over either version', async () => {
  h2.answer = ({ stream }) => {
    stream.additionalHeaders({ ':status': 103, link: '</style.css>; rel=preload' });
    stream.respond({ ':status': 200 });
    stream.end('whole');
  };
  const hinting = await plain((_request, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    response.end('whole');
  });
  for (const url of [h2.url, hinting]) {
    const sent = send(network.dispatcher, `${url}/`);
    expect([await sent.ended, sent.status(), sent.body()]).toEqual([undefined, 200, 'whole']);
  }
});

it('loses the connection to a server that announces its answer without end', async () => {
  h2.answer = ({ stream }) => {
    for (let count = 0; count < 1_000; count += 1) stream.additionalHeaders({ ':status': 103 });
    stream.respond({ ':status': 200 });
    stream.end('late');
  };
  const sent = send(network.dispatcher, h2.url);
  expect(await sent.ended).toBeInstanceOf(ConnectionLostError);
  expect([sent.status(), sent.ends()]).toEqual([undefined, 1]);
  await until(() => h2.sessions.every(({ destroyed }) => destroyed));
});

it('takes an answer that comes before the request was read', async () => {
  h2.server.removeAllListeners('stream');
  h2.server.on('stream', (given) => {
    const stream = given as ServerHttp2Stream;
    stream.on('error', () => {});
    stream.respond({ ':status': 413 });
    stream.end('too large');
  });
  const body = Buffer.alloc(5 * 1024 * 1024);
  const sent = send(network.dispatcher, `${h2.url}/`, { method: 'POST', body });
  expect([await sent.ended, sent.status(), sent.body()]).toEqual([undefined, 413, 'too large']);
});

it('carries bodies of 30 MB, several at a time', async () => {
  h2.answer = ({ stream, body }) => {
    stream.respond({ ':status': 200 });
    stream.end(String(body.length));
  };
  const body = Buffer.alloc(30 * 1024 * 1024, 'x');
  const running = Array.from({ length: 3 }, () =>
    send(network.dispatcher, `${h2.url}/`, { method: 'POST', body }),
  );
  expect(await Promise.all(running.map(({ ended }) => ended))).toEqual([undefined, undefined, undefined]);
  expect(running.map((one) => one.body())).toEqual([1, 2, 3].map(() => String(body.length)));
});

it('sends a turn once more on a fresh connection when the kept one closes as it is used again', async () => {
  for (const kind of ['h1', 'h2'] as const) {
    const server = kind === 'h1' ? await closingServer(plain) : await closingH2();
    expect(await send(network.dispatcher, `${server.url}/`).ended).toBeUndefined();
    server.closeNext(1);
    const sent = send(network.dispatcher, `${server.url}/`, {
      method: 'POST',
      body: 'turn',
      mayResend: true,
    });
    expect([await sent.ended, sent.body(), sent.ends(), server.requests()]).toEqual([
      undefined,
      'whole',
      1,
      3,
    ]);

    // Once, and not where the caller cannot bear a second sending.
    server.closeNext(2);
    const twice = send(network.dispatcher, `${server.url}/`, {
      method: 'POST',
      body: 'turn',
      mayResend: true,
    });
    expect([await twice.ended, server.requests()]).toEqual([expect.any(Error), 5]);
    expect(await send(network.dispatcher, `${server.url}/`).ended).toBeUndefined();
    server.closeNext(1);
    const careful = send(network.dispatcher, `${server.url}/`, { method: 'POST', body: 'turn' });
    expect([await careful.ended, server.requests()]).toEqual([expect.any(Error), 7]);
  }
});

it('takes a fresh connection for that, and none of the others that were kept', async () => {
  const served = new WeakSet<object>();
  let requests = 0;
  const url = await plain((request, response) => {
    requests += 1;
    if (served.has(request.socket)) request.socket.destroy();
    else setImmediate(() => response.end('whole'));
    served.add(request.socket);
  });
  const options = { method: 'POST', body: 'turn', mayResend: true };
  await Promise.all([1, 2, 3].map(() => send(network.dispatcher, `${url}/`, options).ended));
  const sent = send(network.dispatcher, `${url}/`, options);
  expect([await sent.ended, sent.body(), requests]).toEqual([undefined, 'whole', 5]);
});

it('does not send again what a fresh connection broke on, or what has had an answer', async () => {
  const server = await closingServer(plain);
  server.closeNext(1);
  const fresh = send(network.dispatcher, `${server.url}/`, { method: 'POST', body: 'turn', mayResend: true });
  expect([await fresh.ended, server.requests()]).toEqual([expect.any(Error), 1]);
});

it('does not send again what a kept connection has begun to answer, be it with half a head', async () => {
  let requests = 0;
  const server = createSocketServer((socket) => {
    let count = 0;
    socket.on('error', () => {});
    socket.on('data', () => {
      requests += 1;
      count += 1;
      if (count === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole');
      else socket.end(answer);
    });
  });
  closers.push(() => new Promise((resolve) => server.close(resolve)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const options = { method: 'POST', body: 'turn', mayResend: true };
  let answer = '';
  for (answer of ['HTTP/1.1 200 OK\r\ncontent-le', 'HTTP/1.1 100 Continue\r\n\r\n']) {
    expect(await send(network.dispatcher, url, options).ended).toBeUndefined();
    requests = 0;
    const sent = send(network.dispatcher, url, options);
    expect([await sent.ended, sent.ends(), requests]).toEqual([expect.any(Error), 1, 1]);
  }
});

it('lives on where connections are reset between their requests while others wait', async () => {
  const server = createSocketServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole');
      if (Math.random() < 0.3) setTimeout(() => socket.resetAndDestroy(), Math.random() * 3);
    });
  });
  closers.push(() => new Promise((resolve) => server.close(resolve)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const ends: number[] = [];
  const asking = Array.from({ length: 12 }, async () => {
    for (let count = 0; count < 150; count += 1) {
      const sent = send(network.dispatcher, url, { method: 'POST', body: 'turn' });
      await sent.ended;
      ends.push(sent.ends());
    }
  });
  await Promise.all(asking);
  expect(ends).toEqual(ends.map(() => 1));
});

it('says why a connection could not be made, and that nothing was sent', async () => {
  const other = await startH2Server(await makeCertificate());
  closers.push(() => other.close());
  const cases = [
    ['http://127.0.0.1:1/', 'connect', /cannot be reached \(ECONNREFUSED\)/],
    ['https://nowhere.invalid/', 'name', /cannot be resolved/],
    [`${other.url}/`, 'tls', /certificate that is not trusted/],
    [
      (await plain((_request, response) => response.end())).replace('http:', 'https:'),
      'tls',
      /TLS handshake/,
    ],
  ] as const;
  for (const [url, phase, message] of cases) {
    const error = await send(network.dispatcher, url).ended;
    expect(error).toMatchObject({ name: 'UnsentError', phase });
    expect(error?.message).toMatch(message);
  }
});

it('uses no connection twice where each request is to have its own', async () => {
  const ports = new Set<number>();
  const url = await plain((request, response) => {
    ports.add(request.socket.remotePort ?? 0);
    response.end('one');
  });
  for (let turn = 0; turn < 3; turn += 1) {
    expect(await send(network.singleUse, `${url}/`).ended).toBeUndefined();
    expect(await send(network.singleUse, `${h2.url}/`).ended).toBeUndefined();
  }
  expect([ports.size, h2.sessions.length]).toEqual([3, 3]);
  await until(() => h2.sessions.every((session) => session.destroyed));
});

it('ends the wait for a connection when its signal aborts', async () => {
  const hanging = createServer();
  hanging.on('connection', (socket) => closers.push(() => socket.destroy()));
  const url = `https://${await serve(hanging)}/`;
  const leaving = new AbortController();
  const sent = send(network.dispatcher, url, { signal: leaving.signal });
  leaving.abort(new Error('left'));
  expect(await sent.ended).toMatchObject({
    name: 'UnsentError',
    phase: 'connect',
    cause: { message: 'left' },
  });
});

it('ends running requests when it closes', async () => {
  h2.answer = (call) => begin(call);
  const sent = send(network.dispatcher, `${h2.url}/`);
  await until(() => sent.body() === 'begun');
  network.close();
  expect(await sent.ended).toBeInstanceOf(Error);
  expect(await send(network.dispatcher, `${h2.url}/`).ended).toBeInstanceOf(Error);
});

function isBroken(error: Error | undefined): boolean {
  return error instanceof ConnectionLostError || error instanceof StreamResetError;
}

function noteWritten(): void {}

/** Passes bytes on until it is stopped, without a word to either side: as a machine does that has gone. */
async function startRelay(target: number) {
  let isStopped = false;
  let passed = 0;
  const server = createSocketServer((near) => {
    const far = connect(target, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('error', () => {});
      from.on('data', (chunk) => {
        if (isStopped) return;
        to.write(chunk);
        if (from === far) passed += 1;
      });
    }
    closers.push(() => [near, far].map((socket) => socket.destroy()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => server.close());
  return {
    port: (server.address() as AddressInfo).port,
    /** Reads that came back from the target. */
    passed: () => passed,
    stop() {
      isStopped = true;
    },
  };
}

interface ClosingServer {
  readonly url: string;
  /** Requests that came. */
  requests(): number;
  /** The connection is closed for this many of the next requests. */
  closeNext(count: number): void;
}

async function closingServer(start: (listener: RequestListener) => Promise<string>): Promise<ClosingServer> {
  let requests = 0;
  let toClose = 0;
  const url = await start((request, response) => {
    requests += 1;
    if (toClose > 0) {
      toClose -= 1;
      request.socket.destroy();
      return;
    }
    request.resume();
    response.end('whole');
  });
  return {
    url,
    requests: () => requests,
    closeNext(count) {
      toClose = count;
    },
  };
}

async function closingH2(): Promise<ClosingServer> {
  let toClose = 0;
  const server = await startH2Server(certificate);
  closers.push(() => server.close());
  server.answer = ({ stream }) => {
    if (toClose > 0) {
      toClose -= 1;
      stream.session?.socket.destroy();
      return;
    }
    stream.respond({ ':status': 200 });
    stream.end('whole');
  };
  return {
    url: server.url,
    requests: () => server.calls.length,
    closeNext(count) {
      toClose = count;
    },
  };
}
