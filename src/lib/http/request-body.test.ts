import { once } from 'node:events';
import { connect } from 'node:net';
import {
  brotliCompressSync,
  createZstdCompress,
  deflateRawSync,
  deflateSync,
  gzipSync,
  constants as zlib,
  zstdCompressSync,
} from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createLogger } from '../log/logger.ts';
import { BodyBudget } from './body-budget.ts';
import { HttpFault, httpFaultFrom } from './http-fault.ts';
import { createHttpServer } from './http-server.ts';
import { BodyParts } from './request-body.ts';

const limit = 64 * 1024;

async function serve() {
  const app = createHttpServer({
    logger: createLogger('fatal'),
    bodyLimitBytes: limit,
    bodies: new BodyBudget(1024 * 1024),
    callers: { allowedHosts: null, keysSetting: 'API_KEYS' },
    access: {},
    encodeUnreadable: () => '',
    adviseOnPath: () => 'See /docs.',
  });
  app.setErrorHandler((error, _request, reply) => {
    const fault = httpFaultFrom(error);
    return fault instanceof HttpFault
      ? reply.code(400).send({ kind: fault.kind, message: fault.message })
      : reply.code(500).send({ kind: String(error) });
  });
  const config = { access: 'open' };
  app.post('/', { config }, async (request) => ({ body: request.body }));
  app.post('/small', { config, bodyLimit: 100 }, async (request) => ({ body: request.body }));
  app.get('/', { config }, async () => ({ body: 'got' }));
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  onTestFinished(() => app.close());
  return async (body: Buffer, headers: Record<string, string> = {}, path = '/') => {
    const answer = await fetch(new URL(path, url), { method: 'POST', headers, body: new Uint8Array(body) });
    const json = (await answer.json()) as { body?: unknown; kind?: string; message?: string };
    return { ...json, headers: answer.headers, url };
  };
}

const value = { text: 'Grüße '.repeat(500) };
const json = Buffer.from(JSON.stringify(value));

describe('a compressed body', () => {
  it.each([
    ['zstd', zstdCompressSync(json)],
    ['gzip', gzipSync(json)],
    ['GZIP', gzipSync(json)],
    ['x-gzip', gzipSync(json)],
    ['deflate', deflateSync(json)],
    // Without its zlib header, as some senders do.
    ['deflate', deflateRawSync(json)],
    ['br', brotliCompressSync(json)],
    ['identity', json],
    ['', json],
    ['identity, gzip', gzipSync(json)],
    ['gzip, zstd', zstdCompressSync(gzipSync(json))],
    ['deflate , br,gzip', gzipSync(brotliCompressSync(deflateSync(json)))],
    // Written in two parts.
    ['zstd', Buffer.concat([zstdCompressSync(json.subarray(0, 99)), zstdCompressSync(json.subarray(99))])],
    ['gzip', Buffer.concat([gzipSync(json.subarray(0, 99)), gzipSync(json.subarray(99))])],
  ])('in %s is read', async (coding, body) => {
    const post = await serve();
    expect((await post(body, { 'content-encoding': coding })).body).toEqual(value);
  });

  it.each(['zstd', 'gzip', 'deflate', 'br'])('in %s that is empty is none', async (coding) => {
    const post = await serve();
    expect(await post(Buffer.alloc(0), { 'content-encoding': coding })).not.toHaveProperty('kind');
  });

  it.each(['compress', 'gzip, sdch', 'aws-chunked', 'constructor', 'gzip, gzip, gzip, gzip'])(
    'in %s is refused with what is taken',
    async (coding) => {
      const post = await serve();
      const { kind, message, headers } = await post(json, { 'content-encoding': coding });
      expect(kind).toBe('unsupported_encoding');
      expect(message).toContain('zstd, gzip, deflate, br');
      expect(headers.get('accept-encoding')).toBe('zstd, gzip, deflate, br');
    },
  );

  it.each([
    ['zstd', zstdCompressSync(json)],
    ['gzip', gzipSync(json)],
    ['deflate', deflateSync(json)],
    ['br', brotliCompressSync(json)],
  ])('in %s that is broken or cut is refused', async (coding, whole) => {
    const post = await serve();
    for (const body of [whole.subarray(0, -7), whole.subarray(0, 2), json]) {
      const { kind, message } = await post(body, { 'content-encoding': coding });
      expect([kind, message]).toEqual(['invalid_body', expect.stringContaining(coding)]);
    }
    // The connection takes the next request.
    expect((await post(whole, { 'content-encoding': coding })).body).toEqual(value);
  });

  it.each([
    ['zstd', zstdCompressSync(Buffer.alloc(1 << 28))],
    ['gzip', gzipSync(Buffer.alloc(1 << 25))],
    ['br', brotliCompressSync(Buffer.alloc(1 << 25))],
    ['zstd, zstd', zstdCompressSync(zstdCompressSync(Buffer.alloc(1 << 28)))],
    // Its inner layer is large and its value small.
    ['gzip, gzip', gzipSync(Buffer.concat(Array.from({ length: 4000 }, () => gzipSync(Buffer.alloc(0)))))],
  ])('in %s is decompressed up to the limit and not further', async (coding, bomb) => {
    const post = await serve();
    expect((await post(bomb, { 'content-encoding': coding })).kind).toBe('too_large');
  });

  it('has the limit of its route', async () => {
    const post = await serve();
    const body = gzipSync(json);
    expect((await post(body, { 'content-encoding': 'gzip' }, '/small')).kind).toBe('too_large');
  });

  it('may not ask for more memory than a body may have', async () => {
    const post = await serve();
    const compressor = createZstdCompress({ params: { [zlib.ZSTD_c_windowLog]: 27 } });
    compressor.write(json);
    compressor.end();
    const body = Buffer.concat(await compressor.toArray());
    expect((await post(body, { 'content-encoding': 'zstd' })).kind).toBe('invalid_body');
  });

  it('is not held up by others that come slowly', async () => {
    const post = await serve();
    const { url } = await post(json);
    const { hostname, port } = new URL(url);
    for (let count = 0; count < 5; count += 1) {
      const socket = connect(Number(port), hostname);
      onTestFinished(() => void socket.destroy());
      await once(socket, 'connect');
      socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: 99\r\n\r\n');
      socket.write(gzipSync(json).subarray(0, 12));
    }
    expect((await post(gzipSync(json), { 'content-encoding': 'gzip' })).body).toEqual(value);
  });

  it('that ends before its Content-Length is dropped', async () => {
    const post = await serve();
    const { url } = await post(json);
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    const body = gzipSync(json);
    socket.write(
      `POST / HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    socket.write(body.subarray(0, 20));
    socket.destroySoon();
    await once(socket, 'close');
    expect((await post(body, { 'content-encoding': 'gzip' })).body).toEqual(value);
  });
});

describe('the letters of a body', () => {
  const bom = Buffer.from([0xef, 0xbb, 0xbf]);

  it('may come after a byte order mark', async () => {
    const post = await serve();
    expect((await post(Buffer.concat([bom, json]))).body).toEqual(value);
    expect((await post(gzipSync(Buffer.concat([bom, json])), { 'content-encoding': 'gzip' })).body).toEqual(
      value,
    );
    expect(await post(bom)).not.toHaveProperty('kind');
  });

  it.each([
    ['latin1', Buffer.from('{"a":"é"}', 'latin1')],
    ['cut', Buffer.from('{"a":"é"}').subarray(0, 7)],
    ['a surrogate in UTF-8', Buffer.from('7b2261223a22eda0bd227d', 'hex')],
    ['an overlong form', Buffer.from('7b2261223a22c0af227d', 'hex')],
    ['UTF-16', Buffer.from('\ufeff{"a":1}', 'utf16le')],
  ])('are refused where they are not UTF-8: %s', async (_name, body) => {
    const post = await serve();
    const { kind, message } = await post(body, { 'content-type': 'application/json' });
    expect([kind, message]).toEqual(['invalid_body', expect.stringContaining('not valid UTF-8')]);
  });

  it.each([
    ['application/json; charset=UTF-8', Buffer.from('{"a":"é"}')],
    ['application/json;charset="utf8"', Buffer.from('{"a":"é"}')],
    ['application/json; charset=', Buffer.from('{"a":"é"}')],
    ['application/json; charset=iso-8859-1', Buffer.from('{"a":"é"}', 'latin1')],
    ['text/plain; x=y; Charset=utf-16', Buffer.from('\ufeff{"a":"é"}', 'utf16le')],
    ['nonsense', Buffer.from('{"a":"é"}')],
  ])('are read in their charset: %s', async (contentType, body) => {
    const post = await serve();
    expect((await post(body, { 'content-type': contentType })).body).toEqual({ a: 'é' });
  });

  it('are refused in an unknown charset, by name', async () => {
    const post = await serve();
    const { kind, message } = await post(json, { 'content-type': 'application/json; charset=utf-7' });
    expect([kind, message]).toEqual(['unsupported_encoding', expect.stringContaining('"utf-7"')]);
  });

  it('may be half of a pair where they are escaped', async () => {
    const post = await serve();
    expect((await post(Buffer.from('{"a":"\\ud83d"}'))).body).toEqual({ a: '\ud83d' });
  });
});

describe('the JSON of a body', () => {
  const deep = Buffer.from('['.repeat(600) + ']'.repeat(600));
  const tooDeep = ['invalid_body', 'The body has more than 512 lists and objects inside one another.'];

  it.each([
    ['in one piece', [deep]],
    ['in pieces of an unknown length', [deep.subarray(0, 100), deep.subarray(100)]],
  ])('is refused where it must not be parsed: %s', async (_name, pieces) => {
    const post = await serve();
    const { url } = await post(json);
    const body = pieces.length > 1 ? ReadableStream.from(pieces) : deep;
    const init = { method: 'POST', body, duplex: 'half' } as RequestInit;
    const { kind, message } = (await (await fetch(url, init)).json()) as Record<string, string>;
    expect([kind, message]).toEqual(tooDeep);
  });
});

it('gives back what it was given, few pieces for many small ones', () => {
  const parts = new BodyParts();
  const whole = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251));
  let start = 0;
  for (const length of [1, 5_000, 1, 2, 70_000, ...Array<number>(200_000).fill(1), 4_095, 4_096]) {
    parts.add(whole.subarray(start, start + length));
    start += length;
  }
  expect(parts.length).toBe(start);
  const taken = parts.take();
  expect(Buffer.concat(taken).equals(whole.subarray(0, start))).toBe(true);
  expect(taken.length).toBeLessThan(15);
  expect([parts.length, parts.take()]).toEqual([0, []]);
});

it('takes the only piece as it is', () => {
  const parts = new BodyParts();
  const piece = Buffer.from('all');
  parts.add(piece);
  expect(parts.take()[0]).toBe(piece);
});
