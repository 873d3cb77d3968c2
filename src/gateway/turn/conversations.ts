import { createHash, type Hash, hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { CollectedTurn, ConversationMemory } from '../../core/protocol.ts';
import {
  type AnyImage,
  type AskedMessage,
  type AskedRequest,
  type DocumentPart,
  plainTools,
  type ReasoningProof,
  type ToolCall,
} from '../../core/turn.ts';
import { parseJson, parseJsonObject } from '../../lib/parse-json.ts';
import { ownTurn } from '../../lib/process/own-turn.ts';
import type { StateStore } from '../state/state-store.ts';

/**
 * How a turn met its conversation: `new` is a first turn; `hit` went on where the last one ended; `miss` brought a
 * history of which nothing was stored; `claimed` one that another turn had taken up before; `lost` one that was stored, but
 * whose account did not carry the turn, or whose upstream knew it no longer. All but `hit` send the upstream the whole history.
 */
export type ConversationResult = 'new' | 'hit' | 'miss' | 'claimed' | 'lost';

interface Remembered {
  readonly accountId: string;
  readonly memory: ConversationMemory;
}

const ttlMs = 24 * 60 * 60_000;
/** Histories that were taken up lately, to tell those apart of which nothing was stored. */
const mostTaken = 2_000;

/**
 * Finds a conversation by what the client resends: a hash over client key, model, system, tools and every message up to
 * the last answer. Two conversations with one beginning part ways as soon as their texts do. A store that fails costs a
 * turn the folding, no more; it counts its failures itself.
 */
export class Conversations {
  readonly #store: StateStore;
  readonly #taken = new LRUCache<string, true>({ max: mostTaken });

  constructor(store: StateStore) {
    this.#store = store;
  }

  /** `bytes`: about how many the request has. */
  async find(clientId: string, provider: string, request: AskedRequest, bytes = 0): Promise<Conversation> {
    const { messages } = request;
    const lastAnswer = lastAnswerIn(request);
    const history = new HistoryHash();
    const isLarge = ownTurn(bytes);
    if (isLarge) await isLarge;
    history.addPart(JSON.stringify([clientId, provider, request.model, plainTools(request)]));
    let keyBefore: string | undefined;
    let length = 0;
    for (const [index, message] of messages.entries()) {
      length += history.addMessage(message);
      if (index === lastAnswer) keyBefore = keyOf(history.copy());
      if (length < longestStep) continue;
      await ownTurn(length);
      length = 0;
    }
    const newMessages = messages.slice(lastAnswer + 1);
    history.settle();
    const found = keyBefore === undefined ? undefined : await this.#claim(keyBefore);
    const wasTaken = keyBefore !== undefined && this.#taken.has(keyBefore);
    if (keyBefore !== undefined && found) this.#taken.set(keyBefore, true);
    const isFirst = keyBefore === undefined;
    return new Conversation(this, {
      clientId,
      request,
      isFirst,
      history,
      newMessages,
      keyBefore,
      found,
      wasTaken,
    });
  }

  /** Of an upstream that remembers none: nothing is hashed, and nothing looked for. */
  unremembered(clientId: string, request: AskedRequest): Conversation {
    const isFirst = lastAnswerIn(request) === -1;
    return new Conversation(this, { clientId, request, isFirst });
  }

  put(clientId: string, key: string, { accountId, memory }: Remembered): void {
    this.#taken.delete(key);
    const options = { clientId, isShortLived: true, isGiven: true };
    this.#store.put(key, pack(accountId, memory), ttlMs, options).catch(() => {});
  }

  async #claim(key: string): Promise<Remembered | undefined> {
    try {
      const found = await this.#store.claim(key);
      return found && unpack(found);
    } catch {
      return undefined;
    }
  }
}

interface Found {
  readonly clientId: string;
  readonly request: AskedRequest;
  readonly isFirst: boolean;
  /** Up to the new messages, and with them; undefined where nothing is remembered. */
  readonly history?: HistoryHash;
  readonly newMessages?: readonly AskedMessage[];
  /** Where the conversation lay before this turn; undefined for a first turn. */
  readonly keyBefore?: string | undefined;
  readonly found?: Remembered | undefined;
  readonly wasTaken?: boolean;
}

/** A conversation as its next turn finds it. What was stored is this turn's alone, until `end`. */
export class Conversation {
  readonly #conversations: Conversations;
  readonly #at: Found;
  #isUsed = false;
  #didGoOn = false;
  #wasTried = false;
  #isFolded = false;
  #isReplaced = false;

  constructor(conversations: Conversations, at: Found) {
    this.#conversations = conversations;
    this.#at = at;
  }

  /** The account that carries it, when it is remembered. */
  get accountId(): string | undefined {
    return this.#at.found?.accountId;
  }

  /** Takes the memory for an attempt on that account; undefined when it has to send the whole history. */
  goOn(accountId: string): { memory: ConversationMemory; newMessages: readonly AskedMessage[] } | undefined {
    const { found, newMessages = [] } = this.#at;
    this.#didGoOn = found !== undefined && !this.#isUsed && !this.#isFolded && accountId === found.accountId;
    if (!found || !this.#didGoOn) return undefined;
    this.#isUsed = true;
    this.#wasTried = true;
    return { memory: found.memory, newMessages };
  }

  /** The memory that was taken last never reached the upstream. */
  restore(): void {
    this.#isUsed = false;
    this.#didGoOn = false;
  }

  /**
   * The upstream has refused a turn that went on from the memory; it may know the conversation no longer. From now on the
   * whole history is sent. False when no attempt went on from it, or that was done before.
   */
  beginAnew(): boolean {
    if (!this.#wasTried || this.#isFolded) return false;
    this.#isFolded = true;
    return true;
  }

  /** Stores what the adapter gave back, under the history as it will be after this answer. */
  remember(
    accountId: string,
    answer: Pick<CollectedTurn, 'text' | 'toolCalls'>,
    memory: ConversationMemory,
  ): void {
    const { clientId, request, history } = this.#at;
    const { resentCall = (call: ToolCall) => call } = request;
    if (!history) throw new Error('An upstream without a memory gave one.');
    this.#isReplaced = this.#isFolded;
    const after = history.copy();
    after.addMessage({
      role: 'assistant',
      parts: [
        { type: 'text', text: answer.text },
        ...answer.toolCalls.map((call) => ({ type: 'tool-call' as const, ...resentCall(call) })),
      ],
    });
    this.#conversations.put(clientId, keyOf(after), { accountId, memory });
  }

  /** Puts back what was not used. Call once, when the turn is over. */
  end(): ConversationResult {
    const { clientId, isFirst, keyBefore, found, wasTaken } = this.#at;
    if (isFirst) return 'new';
    if (keyBefore === undefined || !found) return wasTaken ? 'claimed' : 'miss';
    // For the client that sends the same history again, with another question or after an error.
    if (!this.#isUsed && !this.#isReplaced) this.#conversations.put(clientId, keyBefore, found);
    return this.#didGoOn ? 'hit' : 'lost';
  }
}

function lastAnswerIn({ messages }: AskedRequest): number {
  return messages.findLastIndex((message) => message.role === 'assistant');
}

/** The digest is secret: only who knows the client's key and what was said can know it. */
function keyOf(history: HistoryHash): string {
  return `conversation:${history.digest()}`;
}

/** Two bytes with the length of the account's id, the id, the memory; in memory of its own, which is given away. */
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

/** Longer arguments are not parsed; their text itself is compared. */
const longestReadArguments = 1024 * 1024;
/** Characters that are hashed in one turn of the event loop, plus at most one message. */
const longestStep = 4 * 1024 * 1024;
/** Shorter texts are gathered: a call of the hash costs more than they do. */
const longestGathered = 64 * 1024;
const longestHeld = 4 * 1024;

/** A running digest of what was said in a conversation, message by message. */
class HistoryHash {
  #hash: Hash | undefined;
  #gathered = '';

  copy(): HistoryHash {
    const copy = new HistoryHash();
    copy.#hash = this.#hash?.copy();
    copy.#gathered = this.#gathered;
    return copy;
  }

  /** May be asked for once. */
  digest(): string {
    return this.#hash
      ? this.#hash.update(this.#gathered).digest('base64url')
      : hash('sha256', this.#gathered, 'base64url');
  }

  /** Returns the characters added. The length in front keeps two parts from reading like one. */
  addPart(part: string): number {
    this.#gathered += `${part.length}:${part}`;
    if (this.#gathered.length > longestGathered) this.#update();
    return part.length;
  }

  /** Holds no more than a short text from now on: the answer may take long. */
  settle(): void {
    if (this.#gathered.length > longestHeld) this.#update();
  }

  #update(): void {
    this.#hash ??= createHash('sha256');
    this.#hash.update(this.#gathered);
    this.#gathered = '';
  }

  /**
   * What clients change on the way is left out: reasoning, empty parts, white space around an answer, spacing of JSON. Returns
   * the characters added.
   */
  addMessage(message: AskedMessage): number {
    const parts: unknown[] = [];
    let text = '';
    for (const part of message.parts) {
      if (part.type === 'text' || part.type === 'refusal') text += part.text;
      else if (part.type === 'document') parts.push(documentOf(part));
      else if (part.type === 'image' || part.type === 'image-url') parts.push(imageOf(part));
      else if (part.type === 'tool-call')
        parts.push(['call', part.id, part.name, canonicalJson(part.arguments)]);
      else if (part.type === 'tool-result') {
        const images = (part.images ?? []).map(imageOf);
        const documents = (part.documents ?? []).map(documentOf);
        parts.push(['result', part.callId, part.text, part.isError, [...images, ...documents]]);
      }
    }
    return this.addPart(
      JSON.stringify([message.role, message.role === 'assistant' ? text.trim() : text, parts]),
    );
  }
}

/** An address stands for its image: the picture may change or go, the client still means the same conversation. */
function imageOf(image: AnyImage): readonly string[] {
  return image.type === 'image' ? ['image', image.mediaType, image.data] : ['image-url', image.url];
}

function documentOf({ mediaType, data }: DocumentPart): readonly string[] {
  return ['document', mediaType, data];
}

function canonicalJson(text: string): string {
  const value = text.length > longestReadArguments ? undefined : parseJson(text);
  // A model may write arguments that are no JSON; then the text itself is compared.
  return value === undefined ? text : JSON.stringify(value);
}

/**
 * What upstreams want back of the reasoning that led to a call, for clients that send the call back without it: their dialect has no
 * place for it, or they do not know the place. It is found by the call. A store that fails costs the model its earlier thoughts, no more.
 */
export class RememberedReasoning {
  readonly #store: Pick<StateStore, 'get' | 'put'>;

  constructor(store: Pick<StateStore, 'get' | 'put'>) {
    this.#store = store;
  }

  remember(clientId: string, [call]: readonly ToolCall[], proof: ReasoningProof): void {
    if (!call) return;
    const value = Buffer.from(JSON.stringify(proof));
    this.#store.put(callKeyOf(clientId, call), value, ttlMs, { clientId }).catch(() => {});
  }

  /** The request with what is missing in the tool loop that it goes on with; the request itself where nothing is. */
  completed(clientId: string, request: AskedRequest): AskedRequest | Promise<AskedRequest> {
    const { messages } = request;
    const loop = messages.findLastIndex(({ role }) => role === 'user') + 1;
    const hasGap = messages.some((message, index) => index >= loop && lackingCall(message));
    return hasGap ? this.#complete(clientId, request, loop) : request;
  }

  async #complete(clientId: string, request: AskedRequest, loop: number): Promise<AskedRequest> {
    const { messages } = request;
    const completed = await Promise.all(
      messages.slice(loop).map(async (message) => {
        const call = lackingCall(message);
        const proof = call && (await this.#find(clientId, call));
        if (!proof || message.role !== 'assistant') return message;
        return { ...message, parts: [{ type: 'reasoning' as const, text: '', proof }, ...message.parts] };
      }),
    );
    return { ...request, messages: [...messages.slice(0, loop), ...completed] };
  }

  async #find(clientId: string, call: ToolCall): Promise<ReasoningProof | undefined> {
    const found = await this.#store.get(callKeyOf(clientId, call)).catch(() => undefined);
    const { protocol, data } = (found && parseJsonObject(Buffer.from(found).toString())) ?? {};
    return typeof protocol === 'string' && typeof data === 'string' ? { protocol, data } : undefined;
  }
}

/** For an account that cannot read what the upstream signed: the model does without its earlier thoughts. */
export function withoutProofs(request: AskedRequest): AskedRequest {
  const messages = request.messages.map((message): AskedMessage => {
    if (message.role !== 'assistant') return message;
    return { ...message, parts: message.parts.filter((part) => part.type !== 'reasoning' || !part.proof) };
  });
  return { ...request, messages };
}

/** The first call of an answer that came back without its proof. */
function lackingCall(message: AskedMessage): ToolCall | undefined {
  if (message.role !== 'assistant') return undefined;
  if (message.parts.some((part) => part.type === 'reasoning' && part.proof)) return undefined;
  return message.parts.find((part) => part.type === 'tool-call');
}

/** Some upstreams give an id to many calls, and some clients write the arguments their own way. */
function callKeyOf(clientId: string, { id, name, arguments: given }: ToolCall): string {
  const named = ['reasoning', clientId, id, name, parseJson(given) ?? given];
  return hash('sha256', JSON.stringify(named), 'base64url');
}
