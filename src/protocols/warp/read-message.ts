import {
  create,
  type DescField,
  type DescMessage,
  type Message,
  type MessageShape,
  mergeFromBinary,
  ScalarType,
} from '@bufbuild/protobuf';
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
  readFields(desc, message, bytes, onUnreadable);
  return message;
}

/** Fields are set by name: through reflection it takes three times as long. */
type Target = Message & Record<string, unknown>;

/** What a field is read by. */
interface FieldPlan {
  readonly field: DescField;
  readonly wireType: WireType;
  /** Of a field that holds a message. */
  readonly message: DescMessage | undefined;
  readonly isList: boolean;
}

function readFields(
  desc: DescMessage,
  message: Message,
  bytes: Uint8Array,
  onUnreadable: OnUnreadable,
): void {
  const target = message as Target;
  const plans = plansOf(desc);
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [no, wireType] = reader.tag();
    const plan = plans.get(no);
    const valueStart = reader.pos;
    if (plan) {
      const { field } = plan;
      try {
        if (wireType !== plan.wireType) throw new TypeError(`wire type ${wireType}`);
        if (plan.message) readChild(target, plan, plan.message, reader.bytes(), onUnreadable);
        else if (field.fieldKind === 'map') {
          reader.skip(wireType, no);
          mergeFromBinary(desc, message, bytes.subarray(start, reader.pos));
        } else setValue(target, plan, readScalar(reader, field));
        continue;
      } catch (cause) {
        const name = `${desc.name}.${field.name}`;
        if (needed.has(name)) throw new TypeError(`${name} cannot be read`, { cause });
        onUnreadable(name);
        reader.pos = valueStart;
      }
    }
    message.$unknown ??= [];
    message.$unknown.push({ no, wireType, data: reader.skip(wireType, no) });
  }
}

function readChild(
  target: Target,
  plan: FieldPlan,
  desc: DescMessage,
  bytes: Uint8Array,
  onUnreadable: OnUnreadable,
): void {
  // A field that comes twice is one message in two pieces.
  const known = plan.isList ? undefined : (presentValue(target, plan.field) as Message | undefined);
  const child = known ?? create(desc);
  readFields(desc, child, bytes, known ? () => {} : onUnreadable);
  if (!known) setValue(target, plan, child);
}

function presentValue(target: Target, { oneof, localName }: DescField): unknown {
  if (!oneof) return target[localName];
  const member = target[oneof.localName] as { readonly case: string | undefined; readonly value?: unknown };
  return member.case === localName ? member.value : undefined;
}

function setValue(target: Target, { field: { oneof, localName }, isList }: FieldPlan, value: unknown): void {
  if (isList) (target[localName] as unknown[]).push(value);
  else if (oneof) target[oneof.localName] = { case: localName, value };
  else target[localName] = value;
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

function readScalar(reader: BinaryReader, field: DescField): unknown {
  switch (field.scalar) {
    case ScalarType.STRING:
      return reader.string(true);
    case ScalarType.BYTES:
      return reader.bytes();
    case ScalarType.BOOL:
      return reader.bool();
    case ScalarType.UINT32:
      return reader.uint32();
    case ScalarType.FLOAT:
      return reader.float();
    case ScalarType.DOUBLE:
      return reader.double();
    default:
      throw new TypeError(`no reader for ${field}`);
  }
}

const plansByDesc = new WeakMap<DescMessage, ReadonlyMap<number, FieldPlan>>();

function plansOf(desc: DescMessage): ReadonlyMap<number, FieldPlan> {
  let plans = plansByDesc.get(desc);
  if (!plans) {
    plans = new Map(desc.fields.map((field) => [field.number, planOf(field)]));
    plansByDesc.set(desc, plans);
  }
  return plans;
}

function planOf(field: DescField): FieldPlan {
  const isList = field.fieldKind === 'list';
  const isMessage = field.fieldKind === 'message' || (isList && field.listKind === 'message');
  return { field, wireType: wireTypeOf(field), message: isMessage ? field.message : undefined, isList };
}
