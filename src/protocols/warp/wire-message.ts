import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  type AnyMessage,
  type FieldPlan,
  type MessageOf,
  newMessage,
  type Schema,
  setValue,
  valueIn,
} from './schema.ts';

/** Called with `Message.field` for each field that was passed over. */
type OnUnreadable = (field: string) => void;

/** Of one event: as many as an echo of ten thousand messages has. */
const mostFieldsOfEvent = 250_000;
const mostFieldsOfAnswer = 2_000_000;
/** Each costs a caught error. One for each message of such an echo, and of every event of a long answer, is a field that has changed. */
const mostUnreadableOfEvent = 10_000;
const mostUnreadableOfAnswer = 100_000;
/** What is read of one answer. Fields of two bytes each could otherwise keep one event in work for many seconds. */
export class FieldBudget {
  readonly #onUnreadable: OnUnreadable;
  #fieldsOfEvent = 0;
  #fieldsOfAnswer = 0;
  #unreadableOfEvent = 0;
  #unreadableOfAnswer = 0;

  constructor(onUnreadable: OnUnreadable = () => {}) {
    this.#onUnreadable = onUnreadable;
  }

  beginEvent(): void {
    this.#fieldsOfEvent = 0;
    this.#unreadableOfEvent = 0;
  }

  spend(fields: number): void {
    this.#fieldsOfEvent += fields;
    this.#fieldsOfAnswer += fields;
    if (this.#fieldsOfEvent > mostFieldsOfEvent) throw new TooManyFields('an event has too many fields');
    if (this.#fieldsOfAnswer > mostFieldsOfAnswer) throw new TooManyFields('the answer has too many fields');
  }

  passOver(field: string): void {
    this.#unreadableOfEvent += 1;
    this.#unreadableOfAnswer += 1;
    if (
      this.#unreadableOfEvent > mostUnreadableOfEvent ||
      this.#unreadableOfAnswer > mostUnreadableOfAnswer
    ) {
      throw new TooManyFields('the answer has too many fields that cannot be read');
    }
    this.#onUnreadable(field);
  }
}

/** The whole answer is refused for it, never one field passed over. */
export class TooManyFields extends RangeError {}

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
 * number, so that an echo returns it. Throws when the bytes are no message, a field that is needed cannot be read, or
 * there are too many.
 */
export function readMessage<Of extends Schema>(
  schema: Of,
  bytes: Uint8Array,
  budget: FieldBudget = new FieldBudget(),
): MessageOf<Of> {
  const message = newMessage(schema);
  // One reader goes through all within it: another one for each message costs more than reading does.
  readFields(schema, message, new MessageReader(bytes), budget);
  return message as MessageOf<Of>;
}

/** Its end is that of the message it is in, so that nothing reads, decodes or skips beyond that. */
class MessageReader extends BinaryReader {
  declare len: number;
}

function readFields(schema: Schema, message: AnyMessage, reader: MessageReader, budget: FieldBudget): void {
  const end = reader.len;
  while (reader.pos < end) {
    budget.spend(1);
    const [number, wireType] = reader.tag();
    const plan = schema.byNumber[number];
    const valueStart = reader.pos;
    if (plan) {
      try {
        if (wireType !== plan.wireType) throw new TypeError(`wire type ${wireType}`);
        readField(message, plan, reader, budget);
        continue;
      } catch (cause) {
        if (cause instanceof TooManyFields) throw cause;
        const name = `${schema.name}.${plan.name}`;
        if (needed.has(name)) throw new TypeError(`${name} cannot be read`, { cause });
        budget.passOver(name);
        reader.pos = valueStart;
      }
    }
    const unknown = { number, wireType, data: reader.skip(wireType, number) };
    message.$unknown ??= [];
    message.$unknown.push(unknown);
  }
  // Figures of a fixed size are read without a look at the end.
  if (reader.pos > end) throw new RangeError('premature EOF');
}

function readField(message: AnyMessage, plan: FieldPlan, reader: MessageReader, budget: FieldBudget): void {
  if (plan.isList) {
    const value = plan.schema
      ? readChild(plan.schema, newMessage(plan.schema), reader, budget)
      : readScalar(reader, plan.kind);
    const list = message[plan.property] as unknown[];
    // All empty lists are one.
    if (list.length === 0) message[plan.property] = [value];
    else list.push(value);
  } else if (plan.schema) {
    // A field that comes twice is one message in two pieces.
    const known = valueIn(message, plan) as AnyMessage | undefined;
    setValue(message, plan, readChild(plan.schema, known ?? newMessage(plan.schema), reader, budget));
  } else setValue(message, plan, readScalar(reader, plan.kind));
}

function readChild(
  schema: Schema,
  child: AnyMessage,
  reader: MessageReader,
  budget: FieldBudget,
): AnyMessage {
  const length = reader.uint32();
  const end = reader.len;
  const childEnd = reader.pos + length;
  if (childEnd > end) throw new RangeError('a field is longer than the message around it');
  reader.len = childEnd;
  try {
    readFields(schema, child, reader, budget);
  } finally {
    reader.len = end;
  }
  return child;
}

function readScalar(reader: BinaryReader, kind: FieldPlan['kind']): unknown {
  switch (kind) {
    case 'text':
      return reader.string(true);
    case 'flag':
      return reader.bool();
    case 'count':
      return reader.uint32();
    case 'float':
      return reader.float();
    case 'double':
      return reader.double();
    default:
      return reader.bytes();
  }
}

/** One string append, as it makes up nearly every event of an answer. */
export interface StringAppend {
  readonly taskId: string;
  readonly messageId: string;
  readonly isReasoning: boolean;
  readonly delta: string;
}

const textPath = 'agent_output.text';
const reasoningPath = 'agent_reasoning.reasoning';

/**
 * Reads a ResponseEvent that is exactly one append to `agent_output.text` or `agent_reasoning.reasoning`; undefined
 * for anything else, broken bytes included, which the full decoder then judges. Much cheaper than that decoder.
 * `last`: the one before, mostly of the same message.
 */
export function readAppend(bytes: Buffer, last?: StringAppend): StringAppend | undefined {
  const reader = new Cursor(bytes);
  // ResponseEvent.client_actions, ClientActions.actions, ClientAction.append_to_message_content: one of each.
  if (!reader.enterWhole(0x12) || !reader.enterWhole(0x0a) || !reader.enterWhole(0x2a)) return undefined;

  let taskId = '';
  let path = '';
  let messageId = '';
  let text: string | undefined;
  let reasoning: string | undefined;
  const end = bytes.length;
  while (reader.position < end) {
    const tag = reader.varint();
    const fieldEnd = reader.fieldEnd(end);
    if (fieldEnd < 0) return undefined;
    if (tag === 0x1a) taskId = reader.text(fieldEnd, last?.taskId);
    else if (tag === 0x12) {
      if (path !== '' || reader.varint() !== 0x0a) return undefined;
      if (reader.fieldEnd(fieldEnd) !== fieldEnd) return undefined;
      path = reader.text(fieldEnd, textPath);
    } else if (tag === 0x0a) {
      while (reader.position < fieldEnd) {
        const memberTag = reader.varint();
        if (memberTag === 0x0a) {
          const idEnd = reader.fieldEnd(fieldEnd);
          if (idEnd < 0) return undefined;
          messageId = reader.text(idEnd, last?.messageId);
        } else if (memberTag === 0x1a || memberTag === 0x7a) {
          const value = reader.onlyString(fieldEnd);
          if (value === undefined) return undefined;
          if (memberTag === 0x1a) text = value;
          else reasoning = value;
        } else if ((memberTag & 7) === 2) {
          const memberEnd = reader.fieldEnd(fieldEnd);
          if (memberEnd < 0) return undefined;
          reader.position = memberEnd;
        } else return undefined;
      }
      if (reader.position !== fieldEnd) return undefined;
    } else return undefined;
  }
  const [delta, other] = path === textPath ? [text, reasoning] : [reasoning, text];
  if (delta === undefined || other !== undefined || (path !== textPath && path !== reasoningPath))
    return undefined;
  return { taskId, messageId, isReasoning: path === reasoningPath, delta };
}

class Cursor {
  readonly #bytes: Buffer;
  position = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** An unsigned varint of at most 28 bits, which is longer than any event may be; -1 for anything else. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#bytes[this.position++];
      if (byte === undefined) return -1;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return -1;
  }

  /** Steps into a length-delimited field that fills all that is left. */
  enterWhole(tag: number): boolean {
    return this.varint() === tag && this.fieldEnd(this.#bytes.length) === this.#bytes.length;
  }

  /** Reads a length; where the field ends, or -1 when it reaches beyond `limit`. */
  fieldEnd(limit: number): number {
    const length = this.varint();
    const end = this.position + length;
    return length < 0 || end > limit ? -1 : end;
  }

  /** `likely`: mostly it is that again, and comparing is cheaper than making and hashing another one. */
  text(end: number, likely = ''): string {
    const start = this.position;
    this.position = end;
    return isAscii(likely, this.#bytes, start, end) ? likely : this.#bytes.toString('utf8', start, end);
  }

  /** A length-delimited message whose only field is string 1. */
  onlyString(limit: number): string | undefined {
    const end = this.fieldEnd(limit);
    if (end < 0 || this.varint() !== 0x0a || this.fieldEnd(end) !== end) return undefined;
    return this.text(end);
  }
}

/** From the end, where ids differ first. */
function isAscii(text: string, bytes: Buffer, start: number, end: number): boolean {
  let index = end - start;
  if (index !== text.length) return false;
  for (; index > 0; index -= 1) {
    const code = text.charCodeAt(index - 1);
    if (code > 0x7f || code !== bytes[start + index - 1]) return false;
  }
  return true;
}

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
