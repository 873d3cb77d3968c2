import { expect, test } from 'vitest';
import { createHttpReader, statusOf } from './http-reader.ts';

const plain = 'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n\r\nhello';
const chunked =
  'HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnot \r\nA;x=1\r\nright now!\r\n0\r\n\r\n';
const empty = 'HTTP/1.1 204 None\r\n\r\n';

function read(bytes: Buffer, size: number): string[] {
  const messages: string[] = [];
  let body = '';
  let status = 0;
  const push = createHttpReader({
    onHead(head) {
      status = statusOf(head);
    },
    onBody(piece) {
      body += piece.toString();
    },
    onEnd() {
      messages.push(`${status} ${body}`);
      body = '';
    },
  });
  for (let at = 0; at < bytes.length; at += size) push(bytes.subarray(at, at + size));
  return messages;
}

test.each([1, 2, 3, 7, 1000])('messages are read the same in pieces of %i bytes', (size) => {
  const bytes = Buffer.from(plain + chunked + empty + plain);
  expect(read(bytes, size)).toEqual(['200 hello', '503 not right now!', '204 ', '200 hello']);
});

test('what is no chunk is refused', () => {
  const bytes = Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhello\r\n');
  expect(() => read(bytes, 1000)).toThrow('not the size of a chunk: "hello"');
});
