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
