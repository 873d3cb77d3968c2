import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

type JsonObject = Readonly<Record<string, unknown>>;

/** A google.protobuf.Struct nested deeper than this is refused: no tool needs it, and it could exhaust the stack. */
const maxDepth = 100;

/**
 * Encodes a JSON object as google.protobuf.Struct. Members that JSON cannot hold (undefined, functions) are left
 * out. Throws RangeError when nested deeper than 100.
 */
export function encodeStruct(object: JsonObject): Uint8Array {
  const writer = new BinaryWriter();
  writeStruct(writer, object, 0);
  return writer.finish();
}

/** Reads google.protobuf.Struct as a JSON object without a prototype. Throws on bytes that are none. */
export function decodeStruct(bytes: Uint8Array): Record<string, unknown> {
  return readStruct(new BinaryReader(bytes), bytes.length, 0);
}

function writeStruct(writer: BinaryWriter, object: JsonObject, depth: number): void {
  if (depth > maxDepth) throw new RangeError(`a JSON object is nested deeper than ${maxDepth}`);
  for (const key of Object.keys(object)) {
    const value = object[key];
    if (!isJson(value)) continue;
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(key);
    writer.tag(2, WireType.LengthDelimited).fork();
    writeValue(writer, value, depth + 1);
    writer.join().join();
  }
}

function writeValue(writer: BinaryWriter, value: unknown, depth: number): void {
  if (typeof value === 'string') writer.tag(3, WireType.LengthDelimited).string(value);
  else if (typeof value === 'number') writer.tag(2, WireType.Bit64).double(value);
  else if (typeof value === 'boolean') writer.tag(4, WireType.Varint).bool(value);
  else if (Array.isArray(value)) {
    if (depth > maxDepth) throw new RangeError(`a JSON array is nested deeper than ${maxDepth}`);
    writer.tag(6, WireType.LengthDelimited).fork();
    for (const item of value) {
      writer.tag(1, WireType.LengthDelimited).fork();
      writeValue(writer, isJson(item) ? item : null, depth + 1);
      writer.join();
    }
    writer.join();
  } else if (typeof value === 'object' && value !== null) {
    writer.tag(5, WireType.LengthDelimited).fork();
    writeStruct(writer, value as JsonObject, depth);
    writer.join();
  } else writer.tag(1, WireType.Varint).int32(0);
}

function isJson(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  return value === null || ['string', 'boolean', 'object'].includes(typeof value);
}

function readStruct(reader: BinaryReader, end: number, depth: number): Record<string, unknown> {
  if (depth > maxDepth) throw new RangeError(`a Struct is nested deeper than ${maxDepth}`);
  const object: Record<string, unknown> = Object.create(null);
  eachField(reader, end, (fieldNumber) => {
    if (fieldNumber !== 1) return false;
    let key = '';
    let value: unknown = null;
    eachField(reader, lengthEnd(reader, end), (entryField, entryEnd) => {
      if (entryField === 1) key = reader.string();
      else if (entryField === 2) value = readValue(reader, lengthEnd(reader, entryEnd), depth + 1);
      else return false;
      return true;
    });
    object[key] = value;
    return true;
  });
  return object;
}

function readValue(reader: BinaryReader, end: number, depth: number): unknown {
  let value: unknown = null;
  eachField(reader, end, (fieldNumber) => {
    switch (fieldNumber) {
      case 1:
        reader.int32();
        value = null;
        return true;
      case 2:
        value = reader.double();
        return true;
      case 3:
        value = reader.string();
        return true;
      case 4:
        value = reader.bool();
        return true;
      case 5:
        value = readStruct(reader, lengthEnd(reader, end), depth);
        return true;
      case 6:
        value = readList(reader, lengthEnd(reader, end), depth);
        return true;
      default:
        return false;
    }
  });
  return value;
}

function readList(reader: BinaryReader, end: number, depth: number): unknown[] {
  if (depth > maxDepth) throw new RangeError(`a list is nested deeper than ${maxDepth}`);
  const list: unknown[] = [];
  eachField(reader, end, (fieldNumber) => {
    if (fieldNumber !== 1) return false;
    list.push(readValue(reader, lengthEnd(reader, end), depth + 1));
    return true;
  });
  return list;
}

/** Calls `read` for each field up to `end`; a field it does not take (false) is skipped. */
function eachField(
  reader: BinaryReader,
  end: number,
  read: (fieldNumber: number, end: number) => boolean,
): void {
  while (reader.pos < end) {
    const [fieldNumber, wireType] = reader.tag();
    if (!read(fieldNumber, end)) reader.skip(wireType, fieldNumber);
  }
  if (reader.pos !== end) throw new RangeError('a field is longer than the message around it');
}

function lengthEnd(reader: BinaryReader, limit: number): number {
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > limit) throw new RangeError('a field is longer than the message around it');
  return end;
}
