import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { ConversationMemory } from '../../core/protocol.ts';
import { MemorySchema, type Task, TaskContextSchema } from './gen/warp_pb.js';

/** The upstream's running totals of a conversation, as of its last turn. */
export interface UsageTotals {
  readonly inputTokens: number;
  readonly totalTokens: number;
  readonly credits: number;
}

/** What a conversation carries from one turn to the next. */
export interface Remembered {
  readonly conversationId: string;
  readonly tasks: readonly Task[];
  /** The same tasks as an encoded TaskContext. */
  readonly taskContext: Uint8Array;
  readonly totals: UsageTotals;
}

const version = 1;

export const noTotals: UsageTotals = { inputTokens: 0, totalTokens: 0, credits: 0 };

export function encodeMemory(conversationId: string, tasks: Task[], totals: UsageTotals): ConversationMemory {
  return toBinary(
    MemorySchema,
    create(MemorySchema, {
      version,
      conversationId,
      taskContext: toBinary(TaskContextSchema, create(TaskContextSchema, { tasks })),
      totals,
    }),
  );
}

/** Undefined when the bytes are not ours or of another version: the conversation then starts afresh, folded. */
export function decodeMemory(bytes: ConversationMemory): Remembered | undefined {
  try {
    const memory = fromBinary(MemorySchema, bytes);
    if (memory.version !== version || memory.conversationId === '') return undefined;
    const { tasks } = fromBinary(TaskContextSchema, memory.taskContext);
    const { conversationId, taskContext, totals } = memory;
    return { conversationId, tasks, taskContext, totals: totals ?? noTotals };
  } catch {
    return undefined;
  }
}
