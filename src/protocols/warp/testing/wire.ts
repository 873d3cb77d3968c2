import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** A field by number, so that tests do not lean on the schema they check. Numbers are varints. */
export type Field = readonly [
  number: number,
  value: string | Uint8Array | number | boolean | { float: number },
];

export function raw(...fields: readonly Field[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const [number, value] of fields) {
    if (typeof value === 'string') writer.tag(number, WireType.LengthDelimited).string(value);
    else if (typeof value === 'number') writer.tag(number, WireType.Varint).uint32(value);
    else if (typeof value === 'boolean') writer.tag(number, WireType.Varint).bool(value);
    else if (value instanceof Uint8Array) writer.tag(number, WireType.LengthDelimited).bytes(value);
    else writer.tag(number, WireType.Bit32).float(value.float);
  }
  return writer.finish();
}

export interface RawMessage {
  readonly numbers: readonly number[];
  /** The only field of that number, as a message. */
  at(...path: readonly number[]): RawMessage;
  all(number: number): readonly RawMessage[];
  readonly text: string;
  readonly bytes: Uint8Array;
  /** The varint in the only field of that number. */
  varint(number: number): number;
}

/** Reads a message by field numbers alone. */
export function readRaw(bytes: Uint8Array): RawMessage {
  const fields: { number: number; value: Uint8Array; varint: number }[] = [];
  const parse = () => {
    if (fields.length > 0) return fields;
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      if (wireType === WireType.LengthDelimited) fields.push({ number, value: reader.bytes(), varint: -1 });
      else if (wireType === WireType.Varint) {
        fields.push({ number, value: new Uint8Array(), varint: reader.uint32() });
      } else fields.push({ number, value: reader.skip(wireType), varint: -1 });
    }
    return fields;
  };
  const only = (number: number) => {
    const found = parse().filter((field) => field.number === number);
    const [field] = found;
    if (!field || found.length > 1) throw new Error(`${found.length} fields have the number ${number}`);
    return field;
  };
  return {
    get numbers() {
      return parse().map((field) => field.number);
    },
    at(...path) {
      const [number, ...rest] = path;
      return number === undefined ? this : readRaw(only(number).value).at(...rest);
    },
    all: (number) =>
      parse()
        .filter((field) => field.number === number)
        .map((field) => readRaw(field.value)),
    get text() {
      return Buffer.from(bytes).toString('utf8');
    },
    bytes,
    varint: (number) => only(number).varint,
  };
}
