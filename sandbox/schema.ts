// The only place that turns the sandbox's messages into bytes and back. Scenarios write them as plain objects, in the shapes of
// wire.ts: an absent or default-valued field is absent, the member of a oneof is a field like others.
import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type Message,
  type MessageShape,
  ScalarType,
  toBinary,
  type UnknownField,
} from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { RequestSchema, ResponseEventSchema, TaskSchema } from './gen/wire_pb.js';
import type { ResponseEvent, Task, WarpRequest, WithUnknowns } from './wire.ts';

type Fields = Record<string, unknown>;
type Plain = WithUnknowns & Fields;

/** As deep as servers written in Go read: a JSON schema takes three messages for each of its levels. */
const recursionLimit = 10_000;

/** Reads a chat request. Absent and default-valued fields are absent in the result; unknown fields are kept.
 *  Throws when the bytes are no such message. */
export function decodeRequest(bytes: Uint8Array): WarpRequest {
  return plainOf(RequestSchema, fromBinary(RequestSchema, bytes, { recursionLimit }));
}

/** One ResponseEvent as protobuf bytes. */
export function encodeEvent(event: ResponseEvent): Buffer {
  return Buffer.from(toBinary(ResponseEventSchema, messageOf(ResponseEventSchema, event)));
}

/** A task in the form `decodeRequest` gives, so that what was sent and what came back compare field by field. */
export function normaliseTask(task: Task): Task {
  return plainOf(TaskSchema, messageOf(TaskSchema, task));
}

/** One length-delimited field as raw bytes, for messages the schema does not know. */
export function rawField(fieldNumber: number, content: string | Uint8Array): Uint8Array {
  const writer = new BinaryWriter().tag(fieldNumber, WireType.LengthDelimited);
  return (typeof content === 'string' ? writer.string(content) : writer.bytes(content)).finish();
}

/** One varint field as raw bytes. */
export function rawVarint(fieldNumber: number, value: number): Uint8Array {
  return new BinaryWriter().tag(fieldNumber, WireType.Varint).uint32(value).finish();
}

function messageOf<Desc extends DescMessage>(desc: Desc, plain: object): MessageShape<Desc> {
  const message = create(desc);
  const target: Message & Fields = message;
  const { $unknowns = [], ...values } = plain as Plain;
  for (const [name, value] of Object.entries(values)) {
    const field = desc.field[name];
    if (field === undefined || value === undefined) continue;
    const given = mapped(field, value, (item) => {
      if (field.message) return messageOf(field.message, item as object);
      return field.scalar === ScalarType.INT64 ? BigInt(item as number) : item;
    });
    if (field.oneof) target[field.oneof.localName] = { case: name, value: given };
    else target[name] = given;
  }
  if ($unknowns.length > 0) target.$unknown = $unknowns.map(unknownField);
  return message;
}

function plainOf(desc: DescMessage, message: Message): Plain {
  const source: Message & Fields = message;
  const plain: Plain = {};
  for (const field of desc.fields) {
    const chosen = field.oneof && (source[field.oneof.localName] as { case?: string; value?: unknown });
    if (chosen && chosen.case !== field.localName) continue;
    const value = chosen ? chosen.value : source[field.localName];
    if (value === undefined || (!chosen && isDefault(value))) continue;
    plain[field.localName] = mapped(field, value, (item) => {
      if (field.message) return plainOf(field.message, item as Message);
      if (item instanceof Uint8Array) return Buffer.from(item);
      return typeof item === 'bigint' ? Number(item) : item;
    });
  }
  if (source.$unknown) {
    // Sorted: the order in which unknown fields are written back carries no meaning.
    plain.$unknowns = source.$unknown.map(unknownBytes).sort(Buffer.compare);
  }
  return plain;
}

/** Proto3 does not tell such a value from an absent one. */
function isDefault(value: unknown): boolean {
  if (value instanceof Uint8Array) return value.length === 0;
  // A list or a map; a message has its name at least.
  return typeof value === 'object' && value !== null ? Object.keys(value).length === 0 : !value;
}

/** A value of a field with each of its items changed. */
function mapped(field: DescField, value: unknown, change: (item: unknown) => unknown): unknown {
  if (field.fieldKind === 'list') return (value as unknown[]).map(change);
  if (field.fieldKind !== 'map') return change(value);
  return Object.fromEntries(Object.entries(value as Fields).map(([key, item]) => [key, change(item)]));
}

function unknownField(bytes: Uint8Array): UnknownField {
  const reader = new BinaryReader(bytes);
  const [no, wireType] = reader.tag();
  return { no, wireType, data: bytes.subarray(reader.pos) };
}

function unknownBytes({ no, wireType, data }: UnknownField): Buffer {
  return Buffer.from(new BinaryWriter().tag(no, wireType).raw(data).finish());
}
