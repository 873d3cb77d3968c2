import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { AppError } from '../../core/errors.ts';
import { type Clock, sleep } from '../../lib/clock.ts';
import { jsonLimits } from '../../lib/parse-json.ts';
import { ownTurn } from '../../lib/process/own-turn.ts';
import type { RawItem } from '../../protocols/openai-responses/schema.ts';
import type { StateStore } from '../state/state-store.ts';

export interface StoredResponse {
  /** The object as the client got it. */
  readonly response: Readonly<Record<string, unknown>>;
  /** What this request brought. */
  readonly input: readonly RawItem[];
  /** The stored responses it continues, oldest first: what was said before is theirs. */
  readonly ancestors: readonly string[];
  /** What was said before and is in none of them. */
  readonly base: readonly RawItem[];
  /** See AnswerIdentity; undefined while no model has been chosen. */
  readonly answeredBy?: string | undefined;
}

/** What a request continues. */
export interface Continued extends Pick<StoredResponse, 'ancestors' | 'base'> {
  readonly items: readonly RawItem[];
  /** About how many bytes that is. */
  readonly bytes: number;
}

/** What instances tell each other of a response while it is made. */
type ResponseFlag = 'alive' | 'cancel' | 'deleted';

/** Longer conversations have to be compacted, or replaced by a new one with what matters of them. */
const maxAncestors = 500;
/** As much as the body of a request may hold. */
const maxHistoryBytes = 32 * 1024 * 1024;
/** For what connections said last, all of them together. */
const recentBytes = 64 * 1024 * 1024;
const readsAtOnce = 16;
/** Another instance has answered its client before it has written the response: looks after so long. */
const lateMs = [50, 150, 300];

export const nothingBefore: Continued = { items: [], ancestors: [], base: [], bytes: 0 };

/** Who else writes to the same store. */
export interface OtherInstances {
  readonly clock: Pick<Clock, 'after'>;
  /** False: no instance does at the moment. */
  arePossible(): boolean;
}

/**
 * Responses that clients asked to keep. One belongs to the client key that made it; to all others it is not there. Entries hold
 * their own items and the names of those before, so that a long conversation is kept once.
 */
export class StoredResponses {
  readonly #store: StateStore;
  readonly #ttlMs: number;
  readonly #onFailure: (error: unknown) => void;
  readonly #others: OtherInstances | undefined;

  constructor(
    store: StateStore,
    ttlMs: number,
    onFailure: (error: unknown) => void,
    others?: OtherInstances,
  ) {
    this.#store = store;
    this.#ttlMs = ttlMs;
    this.#onFailure = onFailure;
    this.#others = others;
  }

  /** Never throws: a response that cannot be kept is still a good answer. */
  save(clientId: string, stored: StoredResponse): void {
    this.put(clientId, stored).catch(this.#onFailure);
  }

  /** Writes it, over what was written before. */
  async put(clientId: string, stored: StoredResponse): Promise<void> {
    const key = keyOf(clientId, String(stored.response['id']));
    await answered(this.#store.put(key, Buffer.from(JSON.stringify(stored)), this.#ttlMs, { clientId }));
  }

  /** Throws AppError `not_found`. */
  async get(clientId: string, id: string): Promise<StoredResponse> {
    const found = await this.#readSoon(clientId, id);
    if (found === undefined) throw notFound(id);
    return found.stored;
  }

  /** The same, without waiting for other instances and without an error: a client may name very many. */
  async find(clientId: string, id: string): Promise<StoredResponse | undefined> {
    return (await this.#read(clientId, id))?.stored;
  }

  /**
   * What the next response goes on from; one that is not `stored` itself may go on from a chain that has its full length.
   * Throws AppError `previous_response_not_found`.
   */
  async continueFrom(clientId: string, id: string, isStored: boolean): Promise<Continued> {
    const found = await this.#readSoon(clientId, id);
    if (found === undefined) throw previousNotFound(id);
    const { stored } = found;
    const status = stored.response['status'];
    if (status !== 'completed' && status !== 'incomplete') {
      throw new AppError(
        'invalid_request',
        `previous_response_id: the response "${id}" ${isUnderWay(stored.response) ? 'has not ended, as far as it is written' : `is ${String(status)}`}: only one that has ended well can be continued.`,
        { param: 'previous_response_id' },
      );
    }
    const ancestors = [...stored.ancestors, id];
    if (isStored && ancestors.length > maxAncestors) throw tooLong(`has more than ${maxAncestors} responses`);
    const before = await this.#itemsOf(clientId, stored.ancestors, (missing) =>
      previousNotFound(id, missing),
    );
    const items = [...before.items, ...allItems(stored)];
    return { items, ancestors, base: [], bytes: before.bytes + found.bytes };
  }

  /** All items up to that response and with its input, without its output. Throws AppError `not_found`. */
  async inputOf(clientId: string, id: string): Promise<readonly RawItem[]> {
    const stored = await this.get(clientId, id);
    const before = await this.#itemsOf(clientId, stored.ancestors, notFound);
    return [...before.items, ...stored.base, ...stored.input];
  }

  /** Answers what it was. Those that go on from it can be read as before, but no longer be continued. Throws AppError `not_found`. */
  async remove(clientId: string, id: string): Promise<StoredResponse> {
    const bytes = await answered(this.#store.claim(keyOf(clientId, id)));
    if (bytes === undefined) throw notFound(id);
    return storedIn(bytes);
  }

  async flag(clientId: string, id: string, flag: ResponseFlag, flagMs: number): Promise<void> {
    await this.#store.put(`${keyOf(clientId, id)}:${flag}`, Buffer.of(1), flagMs);
  }

  async isFlagged(clientId: string, id: string, flag: ResponseFlag): Promise<boolean> {
    return (await this.#store.get(`${keyOf(clientId, id)}:${flag}`)) !== undefined;
  }

  /** Of one that is not made here. What a process of before has left of itself in a storage of this gateway alone says nothing. */
  async isMadeElsewhere(clientId: string, id: string): Promise<boolean> {
    return this.#others?.arePossible() !== false && (await this.isFlagged(clientId, id, 'alive'));
  }

  async #read(clientId: string, id: string): Promise<Read | undefined> {
    const bytes = await answered(this.#store.get(keyOf(clientId, id)));
    if (bytes === undefined) return undefined;
    await ownTurn(bytes.length);
    return { stored: storedIn(bytes), bytes: bytes.length };
  }

  async #readSoon(clientId: string, id: string): Promise<Read | undefined> {
    let found = await this.#read(clientId, id);
    for (const waitMs of lateMs) {
      if (found !== undefined || !this.#others?.arePossible()) break;
      await sleep(this.#others.clock, waitMs);
      found = await this.#read(clientId, id);
    }
    return found;
  }

  async #itemsOf(
    clientId: string,
    ids: readonly string[],
    missing: (id: string) => AppError,
  ): Promise<Pick<Continued, 'items' | 'bytes'>> {
    const items: RawItem[] = [];
    let bytes = 0;
    let largest = maxHistoryBytes;
    for (let start = 0; start < ids.length; ) {
      // As many at a time as there is room for, to judge by those before.
      const count = Math.max(1, Math.min(readsAtOnce, Math.floor((maxHistoryBytes - bytes) / largest)));
      const batch = ids.slice(start, start + count);
      start += count;
      largest = 1;
      const found = await Promise.all(batch.map((id) => this.#read(clientId, id)));
      for (const [index, one] of found.entries()) {
        if (one === undefined) throw missing(batch[index] ?? '');
        bytes += one.bytes;
        largest = Math.max(largest, one.bytes);
        if (bytes > maxHistoryBytes) throw tooLong(`holds more than ${maxHistoryBytes / 1024 / 1024} MiB`);
        for (const item of allItems(one.stored)) items.push(item);
      }
      if (items.length > jsonLimits.values) throw tooLong(`has more than ${jsonLimits.values} items`);
    }
    return { items, bytes };
  }
}

interface Read {
  readonly stored: StoredResponse;
  readonly bytes: number;
}

function keyOf(clientId: string, id: string): string {
  return `response:${createHash('sha256').update(`${clientId}\n${id}`).digest('base64url')}`;
}

function storedIn(bytes: Uint8Array): StoredResponse {
  return JSON.parse(
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'),
  ) as StoredResponse;
}

/** An unreachable store is no fault of the request, and nothing is known of what it holds. */
async function answered<Value>(asked: Promise<Value>): Promise<Value> {
  try {
    return await asked;
  } catch (cause) {
    throw new AppError(
      'storage_unavailable',
      'Stored responses cannot be reached at the moment; try again in a few seconds.',
      { cause, retryAfterMs: 5_000 },
    );
  }
}

/** As it was written: whether an instance still makes it is another question. */
export function isUnderWay(response: Readonly<Record<string, unknown>>): boolean {
  return response['status'] === 'queued' || response['status'] === 'in_progress';
}

function allItems({ response, input, base }: StoredResponse): RawItem[] {
  return [...base, ...input, ...(response['output'] as RawItem[])];
}

function notFound(id: string): AppError {
  return new AppError(
    'not_found',
    `There is no response "${id}": it was not stored, was deleted, has expired, or belongs to another key.`,
    { param: 'response_id' },
  );
}

function previousNotFound(id: string, missing = id): AppError {
  const whose = missing === id ? '' : ` what it continues, "${missing}",`;
  return new AppError(
    'previous_response_not_found',
    `previous_response_id: the response "${id}" cannot be continued:${whose} was not stored, was deleted, has expired, or belongs to another key. Send the whole conversation instead.`,
    { param: 'previous_response_id' },
  );
}

function tooLong(how: string): AppError {
  return new AppError(
    'context_too_long',
    `previous_response_id: the conversation ${how}: compact it with POST /v1/responses/compact, or begin a new one with what matters of it.`,
    { param: 'previous_response_id' },
  );
}

/** A response, and all that was said up to its end. */
interface RecentTurn {
  readonly id: string;
  readonly continued: Continued;
}
export type RecentTurns = LRUCache<object, RecentTurn>;

/** The last response of each connection, so that the next one can continue it although nothing was stored. */
export function createRecentTurns(maxBytes = recentBytes): RecentTurns {
  return new LRUCache({
    maxSize: maxBytes,
    sizeCalculation: ({ continued }) => Math.max(1, continued.bytes),
  });
}
