import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { systemClock } from '../../lib/clock.ts';
import { BodyBudget } from '../../lib/http/body-budget.ts';
import { createManualClock } from '../testing/manual-clock.ts';
import { until } from '../testing/turn-fixture.ts';
import { createImageFetcher, type ImageFetcher, maxImageBytes } from './image-fetcher.ts';

const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
/** What the names of the tests lead to. */
const names: Record<string, string[]> = {
  'inner.test': ['10.0.0.7'],
  'half.test': ['93.184.216.34', '127.0.0.1'],
  'metadata.test': ['169.254.169.254'],
  'mapped.test': ['::ffff:192.168.0.1'],
  'compatible.test': ['::127.0.0.1'],
  'nowhere.test': [],
  localhost: ['127.0.0.1'],
  'lan.test': ['127.0.0.1'],
};

let server: Server;
let host: string;
let seen: IncomingMessage[];
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let fetcher: ImageFetcher;

beforeEach(async () => {
  seen = [];
  server = createServer((request, response) => {
    seen.push(request);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  fetcher = createFetcher(systemClock);
});
afterEach(async () => {
  await fetcher.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function createFetcher(clock: typeof systemClock, allowedHosts = [host]): ImageFetcher {
  return createImageFetcher({
    allowedHosts,
    bodies: new BodyBudget(180_000_000),
    clock,
    userAgent: 'warp2api/test',
    lookup(name, _options, callback) {
      const addresses = names[name.replace(/\.$/, '')];
      if (!addresses) callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []);
      else
        callback(
          null,
          addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
        );
    },
  });
}

function sendImage(response: ServerResponse, body: Buffer, type = 'image/png'): void {
  response.writeHead(200, { 'content-type': type, 'content-length': body.length });
  response.end(body);
}

const fetchFrom = (url: string, signal = new AbortController().signal, by = fetcher) =>
  by.fetch({ type: 'image-url', url, param: 'messages.0.image' }, signal, () => {});

it('connects to an allowed name in a private network, and never to a cloud’s metadata behind it', async () => {
  answer = (_request, response) => sendImage(response, png);
  const port = host.slice(host.indexOf(':'));
  const allowed = createFetcher(systemClock, [`lan.test${port}`, `metadata.test${port}`]);
  onTestFinished(() => allowed.close());
  const signal = new AbortController().signal;
  expect(await fetchFrom(`http://lan.test${port}/`, signal, allowed)).toMatchObject({ type: 'image' });
  await expect(fetchFrom(`http://metadata.test${port}/`, signal, allowed)).rejects.toThrow(
    /is not on the public internet/,
  );
});

async function faultOf(url: string): Promise<string> {
  const error = await fetchFrom(url).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AppError);
  expect(error).toMatchObject({ code: 'invalid_request', param: 'messages.0.image' });
  return (error as AppError).message;
}

it('fetches an image, and calls it what its first bytes say', async () => {
  answer = (_request, response) => sendImage(response, png, 'image/jpeg');
  expect(await fetchFrom(`http://${host}/a.jpg`)).toEqual({
    type: 'image',
    mediaType: 'image/png',
    data: png.toString('base64'),
  });
  const { headers } = seen[0] as IncomingMessage;
  expect(headers['user-agent']).toBe('warp2api/test');
  expect(headers).not.toHaveProperty('cookie');
  expect(headers).not.toHaveProperty('authorization');
});

it.each([
  ['http://127.0.0.1/', 'not on the public internet'],
  ['http://2130706433/', 'not on the public internet'],
  ['http://0x7f.1/', 'not on the public internet'],
  ['http://0177.0.0.1/', 'not on the public internet'],
  ['http://0/', 'not on the public internet'],
  ['http://10.1.2.3/', 'not on the public internet'],
  ['http://172.16.0.1/', 'not on the public internet'],
  ['http://192.168.1.1/', 'not on the public internet'],
  ['http://100.64.0.1/', 'not on the public internet'],
  ['http://169.254.169.254/latest/meta-data/', 'not on the public internet'],
  ['http://224.0.0.1/', 'not on the public internet'],
  ['http://255.255.255.255/', 'not on the public internet'],
  ['http://0x7f000001/', 'not on the public internet'],
  ['http://017700000001/', 'not on the public internet'],
  ['http://127.1/', 'not on the public internet'],
  ['http://127.0.0.1./', 'not on the public internet'],
  ['http://127%2e0%2e0%2e1/', 'not on the public internet'],
  ['http://127。0。0。1/', 'not on the public internet'],
  ['http://①②⑦.⓪.⓪.①/', 'not on the public internet'],
  ['http://[::127.0.0.1]/', 'not on the public internet'],
  ['http://[::7f00:1]/', 'not on the public internet'],
  ['http://[::ffff:0:7f00:1]/', 'not on the public internet'],
  ['http://compatible.test/', 'not on the public internet'],
  ['http://inner.test./', 'not on the public internet'],
  ['http://[::1]/', 'not on the public internet'],
  ['http://[::]/', 'not on the public internet'],
  ['http://[::ffff:127.0.0.1]/', 'not on the public internet'],
  ['http://[::ffff:a00:1]/', 'not on the public internet'],
  ['http://[64:ff9b::a00:1]/', 'not on the public internet'],
  ['http://[64:ff9b:1::1]/', 'not on the public internet'],
  ['http://[fd00::1]/', 'not on the public internet'],
  ['http://[fe80::1]/', 'not on the public internet'],
  ['http://[fec0::1]/', 'not on the public internet'],
  ['http://[2002:7f00:1::]/', 'not on the public internet'],
  ['http://inner.test/', 'not on the public internet'],
  ['https://inner.test/', 'not on the public internet'],
  ['http://half.test/', 'not on the public internet'],
  ['http://metadata.test/', 'not on the public internet'],
  ['http://mapped.test/', 'not on the public internet'],
  ['http://nowhere.test/', 'not on the public internet'],
  ['http://unknown.test/', 'could not be reached'],
  ['http://93.184.216.34:8080/', 'a port other than'],
  ['http://me:secret@inner.test/', 'a user name or a password'],
])('does not go to %s', async (url, reason) => {
  expect(await faultOf(url)).toContain(reason);
  expect(seen).toHaveLength(0);
});

it.each([
  'http://inner.test/',
  'http://169.254.169.254/',
  'http://127.0.0.1/',
  'ftp://inner.test/a.png',
  'file:///etc/passwd',
])('looks at a redirect to %s like at the first address', async (location) => {
  answer = (_request, response) => response.writeHead(302, { location }).end();
  expect(await faultOf(`http://${host}/`)).toMatch(/not on the public internet|neither http nor https/);
  expect(seen).toHaveLength(1);
});

it('takes an image that came while this process paused for longer than its limit', async () => {
  let isOver = (): void => {};
  const paused = createFetcher({
    ...systemClock,
    after(delayMs, task) {
      if (delayMs !== 10_000) return systemClock.after(delayMs, task);
      isOver = task;
      return () => {};
    },
  });
  onTestFinished(() => paused.close());
  answer = (_request, response) => {
    sendImage(response, png);
    // Timers that are due have their turn before what has arrived.
    setTimeout(() => isOver(), 1);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  };
  const signal = new AbortController().signal;
  expect(await fetchFrom(`http://${host}/`, signal, paused)).toMatchObject({ type: 'image' });
});

it('follows a few redirects and no more', async () => {
  answer = (request, response) => {
    const left = Number(request.url?.slice(1));
    if (left === 0) sendImage(response, png);
    else response.writeHead(302, { location: `/${left - 1}` }).end();
  };
  expect(await fetchFrom(`http://${host}/3`)).toMatchObject({ mediaType: 'image/png' });
  expect(await faultOf(`http://${host}/4`)).toContain('leads on and on');
});

it('does not say what an address answered', async () => {
  answer = (_request, response) => response.writeHead(401, { 'content-type': 'text/plain' }).end('secret');
  const refusal = await faultOf(`http://${host}/`);
  answer = (_request, response) => sendImage(response, Buffer.from('<html>secret</html>'), 'text/html');
  expect(await faultOf(`http://${host}/`)).toBe(refusal);
  answer = (_request, response) => sendImage(response, Buffer.from('<svg>secret</svg>'));
  expect(await faultOf(`http://${host}/`)).toBe(refusal);
  expect(refusal).not.toMatch(/401|secret/);
});

it('stops at 10 MB, whether the server tells the size or not', async () => {
  const large = Buffer.concat([png, Buffer.alloc(maxImageBytes)]);
  answer = (_request, response) => sendImage(response, large);
  expect(await faultOf(`http://${host}/`)).toContain('more than 10 MB');
  answer = (_request, response) => {
    response.writeHead(200, { 'content-type': 'image/png' });
    response.end(large);
  };
  expect(await faultOf(`http://${host}/`)).toContain('more than 10 MB');
});

it('keeps to the bounds whatever the server says of its body', async () => {
  let sent = 0;
  answer = (_request, response) => {
    response.writeHead(200, { 'content-type': 'image/png' }).write(png);
    const pour = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(64 * 1024))) sent += 64 * 1024;
    };
    response.on('drain', pour);
    pour();
  };
  expect(await faultOf(`http://${host}/endless`)).toContain('more than 10 MB');
  // What lies in the buffers of both ends comes on top.
  expect(sent).toBeLessThan(2 * maxImageBytes);

  answer = (_request, response) => {
    response.socket?.end(
      `HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: ${png.length + 1}\r\n\r\n${png.toString('latin1')}`,
      'latin1',
    );
  };
  expect(await faultOf(`http://${host}/shorter`)).toContain('could not be reached');

  const bomb = gzipSync(Buffer.concat([png, Buffer.alloc(64 * 1024 * 1024)]));
  answer = (_request, response) =>
    response.writeHead(200, { 'content-type': 'image/png', 'content-encoding': 'gzip' }).end(bomb);
  expect(await faultOf(`http://${host}/bomb`)).toContain('does not answer with a PNG');
});

it('ends with the first bytes that are too many for who asked', async () => {
  answer = (_request, response) => sendImage(response, png);
  const tooMany = new AppError('invalid_request', 'too many');
  const fetching = fetcher.fetch(
    { type: 'image-url', url: `http://${host}/`, param: 'messages.0.image' },
    new AbortController().signal,
    () => {
      throw tooMany;
    },
  );
  await expect(fetching).rejects.toBe(tooMany);
});

it('allows hosts by name and port, whatever dot and scheme they are asked with', async () => {
  answer = (_request, response) => sendImage(response, png);
  const port = host.split(':')[1];
  const byName = createFetcher(systemClock, [`localhost:${port}`]);
  for (const name of ['localhost', 'LOCALHOST', 'localhost.']) {
    expect(await fetchFrom(`http://${name}:${port}/`, undefined, byName)).toMatchObject({ type: 'image' });
  }
  await byName.close();
  const otherPort = createFetcher(systemClock, ['127.0.0.1', '127.0.0.1:443']);
  await expect(fetchFrom(`http://${host}/`, undefined, otherPort)).rejects.toThrow('a port other than');
  await expect(fetchFrom('http://127.0.0.1:0/', undefined, otherPort)).rejects.toThrow('a port other than');
  await otherPort.close();
});

it('gives up after 10 seconds, in the middle of an image too', async () => {
  const clock = createManualClock();
  const slow = createFetcher(clock);
  answer = (_request, response) => {
    response.writeHead(200, { 'content-type': 'image/png' });
    response.write(png);
  };
  const fetching = fetchFrom(`http://${host}/`, undefined, slow).catch((error: AppError) => error.message);
  await until(() => seen.length === 1);
  await clock.advance(10_000);
  expect(await fetching).toContain('longer than 10 seconds');
  await slow.close();
});

it('leaves with the client', async () => {
  const abort = new AbortController();
  let isClosed = false;
  answer = (request) => request.socket.once('close', () => (isClosed = true));
  const fetching = fetchFrom(`http://${host}/`, abort.signal).catch((error: AppError) => error.code);
  await until(() => seen.length === 1);
  abort.abort(new AppError('cancelled', 'The client left.'));
  expect(await fetching).toBe('cancelled');
  await until(() => isClosed);
});
