import {
  create,
  type DescField,
  type DescMessage,
  type MessageShape,
  mergeFromBinary,
  ScalarType,
} from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** Called with `Message.field` for each field that was passed over. */
export type OnUnreadable = (field: string) => void;

/** Text, calls and the end: an answer in which one of these cannot be read is not whole. */
const needed = new Set([
  'ResponseEvent.client_actions',
  'ResponseEvent.finished',
  'ClientActions.actions',
  'ClientAction.create_task',
  'ClientAction.add_messages_to_task',
  'ClientAction.update_task_message',
  'ClientAction.append_to_message_content',
  'CreateTask.task',
  'AddMessagesToTask.task_id',
  'AddMessagesToTask.messages',
  'ChangeMessage.message',
  'ChangeMessage.mask',
  'ChangeMessage.task_id',
  'FieldMask.paths',
  'Task.id',
  'Task.messages',
  'Message.id',
  'Message.agent_output',
  'Message.tool_call',
  'AgentOutput.text',
  'ToolCall.call_mcp_tool',
  'CallMcpTool.name',
]);

/**
 * Reads a message of the upstream. A field that cannot be read is kept as the bytes it came as, like one of an unknown
 * number, so that an echo returns it. Throws when the bytes are no message, or a field that is needed cannot be read.
 */
export function readMessage<Desc extends DescMessage>(
  desc: Desc,
  bytes: Uint8Array,
  onUnreadable: OnUnreadable = () => {},
): MessageShape<Desc> {
  const message = create(desc);
  readFields(reflect(desc, message, false), bytes, onUnreadable);
  return message;
}

function readFields(target: ReflectMessage, bytes: Uint8Array, onUnreadable: OnUnreadable): void {
  const { desc } = target;
  const unknown = target.getUnknown() ?? [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [no, wireType] = reader.tag();
    const data = reader.skip(wireType, no);
    const field = fieldsOf(desc).get(no);
    if (!field) {
      unknown.push({ no, wireType, data });
      continue;
    }
    try {
      if (wireType !== wireTypeOf(field)) throw new TypeError(`wire type ${wireType}`);
      if (isMessage(field)) readChild(target, field, new BinaryReader(data).bytes(), onUnreadable);
      else mergeFromBinary(desc, target.message, bytes.subarray(start, reader.pos));
    } catch (cause) {
      const name = `${desc.name}.${field.name}`;
      if (needed.has(name)) throw new TypeError(`${name} cannot be read`, { cause });
      unknown.push({ no, wireType, data });
      onUnreadable(name);
    }
  }
  if (unknown.length > 0) target.setUnknown(unknown);
}

type MessageField = DescField & { readonly message: DescMessage };

function readChild(
  target: ReflectMessage,
  field: MessageField,
  bytes: Uint8Array,
  onUnreadable: OnUnreadable,
): void {
  const child = reflect(field.message, create(field.message), false);
  readFields(child, bytes, onUnreadable);
  if (field.fieldKind === 'list') target.get(field).add(child);
  // A field that comes twice is one message in two pieces.
  else if (target.isSet(field)) readFields(target.get(field) as ReflectMessage, bytes, () => {});
  else target.set(field, child);
}

function isMessage(field: DescField): field is MessageField {
  return field.fieldKind === 'message' || (field.fieldKind === 'list' && field.listKind === 'message');
}

function wireTypeOf(field: DescField): WireType {
  if (field.fieldKind === 'enum') return WireType.Varint;
  switch (field.scalar) {
    case ScalarType.BOOL:
    case ScalarType.UINT32:
      return WireType.Varint;
    case ScalarType.FLOAT:
      return WireType.Bit32;
    case ScalarType.DOUBLE:
      return WireType.Bit64;
    default:
      return WireType.LengthDelimited;
  }
}

const fieldTables = new WeakMap<DescMessage, ReadonlyMap<number, DescField>>();

function fieldsOf(desc: DescMessage): ReadonlyMap<number, DescField> {
  let table = fieldTables.get(desc);
  if (!table) {
    table = new Map(desc.fields.map((field) => [field.number, field]));
    fieldTables.set(desc, table);
  }
  return table;
}
