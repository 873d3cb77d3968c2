/** Told about one HTTP/1.1 message after another on one connection. */
export interface HttpListener {
  /** First line and headers, as they came. */
  onHead(head: string): void;
  /** A piece of the body, without the marks of chunked encoding. */
  onBody(piece: Buffer): void;
  onEnd(): void;
}

/**
 * The least HTTP/1.1 reader that will do between programs of our own: bodies with a length or in chunks, no trailers.
 * Give it every read of the connection. Throws on anything else.
 */
export function createHttpReader(listener: HttpListener): (bytes: Buffer | string) => void {
  let state: 'head' | 'body' | 'chunk-size' | 'chunk' | 'chunk-end' | 'last-line' = 'head';
  let left = 0;
  let rest: Buffer | undefined;

  function readHead(head: string): void {
    listener.onHead(head);
    if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
      state = 'chunk-size';
      return;
    }
    left = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    if (left > 0) state = 'body';
    else listener.onEnd();
  }

  return (given) => {
    const bytes = typeof given === 'string' ? Buffer.from(given) : given;
    const data = rest ? Buffer.concat([rest, bytes]) : bytes;
    rest = undefined;
    let at = 0;
    while (at < data.length) {
      if (state === 'body' || state === 'chunk') {
        const end = Math.min(data.length, at + left);
        left -= end - at;
        listener.onBody(data.subarray(at, end));
        at = end;
        if (left > 0) return;
        if (state === 'chunk') state = 'chunk-end';
        else {
          state = 'head';
          listener.onEnd();
        }
        continue;
      }
      const mark = state === 'head' ? '\r\n\r\n' : '\r\n';
      const end = data.indexOf(mark, at, 'latin1');
      if (end === -1) {
        rest = data.subarray(at);
        return;
      }
      const line = data.toString('latin1', at, end);
      at = end + mark.length;
      if (state === 'head') readHead(line);
      else if (state === 'chunk-size') {
        left = Number.parseInt(line, 16);
        if (Number.isNaN(left)) throw new Error(`not the size of a chunk: ${JSON.stringify(line)}`);
        state = left === 0 ? 'last-line' : 'chunk';
      } else if (state === 'chunk-end') state = 'chunk-size';
      else {
        state = 'head';
        listener.onEnd();
      }
    }
  };
}

/** The status of a response, by its head. */
export function statusOf(head: string): number {
  return Number(head.slice(9, 12));
}
