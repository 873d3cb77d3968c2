import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** Used again for the next message, since growing a new buffer each time costs more than writing does. */
let spareWriter: BinaryWriter | undefined;
/** A larger buffer is not kept. */
const mostSpareBytes = 256 * 1024;

/** The bytes of what `write` writes. */
export function encoded(write: (writer: BinaryWriter) => void): Uint8Array<ArrayBuffer> {
  const writer = spareWriter ?? new BinaryWriter();
  spareWriter = undefined;
  write(writer);
  const bytes = writer.finish();
  if (bytes.length <= mostSpareBytes) spareWriter = writer;
  return bytes;
}

/** A field that holds a message. */
export function writeMessage(writer: BinaryWriter, field: number, write: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write();
  writer.join();
}

/** Left out when it is empty. */
export function writeText(writer: BinaryWriter, field: number, text: string): void {
  if (text !== '') writer.tag(field, WireType.LengthDelimited).string(text);
}
