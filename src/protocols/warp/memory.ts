import { clone, create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { ConversationMemory } from '../../core/protocol.ts';
import {
  MemorySchema,
  type Message,
  MessageSchema,
  type Task,
  TaskContextSchema,
  TaskSchema,
  UsageTotalsSchema,
} from './gen/warp_pb.js';
import { type OnUnreadable, readMessage } from './read-message.ts';
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
const memoryFields = { version: 1, conversationId: 2, taskContext: 3, totals: 4 } as const;
/** Of TaskContext, and of Task. */
const taskField = 1;
const messageField = 5;

/** Used again for the next memory, since growing a new buffer each time costs more than writing does. */
let spareWriter: BinaryWriter | undefined;
/** A larger buffer is not kept. */
const mostSpareBytes = 256 * 1024;

/** Written by hand, in one go: by way of the schemas it takes several times as long, on every turn. */
export function encodeMemory(
  conversationId: string,
  tasks: readonly RememberedTask[],
  { totalTokens, credits, charges }: UsageTotals,
): ConversationMemory {
  const { LengthDelimited, Varint } = WireType;
  const writer = spareWriter ?? new BinaryWriter();
  spareWriter = undefined;
  const totals = create(UsageTotalsSchema, { totalTokens, credits, ...(charges && { charges }) });
  writer.tag(memoryFields.version, Varint).uint32(version);
  writer.tag(memoryFields.conversationId, LengthDelimited).string(conversationId);
  writer.tag(memoryFields.taskContext, LengthDelimited).fork();
  for (const { task, messages } of tasks) {
    writer.tag(taskField, LengthDelimited).fork().raw(toBinary(TaskSchema, task));
    for (const message of messages) writer.tag(messageField, LengthDelimited).bytes(message.encoded());
    writer.join();
  }
  writer.join();
  writer.tag(memoryFields.totals, LengthDelimited).bytes(toBinary(UsageTotalsSchema, totals));
  const bytes = writer.finish();
  if (bytes.length <= mostSpareBytes) spareWriter = writer;
  return bytes;
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
}

const idField = 1;
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
  static read(bytes: Uint8Array, onUnreadable: OnUnreadable): KeptMessage {
    return new KeptMessage(bytes, readMessage(MessageSchema, bytes, onUnreadable));
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

  get message(): Message {
    this.#message ??= readMessage(MessageSchema, this.#bytes ?? new Uint8Array());
    return this.#message;
  }

  /** As it came, byte for byte, unless it was changed. */
  encoded(): Uint8Array {
    return this.#bytes ?? toBinary(MessageSchema, this.message);
  }

  /** The message to be changed in place: a copy where the original is still needed. */
  changeable(isOriginalNeeded: boolean): KeptMessage {
    if (!isOriginalNeeded) return this.#bytes ? KeptMessage.of(this.message) : this;
    return KeptMessage.of(
      this.#bytes ? readMessage(MessageSchema, this.#bytes) : clone(MessageSchema, this.message),
    );
  }
}

function glanceAt(bytes: Uint8Array): Glance {
  const reader = new BinaryReader(bytes);
  let id = '';
  let kind: Kind;
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === idField && wireType === WireType.LengthDelimited) id = reader.string();
    else {
      if (wireType === WireType.LengthDelimited) kind = kindOf.get(number) ?? kind;
      reader.skip(wireType, number);
    }
  }
  return { id, kind };
}
