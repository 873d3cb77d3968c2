import { BinaryReader, type BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { ConversationMemory } from '../../core/protocol.ts';
import {
  type AnyMessage,
  Memory,
  Message,
  type MessageOf,
  newMessage,
  type Schema,
  setValue,
  Task,
  TaskContext,
  UsageTotals,
  valueIn,
} from './schema.ts';
import { noTotals } from './usage.ts';
import {
  encoded,
  FieldBudget,
  readMessage,
  writeFields,
  writeMessage,
  writeText,
  writeUnknown,
} from './wire-message.ts';

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

/** A `Memory`, in one go, with the messages as the bytes they are kept as. */
export function encodeMemory(
  conversationId: string,
  tasks: readonly RememberedTask[],
  totals: UsageTotals,
): ConversationMemory {
  return encoded((writer) => {
    writer.tag(1, WireType.Varint).uint32(version);
    writeText(writer, 2, conversationId);
    writeMessage(writer, 3, () => {
      for (const { task, messages } of tasks)
        writeMessage(writer, 1, () => writeTask(writer, task, messages));
    });
    writeMessage(writer, 4, () => writeFields(writer, UsageTotals, totals));
  });
}

/** As its schema has it, but for the messages: they are bytes already. */
function writeTask(writer: BinaryWriter, task: Task, messages: readonly KeptMessage[]): void {
  const { serverData, $unknown, ...before } = task;
  writeFields(writer, Task, before);
  for (const message of messages) writeMessage(writer, 5, () => message.write(writer));
  if (serverData !== undefined) writer.tag(8, WireType.LengthDelimited).bytes(serverData);
  writeUnknown(writer, $unknown);
}

/** Undefined when the bytes are not ours or of another version: the conversation then starts afresh, folded. */
export function decodeMemory(bytes: ConversationMemory): Remembered | undefined {
  try {
    const memory = readMessage(Memory, bytes, new FieldBudget(notOurs));
    const { conversationId, taskContext, totals = noTotals } = memory;
    if (memory.version !== version || conversationId === '' || !taskContext) return undefined;
    const tasks = readMessage(TaskContext, taskContext).tasks.map((task) => ({
      task,
      messages: task.messages.map(KeptMessage.remembered),
    }));
    return { conversationId, tasks, taskContext, totals };
  } catch {
    return undefined;
  }
}

/** Totals that count as none would make all that the conversation took the next turn's. */
function notOurs(field: string): never {
  throw new TypeError(`${field} cannot be read`);
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
  Message.plans.flatMap(({ number, member }) => (member === undefined ? [] : [[number, member as Kind]])),
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
    return new KeptMessage(bytes, readMessage(Message, bytes, budget));
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
    this.#message ??= readMessage(Message, this.#bytes ?? new Uint8Array());
    return this.#message;
  }

  /** As it came, byte for byte, unless it was changed. */
  write(writer: BinaryWriter): void {
    if (this.#bytes) writer.raw(this.#bytes);
    else writeFields(writer, Message, this.message);
  }

  /** What a copy takes: one of a message that was changed before shares its texts. */
  get bytesToRead(): number {
    return this.#bytes?.length ?? 0;
  }

  /** The message to be changed in place: a copy where the original is still needed. */
  changeable(isOriginalNeeded: boolean): KeptMessage {
    if (!isOriginalNeeded) return this.#bytes ? KeptMessage.of(this.message) : this;
    return KeptMessage.of(this.#bytes ? readMessage(Message, this.#bytes) : copyOf(Message, this.message));
  }
}

/** What is replaced and never changed in place is shared, however long: an answer may have a message copied for each letter. */
function copyOf<Of extends Schema>(schema: Of, message: MessageOf<Of>): MessageOf<Of>;
function copyOf(schema: Schema, message: AnyMessage): AnyMessage {
  const copy = Object.assign(newMessage(schema), message);
  for (const plan of schema.plans) {
    const inner = plan.schema && !plan.isList ? valueIn(copy, plan) : undefined;
    if (plan.schema && inner !== undefined) setValue(copy, plan, copyOf(plan.schema, inner as AnyMessage));
  }
  return copy;
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
