// How protobuf bytes become server-sent events. Every framing here is one a client has to understand.

export type Framing = 'unquoted' | 'quoted' | 'crlf' | 'comments' | 'split' | 'multiline';

/** The padded base64 of the URL-safe alphabet (Node's own `base64url` leaves the padding out). */
export function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}

/** One event as SSE text. `index` counts the events of the stream from 0. */
export function frame(payload: string, framing: Framing = 'unquoted', index = 0): string {
  switch (framing) {
    case 'quoted':
      return `data: "${payload}"\n\n`;
    case 'crlf':
      return `data: ${payload}\r\n\r\n`;
    case 'comments':
      // Comment lines, fields to ignore, and a `data:` without the optional space.
      return `: sandbox\n\nretry: 3000\nid: ${index}\nevent: message\ndata:${payload}\n: after\n\n`;
    default:
      return `data: ${payload}\n\n`;
  }
}

/** Cuts bytes at borders that fall in the middle of events and of lines: 1, 3, 7, 1000, 2, 61, then again. */
export function oddPieces(bytes: Buffer): Buffer[] {
  const sizes = [1, 3, 7, 1_000, 2, 61];
  const pieces: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    const size = sizes[pieces.length % sizes.length] ?? 1;
    pieces.push(bytes.subarray(start, start + size));
    start += size;
  }
  return pieces;
}
