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
