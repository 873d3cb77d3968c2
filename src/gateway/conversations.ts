import { createHash, type Hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { ConversationMemory } from '../core/protocol.ts';
import type { AnyImage, AskedMessage, AskedRequest, ToolCall } from '../core/turn.ts';
import { ownTurn } from '../lib/own-turn.ts';
import { parseJson } from '../lib/parse-json.ts';
import type { StateStore } from './state/state-store.ts';

/**
 * How a turn met its conversation: `new` is a first turn; `hit` went on where the last one ended; `miss` brought a
 * history of which nothing was kept; `claimed` one that another turn had taken up before; `lost` one that was kept, but
 * whose account did not carry the turn, or whose upstream knew it no longer. All but `hit` tell the upstream the history anew.
 */
export type ConversationResult = 'new' | 'hit' | 'miss' | 'claimed' | 'lost';

/** A conversation as its next turn finds it. What was kept is this turn's alone, until `end`. */
export interface Conversation {
  /** The account that carries it, when it is remembered. */
  readonly accountId: string | undefined;
  /** Takes the memory for an attempt on that account; undefined when it has to tell the history anew. */
  goOn(accountId: string): { memory: ConversationMemory; newMessages: readonly AskedMessage[] } | undefined;
  /** The memory that was taken last never reached the upstream. */
  restore(): void;
  /**
   * The upstream has refused a turn that went on from the memory; it may know the conversation no longer. From now on the
   * history is told. False when no attempt went on from it, or that was done before.
   */
  beginAnew(): boolean;
  /** Keeps what the adapter gave back, under the history as it will be after this answer. */
  remember(accountId: string, answer: AssistantAnswer, memory: ConversationMemory): void;
  /** Puts back what was not used. Call once, when the turn is over. */
  end(): ConversationResult;
}

export interface AssistantAnswer {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
}

const ttlMs = 24 * 60 * 60_000;
/** Histories that were taken up lately, to tell those apart of which nothing was kept. */
const mostTaken = 2_000;
/** Longer arguments are not parsed; their text itself is compared. */
const longestReadArguments = 1024 * 1024;
/** Characters that are hashed in one turn of the event loop, plus at most one message. */
const longestStep = 4 * 1024 * 1024;

/**
 * Finds a conversation by what the client resends: a hash over client key, model, system, tools and every message up to
 * the last answer. Two conversations with one beginning part ways as soon as their texts do. A keep that fails costs a
 * turn the folding, no more; it counts its failures itself.
 */
export function createConversations(store: StateStore) {
  const taken = new LRUCache<string, true>({ max: mostTaken });

  async function claim(key: string): Promise<Remembered | undefined> {
    try {
      const found = await store.claim(key);
      return found && unpack(found);
    } catch {
      return undefined;
    }
  }

  function put(clientId: string, key: string, { accountId, memory }: Remembered): void {
    store.put(key, pack(accountId, memory), ttlMs, { clientId, isShortLived: true }).catch(() => {});
  }

  return {
    /** `bytes`: about how many the request has. */
    async find(clientId: string, provider: string, request: AskedRequest, bytes = 0): Promise<Conversation> {
      const { messages, resentCall = (call: ToolCall) => call } = request;
      const lastAnswer = messages.findLastIndex((message) => message.role === 'assistant');
      const running = createHash('sha256');
      await ownTurn(bytes);
      addPart(running, JSON.stringify([clientId, provider, request.model, request.tools]));
      await addMessages(running, messages.slice(0, lastAnswer + 1));
      const keyBefore = lastAnswer === -1 ? undefined : keyOf(running.copy());
      const newMessages = messages.slice(lastAnswer + 1);
      await addMessages(running, newMessages);
      const found = keyBefore === undefined ? undefined : await claim(keyBefore);
      const wasTaken = keyBefore !== undefined && taken.get(keyBefore) === true;
      if (keyBefore !== undefined && found) taken.set(keyBefore, true);
      let isUsed = false;
      let didGoOn = false;
      let wasTried = false;
      let isAnew = false;
      let isReplaced = false;

      return {
        accountId: found?.accountId,
        goOn(accountId) {
          didGoOn = found !== undefined && !isUsed && !isAnew && accountId === found.accountId;
          if (!found || !didGoOn) return undefined;
          isUsed = true;
          wasTried = true;
          return { memory: found.memory, newMessages };
        },
        restore() {
          isUsed = false;
          didGoOn = false;
        },
        beginAnew() {
          if (!wasTried || isAnew) return false;
          isAnew = true;
          return true;
        },
        remember(accountId, answer, memory) {
          isReplaced = isAnew;
          const after = running.copy();
          addMessage(after, {
            role: 'assistant',
            parts: [
              { type: 'text', text: answer.text },
              ...answer.toolCalls.map((call) => ({ type: 'tool-call' as const, ...resentCall(call) })),
            ],
          });
          put(clientId, keyOf(after), { accountId, memory });
        },
        end() {
          if (keyBefore === undefined) return 'new';
          if (!found) return wasTaken ? 'claimed' : 'miss';
          if (!isUsed && !isReplaced) {
            // For the client that sends the same history again, with another question or after an error.
            taken.delete(keyBefore);
            put(clientId, keyBefore, found);
          }
          return didGoOn ? 'hit' : 'lost';
        },
      };
    },
  };
}

interface Remembered {
  readonly accountId: string;
  readonly memory: Uint8Array;
}

/** The digest is secret: nobody knows it who does not know the client's key and what was said. */
function keyOf(hash: Hash): string {
  return `conversation:${hash.digest('base64url')}`;
}

export type Conversations = ReturnType<typeof createConversations>;

async function addMessages(hash: Hash, messages: readonly AskedMessage[]): Promise<void> {
  let length = 0;
  for (const message of messages) {
    length += addMessage(hash, message);
    if (length < longestStep) continue;
    await ownTurn(length);
    length = 0;
  }
}

/**
 * What clients change on the way is left out: reasoning, empty parts, white space around an answer, spacing of JSON. Returns
 * the characters hashed.
 */
function addMessage(hash: Hash, message: AskedMessage): number {
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
  return addPart(
    hash,
    JSON.stringify([message.role, message.role === 'assistant' ? text.trim() : text, parts]),
  );
}

/** An address stands for its image: the picture may change or go, the client still means the same conversation. */
function imageMark(image: AnyImage): readonly string[] {
  return image.type === 'image' ? ['image', image.mediaType, image.data] : ['image-url', image.url];
}

/** The length in front keeps two parts from reading like one. */
function addPart(hash: Hash, part: string): number {
  hash.update(`${part.length}:`).update(part);
  return part.length;
}

function canonicalJson(text: string): string {
  const value = text.length > longestReadArguments ? undefined : parseJson(text);
  // A model may write arguments that are no JSON; then the text itself is compared.
  return value === undefined ? text : JSON.stringify(value);
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

function unpack(value: Uint8Array): Remembered {
  const packed = Buffer.from(value.buffer, value.byteOffset, value.length);
  const memoryStart = 2 + packed.readUInt16BE();
  return { accountId: packed.toString('utf8', 2, memoryStart), memory: value.subarray(memoryStart) };
}
