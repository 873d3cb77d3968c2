import { createHash, createHmac, type Hash, randomBytes } from 'node:crypto';
import type { ConversationMemory } from '../core/protocol.ts';
import type { AnyImage, AskedMessage, AskedRequest } from '../core/turn.ts';
import type { Keep } from './keep/keep.ts';

/** A conversation as its next turn finds it. */
export interface Conversation {
  /** The account that carries it, when it is remembered. */
  readonly accountId: string | undefined;
  /**
   * Takes the memory for a turn on that account. Undefined when another turn was faster: its answer changed the
   * conversation upstream, so this one has to tell its history anew.
   */
  claim(): Promise<{ memory: ConversationMemory; newMessages: readonly AskedMessage[] } | undefined>;
  /** Puts back a claimed memory the upstream never got to see. */
  restore(memory: ConversationMemory): Promise<void>;
  /** Keeps what the adapter gave back, under the history as it will be after this answer. */
  remember(accountId: string, answer: AssistantAnswer, memory: ConversationMemory): Promise<void>;
}

export interface AssistantAnswer {
  readonly text: string;
  readonly toolCalls: readonly { readonly id: string; readonly name: string; readonly arguments: string }[];
}

const ttlMs = 24 * 60 * 60_000;

/**
 * Finds a conversation by what the client resends: a hash over client key, model, system, tools and every message up to
 * the last answer. Two conversations with one beginning part ways as soon as their texts do.
 */
export function createConversations(keep: Keep, secret: Uint8Array = randomBytes(32)) {
  function keyOf(hash: Hash): string {
    return createHmac('sha256', secret).update(hash.digest()).digest('base64url');
  }

  return {
    async find(clientId: string, provider: string, request: AskedRequest): Promise<Conversation> {
      const { messages } = request;
      const lastAnswer = messages.findLastIndex((message) => message.role === 'assistant');
      const running = createHash('sha256');
      addPart(running, JSON.stringify([clientId, provider, request.model, request.tools]));
      for (const message of messages.slice(0, lastAnswer + 1)) addMessage(running, message);
      const keyBefore = lastAnswer === -1 ? undefined : keyOf(running.copy());
      const newMessages = messages.slice(lastAnswer + 1);
      for (const message of newMessages) addMessage(running, message);
      const found = keyBefore === undefined ? undefined : await keep.get(keyBefore);

      return {
        accountId: found && unpack(found).accountId,
        async claim() {
          const claimed = keyBefore === undefined ? undefined : await keep.claim(keyBefore);
          return claimed && { memory: unpack(claimed).memory, newMessages };
        },
        async restore(memory) {
          if (keyBefore === undefined || !found) return;
          await keep.put(keyBefore, pack(unpack(found).accountId, memory), ttlMs);
        },
        async remember(accountId, answer, memory) {
          const after = running.copy();
          addMessage(after, {
            role: 'assistant',
            parts: [
              { type: 'text', text: answer.text },
              ...answer.toolCalls.map((call) => ({ type: 'tool-call' as const, ...call })),
            ],
          });
          await keep.put(keyOf(after), pack(accountId, memory), ttlMs);
        },
      };
    },
  };
}

export type Conversations = ReturnType<typeof createConversations>;

/** What clients change on the way is left out: reasoning, empty parts, white space around an answer, spacing of JSON. */
function addMessage(hash: Hash, message: AskedMessage): void {
  const parts: unknown[] = [];
  let text = '';
  for (const part of message.parts) {
    if (part.type === 'text') text += part.text;
    else if (part.type === 'image' || part.type === 'image-url') parts.push(imageMark(part));
    else if (part.type === 'tool-call')
      parts.push(['call', part.id, part.name, canonicalJson(part.arguments)]);
    else if (part.type === 'tool-result') {
      const images = (part.images ?? []).map(imageMark);
      parts.push(['result', part.callId, part.text, part.isError, images]);
    }
  }
  addPart(hash, JSON.stringify([message.role, message.role === 'assistant' ? text.trim() : text, parts]));
}

/** An address stands for its image: the picture may change or go, the client still means the same conversation. */
function imageMark(image: AnyImage): readonly string[] {
  return image.type === 'image' ? ['image', image.mediaType, image.data] : ['image-url', image.url];
}

/** The length in front keeps two parts from reading like one. */
function addPart(hash: Hash, part: string): void {
  hash.update(`${part.length}:`).update(part);
}

function canonicalJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    // A model may write arguments that are no JSON; then the text itself is compared.
    return text;
  }
}

/** Two bytes with the length of the account's id, the id, the memory. */
function pack(accountId: string, memory: Uint8Array): Uint8Array {
  const idLength = Buffer.byteLength(accountId);
  const packed = Buffer.allocUnsafeSlow(2 + idLength + memory.length);
  packed.writeUInt16BE(idLength);
  packed.write(accountId, 2);
  packed.set(memory, 2 + idLength);
  return packed;
}

function unpack(value: Uint8Array): { accountId: string; memory: Uint8Array } {
  const packed = Buffer.from(value.buffer, value.byteOffset, value.length);
  const memoryStart = 2 + packed.readUInt16BE();
  return { accountId: packed.toString('utf8', 2, memoryStart), memory: value.subarray(memoryStart) };
}
