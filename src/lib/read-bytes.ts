/** All bytes of a stream, which is closed and fails with `tooMany` once there are more than `most`. */
export async function readBytes(
  stream: AsyncIterable<Buffer>,
  most: number,
  tooMany: () => Error,
  onPiece: (bytes: number) => void = () => {},
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of stream) {
    length += piece.length;
    onPiece(piece.length);
    if (length > most) throw tooMany();
    pieces.push(piece);
  }
  return Buffer.concat(pieces, length);
}

/** Decodes UTF-8 that comes in pieces, wherever they are cut. */
export class Utf8Reader {
  #decoder: TextDecoder | undefined;
  #hasBegun = false;

  read(bytes: Uint8Array): string {
    if (!this.#decoder) {
      // Most answers are plain ASCII for long, which takes no decoding.
      const view =
        bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      const text = view.toString('latin1');
      if (Buffer.byteLength(text) === text.length) {
        this.#hasBegun ||= text !== '';
        return text;
      }
      // A mark of the byte order is one at the beginning only.
      this.#decoder = new TextDecoder('utf-8', { ignoreBOM: this.#hasBegun });
    }
    return this.#decoder.decode(bytes, { stream: true });
  }
}

/** Bytes that are kept for long: Node gives short buffers a place in 64 KB that others share, and a piece keeps all of it. */
export function inOwnMemory(bytes: Uint8Array): Uint8Array {
  // Not its own `slice`, which copies nothing of a Buffer.
  return bytes.buffer.byteLength === bytes.length ? bytes : Uint8Array.prototype.slice.call(bytes);
}
