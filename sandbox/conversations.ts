// What was sent per conversation, kept to check the next request against. Bounded in number and in bytes.
import { randomUUID } from 'node:crypto';
import { createBoundedMap } from './bounded-map.ts';
import type { RequestCharges, Task } from './wire.ts';

export interface Conversation {
  readonly id: string;
  /** The only bearer that may name this conversation. */
  readonly bearer: string;
  /** Turns begun, this one included. */
  turnCount: number;
  /** What the client sent as tasks at the start of the last turn. */
  before: readonly Task[];
  /** What it holds when it applied every action of the last turn. */
  after: readonly Task[];
  /** `done`: the client must echo `after`. `failed`: the stream ended otherwise, so it may have kept less. */
  lastTurn: 'open' | 'done' | 'failed';
  creditsSpent: number;
  totalTokens: number;
  /** What was charged so far, where a scenario tells. */
  charges: RequestCharges | undefined;
  /** Roughly the memory this conversation takes. */
  bytes: number;
}

export interface Conversations {
  create(bearer: string): Conversation;
  /** Undefined for an unknown id, a forgotten one, and one that another bearer made. */
  find(id: string, bearer: string): Conversation | undefined;
  /** Counts `bytes` more for this conversation and forgets the oldest ones above the limit. */
  grow(conversation: Conversation, bytes: number): void;
  /** Forgets them all. */
  clear(): void;
}

export function createConversations({ keep = 1_000, keepBytes = 64 * 1024 * 1024 } = {}): Conversations {
  const conversations = createBoundedMap<Conversation>(keep);
  let totalBytes = 0;
  return {
    create(bearer) {
      const conversation: Conversation = {
        id: randomUUID(),
        bearer,
        turnCount: 0,
        before: [],
        after: [],
        lastTurn: 'done',
        creditsSpent: 0,
        totalTokens: 0,
        charges: undefined,
        bytes: 0,
      };
      const oldest = conversations.set(conversation.id, conversation);
      totalBytes -= oldest?.bytes ?? 0;
      return conversation;
    },
    find(id, bearer) {
      const conversation = conversations.get(id);
      return conversation?.bearer === bearer ? conversation : undefined;
    },
    grow(conversation, bytes) {
      if (!conversations.get(conversation.id)) return;
      conversation.bytes += bytes;
      totalBytes += bytes;
      while (totalBytes > keepBytes) {
        const oldest = conversations.deleteOldest();
        if (!oldest) return;
        totalBytes -= oldest.bytes;
      }
    },
    clear() {
      while (conversations.deleteOldest());
      totalBytes = 0;
    },
  };
}
