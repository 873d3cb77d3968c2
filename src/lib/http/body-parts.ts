/** Smaller pieces are copied together: each has the cost of an object, and a sender may send one byte at a time. */
const smallBytes = 4 * 1024;
const blockBytes = 64 * 1024;

/** The pieces of a body in the order they came. */
export class BodyParts {
  readonly #parts: Buffer[] = [];
  #block: Buffer | undefined;
  #blockLength = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(piece: Buffer): void {
    this.#length += piece.length;
    if (this.#parts.length === 0 || piece.length >= smallBytes) {
      this.#endBlock();
      this.#parts.push(piece);
      return;
    }
    if (this.#blockLength + piece.length > blockBytes) this.#endBlock();
    this.#block ??= Buffer.allocUnsafeSlow(blockBytes);
    piece.copy(this.#block, this.#blockLength);
    this.#blockLength += piece.length;
  }

  /** Hands over all pieces, and holds none of them any more. */
  take(): Buffer[] {
    this.#endBlock();
    this.#length = 0;
    return this.#parts.splice(0);
  }

  #endBlock(): void {
    if (this.#block) this.#parts.push(this.#block.subarray(0, this.#blockLength));
    this.#block = undefined;
    this.#blockLength = 0;
  }
}
