import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type AnyMessage, type Schema, valueIn } from './schema.ts';

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

/** The fields of a message, known ones first. */
export function writeFields(writer: BinaryWriter, schema: Schema, message: AnyMessage): void {
  for (const plan of schema.plans) {
    const value = valueIn(message, plan);
    if (value === plan.initial || value === undefined) continue;
    for (const item of plan.isList ? (value as unknown[]) : [value]) {
      writer.tag(plan.number, plan.wireType);
      if (plan.schema) {
        writer.fork();
        writeFields(writer, plan.schema, item as AnyMessage);
        writer.join();
      } else if (plan.kind === 'text') writer.string(item as string);
      else if (plan.kind === 'count') writer.uint32(item as number);
      else if (plan.kind === 'double') writer.double(item as number);
      else if (plan.kind === 'float') writer.float(item as number);
      else if (plan.kind === 'flag') writer.bool(item as boolean);
      else writer.bytes(item as Uint8Array);
    }
  }
  writeUnknown(writer, message.$unknown);
}

/** Fields that are not known here, as they came. */
export function writeUnknown(writer: BinaryWriter, fields: AnyMessage['$unknown'] = []): void {
  for (const { number, wireType, data } of fields) writer.tag(number, wireType).raw(data);
}
