import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { ConversationMemory } from '../../core/protocol.ts';
import { type ChargeTotals, noCharges } from './charges.ts';
import { MemorySchema, type Task, TaskContextSchema, TaskSchema, UsageTotalsSchema } from './gen/warp_pb.js';
import { KeptMessage } from './kept-message.ts';
import { readMessage } from './read-message.ts';

/** The upstream's running totals of a conversation, as of its last turn. */
export interface UsageTotals {
  readonly totalTokens: number;
  readonly credits: number;
  /** Undefined when no earlier turn told them, so that nothing can be said of their growth. */
  readonly charges: ChargeTotals | undefined;
}

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

/** Of a conversation that begins. */
export const noTotals: UsageTotals = { totalTokens: 0, credits: 0, charges: noCharges };

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
