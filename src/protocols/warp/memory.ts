import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { ConversationMemory } from '../../core/protocol.ts';
import { type ChargeTotals, noCharges } from './charges.ts';
import { MemorySchema, type Task, TaskContextSchema, TaskSchema } from './gen/warp_pb.js';
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

/** Of a conversation that begins. */
export const noTotals: UsageTotals = { totalTokens: 0, credits: 0, charges: noCharges };

export function encodeMemory(
  conversationId: string,
  tasks: readonly RememberedTask[],
  { totalTokens, credits, charges }: UsageTotals,
): ConversationMemory {
  return toBinary(
    MemorySchema,
    create(MemorySchema, {
      version,
      conversationId,
      taskContext: encodeTasks(tasks),
      totals: { totalTokens, credits, ...(charges && { charges }) },
    }),
  );
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

const taskField = 1;
const messageField = 5;

/** A TaskContext, whose messages are the bytes they came as. */
function encodeTasks(tasks: readonly RememberedTask[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const { task, messages } of tasks) {
    writer.tag(taskField, WireType.LengthDelimited).fork();
    writer.raw(toBinary(TaskSchema, { ...task, messages: [] }));
    for (const message of messages)
      writer.tag(messageField, WireType.LengthDelimited).bytes(message.encoded());
    writer.join();
  }
  return writer.finish();
}
