import type { IncomingHttpHeaders } from 'node:http';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Http1Reader, UnreadableAnswerError } from './http1-reader.ts';

interface Heard {
  readonly heads: { status: number; headers: IncomingHttpHeaders }[];
  readonly bodies: string[];
  readonly ends: IncomingHttpHeaders[];
  /** Whether the connection can be used again, at the end. */
  isKept?: boolean;
}

function open(method = 'POST'): { reader: Http1Reader; heard: Heard } {
  const heard: Heard = { heads: [], bodies: [], ends: [] };
  const listener = {
    onHead: (status: number, headers: IncomingHttpHeaders) => void heard.heads.push({ status, headers }),
    onBody: (bytes: Buffer) => void heard.bodies.push(bytes.toString('latin1')),
    onEnd(trailers: IncomingHttpHeaders) {
      heard.ends.push(trailers);
      heard.isKept = reader.isKept;
    },
  };
  const reader = new Http1Reader(listener, method);
  return { reader, heard };
}

function readWhole(text: string, method?: string) {
  const { reader, heard } = open(method);
  reader.read(Buffer.from(text, 'latin1'));
  return { reader, heard };
}

const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
const bodies = fc.array(fc.string({ minLength: 1, maxLength: 40 }), { maxLength: 6 });
const framings = fc.oneof(
  bodies.map((parts) => {
    const body = Buffer.from(parts.join(''));
    return { body, bytes: Buffer.concat([Buffer.from(`content-length: ${body.length}\r\n\r\n`), body]) };
  }),
  fc
    .tuple(bodies, fc.constantFrom('', ';a=b', ' ; "x"'), fc.constantFrom('', 'X-After: yes\r\n'))
    .map(([parts, extension, trailer]) => {
      const chunks = parts.map((part) => {
        const bytes = Buffer.from(part);
        const line = `${bytes.length.toString(16).toUpperCase()}${extension}\r\n`;
        return Buffer.concat([Buffer.from(line), bytes, Buffer.from('\r\n')]);
      });
      const head = Buffer.from('transfer-encoding: chunked\r\n\r\n');
      const bytes = Buffer.concat([head, ...chunks, Buffer.from(`0\r\n${trailer}\r\n`)]);
      return { body: Buffer.from(parts.join('')), bytes };
    }),
);

describe('an answer', () => {
  it('reads the same wherever it is cut, with at most one body a read, and is whole by its last byte only', () => {
    fc.assert(
      fc.property(framings, fc.array(fc.integer({ min: 1, max: 30 })), ({ body, bytes }, lengths) => {
        const start = Buffer.from(
          'HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-Two: 1\r\nx-two: 2\r\n',
        );
        const whole = Buffer.concat([start, bytes]);
        const { reader, heard } = open();
        let at = 0;
        for (const length of [...lengths, whole.length]) {
          const before = heard.bodies.length;
          const end = Math.min(whole.length - 1, at + length);
          reader.read(whole.subarray(at, end));
          expect(heard.bodies.length - before).toBeLessThanOrEqual(1);
          at = end;
        }
        expect(heard.ends).toEqual([]);
        expect(reader.end()).toBe(false);
        reader.read(whole.subarray(at));
        expect(heard.heads.map(({ status }) => status)).toEqual([103, 200]);
        expect(heard.heads[1]?.headers['x-two']).toEqual(['1', '2']);
        expect(heard.bodies.join('')).toBe(body.toString('latin1'));
        expect([heard.ends.length, heard.isKept]).toEqual([1, true]);
      }),
    );
  });

  it('gives up all chunks of one read together', () => {
    const { heard } = readWhole(`${chunked}3\r\nabc\r\n2\r\nde\r\n0\r\nx-after: yes\r\n\r\n`);
    expect(heard).toMatchObject({ bodies: ['abcde'], ends: [{ 'x-after': 'yes' }] });
  });

  it('says what it said before a fault of the same read', () => {
    const { reader, heard } = open();
    expect(() => reader.read(Buffer.from(`${chunked}3\r\nabc\r\n2\r\ndefg\r\n`))).toThrow(
      UnreadableAnswerError,
    );
    expect(heard).toMatchObject({ bodies: ['abcde'], ends: [] });
  });

  it('has values without the space around them, however much there is', () => {
    const many = ' \t'.repeat(1_000);
    const { heard } = readWhole(
      `HTTP/1.1 200 OK\r\nx:${many}a${many}b${many}\r\ny:${many}\r\nz:\xa0\r\n\r\n`,
    );
    expect(heard.heads[0]?.headers).toEqual({ x: `a${many}b`, y: '', z: '\xa0' });
  });

  it('without a length lasts until the other side closes', () => {
    const { reader, heard } = readWhole('HTTP/1.1 200 OK\r\n\r\nhalf');
    expect(heard.ends).toEqual([]);
    expect(reader.end()).toBe(true);
    expect([heard.bodies, heard.ends.length, heard.isKept]).toEqual([['half'], 1, false]);
  });

  it.each([
    ['HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', 'POST', true],
    ['HTTP/1.1 204 No Content\r\n\r\n', 'POST', true],
    ['HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n', 'GET', false],
    ['HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n', 'HEAD', false],
    ['HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x, Close\r\n\r\n', 'POST', false],
    ['HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n', 'POST', false],
    ['HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n', 'POST', true],
    [
      'HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n0\r\n\r\n',
      'POST',
      false,
    ],
    ['HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n', 'POST', true],
    ['\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: \t 0 \t \r\n\r\n', 'POST', true],
    ['HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK', 'POST', false],
  ])(
    'that has no body ends with its head: %j to %s leaves the connection usable: %s',
    (text, method, isKept) => {
      const { heard } = readWhole(text, method);
      expect([heard.bodies, heard.ends.length, heard.isKept]).toEqual([[], 1, isKept]);
    },
  );

  it.each([
    'garbage\r\n\r\n',
    'HTTP/2.0 200 OK\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 200 OK\nx: y\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n',
    'HTTP/1.1 200 OK\r\n folded: x\r\n\r\n',
    'HTTP/1.1 200 OK\r\nname : x\r\n\r\n',
    'HTTP/1.1 200 OK\r\nname: x\0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nname: x\ry: z\r\n\r\n',
    'HTTP/1.1 200 OK\r\nno header\r\n\r\n',
    'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab',
    'HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\na',
    'HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\na',
    'HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    `${chunked}x\r\n`,
    `${chunked};a\r\n`,
    `${chunked}3 3\r\nabc`,
    `${chunked}-3\r\nabc\r\n`,
    `${chunked}3\nabc\r\n0\r\n\r\n`,
    `${chunked}3\r\nabcd\r\n0\r\n\r\n`,
    `${chunked}ffffffffffffffffff\r\n`,
    `${chunked}1;${'x'.repeat(5_000)}`,
    `${chunked}0\r\nno trailer\r\n\r\n`,
    `HTTP/1.1 200 OK\r\nx:${' '.repeat(16_000)}\0\r\n\r\n`,
    `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(17_000)}`,
    `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(17_000)}\r\n\r\n`,
    'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(101),
  ])('that does not follow HTTP/1.1 is none: %.80j', (text) => {
    expect(() => readWhole(text)).toThrow(UnreadableAnswerError);
    const { reader, heard } = open();
    expect(() => {
      for (const byte of Buffer.from(text, 'latin1')) reader.read(Buffer.from([byte]));
    }).toThrow(UnreadableAnswerError);
    expect(heard.ends).toEqual([]);
  });
});
