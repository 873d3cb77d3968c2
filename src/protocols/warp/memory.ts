import { clone, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryReader, type BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { ConversationMemory } from '../../core/protocol.ts';
import { encoded, writeMessage, writeText } from './encoded.ts';
import {
  MemorySchema,
  type Message,
  MessageSchema,
  type Task,
  TaskContextSchema,
  TaskDependenciesSchema,
} from './gen/warp_pb.js';
import { type FieldBudget, readMessage } from './read-message.ts';
import { noTotals, type UsageTotals } from './usage.ts';

export interface RememberedTask {
  /** Its own fields. */
  readonly task: Task;
  readonly messages: readonly KeptMessage[];
}

/** What a conversation carries from one turn to the next. */
export interface Remembered {
  readonly conversationId: string;
  readonly tasks: readonly RememberedTask[];
  /** The same tasks as an encoded TaskContext. */
  readonly taskContext: Uint8Array;
  readonly totals: UsageTotals;
}

const version = 1;

/** A `Memory` of warp.proto. Written by hand, in one go: by way of the schemas it takes several times as long, on every turn. */
export function encodeMemory(
  conversationId: string,
  tasks: readonly RememberedTask[],
  { totalTokens, credits, charges }: UsageTotals,
): ConversationMemory {
  return encoded((writer) => {
    writer.tag(1, WireType.Varint).uint32(version);
    writeText(writer, 2, conversationId);
    writeMessage(writer, 3, () => {
      for (const task of tasks) writeMessage(writer, 1, () => writeTask(writer, task));
    });
    writeMessage(writer, 4, () => {
      if (totalTokens !== 0) writer.tag(2, WireType.Varint).uint32(totalTokens);
      writeFigure(writer, 3, credits);
      if (!charges) return;
      const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, costCents } = charges;
      writeMessage(writer, 4, () => {
        [inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, costCents].forEach((figure, index) => {
          writeFigure(writer, index + 1, figure);
        });
      });
    });
  });
}

/** Left out when it is 0. */
function writeFigure(writer: BinaryWriter, field: number, figure: number): void {
  if (figure !== 0) writer.tag(field, WireType.Bit64).double(figure);
}

function writeTask(writer: BinaryWriter, { task, messages }: RememberedTask): void {
  const { id, description, dependencies, serverData, $unknown } = task;
  if (id !== undefined) writer.tag(1, WireType.LengthDelimited).string(id);
  if (description !== undefined) writer.tag(2, WireType.LengthDelimited).string(description);
  if (dependencies)
    writer.tag(3, WireType.LengthDelimited).bytes(toBinary(TaskDependenciesSchema, dependencies));
  for (const message of messages) writeMessage(writer, 5, () => message.write(writer));
  if (serverData !== undefined) writer.tag(8, WireType.LengthDelimited).bytes(serverData);
  writeUnknown(writer, $unknown);
}

/** Undefined when the bytes are not ours or of another version: the conversation then starts afresh, folded. */
export function decodeMemory(bytes: ConversationMemory): Remembered | undefined {
  try {
    const memory = fromBinary(MemorySchema, bytes);
    if (memory.version !== version || memory.conversationId === '') return undefined;
    const tasks = readMessage(TaskContextSchema, memory.taskContext).tasks.map((task) => ({
      task,
      messages: task.messages.map(KeptMessage.remembered),
    }));
    const { conversationId, taskContext, totals } = memory;
    const { totalTokens, credits, charges } = totals ?? noTotals;
    return { conversationId, tasks, taskContext, totals: { totalTokens, credits, charges } };
  } catch {
    return undefined;
  }
}

type Kind = Message['message']['case'];

interface Glance {
  readonly id: string;
  readonly kind: Kind;
  readonly callId: string;
}

const idField = 1;
/** Of a call, and of the result of one. */
const callIdField = 1;
const kindOf = new Map<number, Kind>(
  MessageSchema.fields.flatMap(({ number, localName, oneof }) =>
    oneof ? [[number, localName as Kind]] : [],
  ),
);

/** A message of a task: the bytes it came as until it is changed, and what they say once something asks. */
export class KeptMessage {
  readonly #bytes: Uint8Array | undefined;
  #message: Message | undefined;
  readonly #glance: Glance | undefined;

  private constructor(bytes: Uint8Array | undefined, message?: Message, glance?: Glance) {
    this.#bytes = bytes;
    this.#message = message;
    this.#glance = glance;
  }

  /** Throws when a field that is needed cannot be read. */
  static read(bytes: Uint8Array, budget: FieldBudget): KeptMessage {
    return new KeptMessage(bytes, readMessage(MessageSchema, bytes, budget));
  }

  /** A message that was read before, in an earlier turn: a glance at its id and kind is nearly always all it takes. */
  static remembered(bytes: Uint8Array): KeptMessage {
    return new KeptMessage(bytes, undefined, glanceAt(bytes));
  }

  static of(message: Message): KeptMessage {
    return new KeptMessage(undefined, message);
  }

  get id(): string {
    return (this.#message ? this.#message.id : this.#glance?.id) ?? '';
  }

  get kind(): Kind {
    return this.#message ? this.#message.message.case : this.#glance?.kind;
  }

  /** Of a call, or of the call that it answers; else empty. */
  get callId(): string {
    const message = this.#message?.message;
    if (!message) return this.#glance?.callId ?? '';
    const isOfCall = message.case === 'toolCall' || message.case === 'toolCallResult';
    return (isOfCall && message.value.toolCallId) || '';
  }

  get message(): Message {
    this.#message ??= readMessage(MessageSchema, this.#bytes ?? new Uint8Array());
    return this.#message;
  }

  /** As it came, byte for byte, unless it was changed. */
  write(writer: BinaryWriter): void {
    if (this.#bytes) writer.raw(this.#bytes);
    else writeChanged(writer, this.message);
  }

  /** The message to be changed in place: a copy where the original is still needed. */
  changeable(isOriginalNeeded: boolean): KeptMessage {
    if (!isOriginalNeeded) return this.#bytes ? KeptMessage.of(this.message) : this;
    return KeptMessage.of(
      this.#bytes ? readMessage(MessageSchema, this.#bytes) : clone(MessageSchema, this.message),
    );
  }
}

/** Text that grew makes up nearly every change: it is written here, and all else by the schema, which needs a buffer of its own. */
function writeChanged(writer: BinaryWriter, message: Message): void {
  const { id, serverMessageData, citations, taskId, requestId, timestamp, message: said } = message;
  if (said.case !== 'agentOutput') {
    writer.raw(toBinary(MessageSchema, message));
    return;
  }
  if (id !== undefined) writer.tag(1, WireType.LengthDelimited).string(id);
  const { text, $unknown } = said.value;
  writeMessage(writer, 3, () => {
    if (text !== undefined) writer.tag(1, WireType.LengthDelimited).string(text);
    writeUnknown(writer, $unknown);
  });
  if (serverMessageData !== undefined) writer.tag(7, WireType.LengthDelimited).string(serverMessageData);
  for (const citation of citations) writer.tag(8, WireType.LengthDelimited).bytes(citation);
  if (taskId !== undefined) writer.tag(11, WireType.LengthDelimited).string(taskId);
  if (requestId !== undefined) writer.tag(13, WireType.LengthDelimited).string(requestId);
  if (timestamp !== undefined) writer.tag(14, WireType.LengthDelimited).bytes(timestamp);
  writeUnknown(writer, message.$unknown);
}

function writeUnknown(writer: BinaryWriter, fields: Message['$unknown'] = []): void {
  for (const { no, wireType, data } of fields) writer.tag(no, wireType).raw(data);
}

function glanceAt(bytes: Uint8Array): Glance {
  const reader = new BinaryReader(bytes);
  let id = '';
  let kind: Kind;
  let callId = '';
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (wireType !== WireType.LengthDelimited) reader.skip(wireType, number);
    else if (number === idField) id = reader.string();
    else {
      const value = reader.bytes();
      const found = kindOf.get(number);
      if (found === undefined) continue;
      kind = found;
      callId = found === 'toolCall' || found === 'toolCallResult' ? callIdIn(value) : '';
    }
  }
  return { id, kind, callId };
}

/** Empty where the bytes cannot be read: such a field is only kept to be sent back. */
function callIdIn(bytes: Uint8Array): string {
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      if (number === callIdField && wireType === WireType.LengthDelimited) return reader.string();
      reader.skip(wireType, number);
    }
  } catch {}
  return '';
}
