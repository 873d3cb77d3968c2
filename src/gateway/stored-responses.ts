import { createHash } from 'node:crypto';
import { AppError } from '../core/errors.ts';
import type { Clock } from '../lib/clock.ts';
import { jsonLimits } from '../lib/json-limits.ts';
import { ownTurn } from '../lib/process/own-turn.ts';
import { sleep } from '../lib/sleep.ts';
import type { RawItem } from '../protocols/openai-responses/schema.ts';
import type { StateStore } from './state/state-store.ts';

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
  /** All that was said so far. */
  readonly items: readonly RawItem[];
  /** About how many bytes that is. */
  readonly bytes: number;
}

/** Responses that clients asked to keep. One belongs to the client key that made it; to all others it is not there. */
export interface StoredResponses {
  /** Never throws: a response that cannot be kept is still a good answer. */
  save(clientId: string, stored: StoredResponse): void;
  /** Writes it, over what was written before. */
  put(clientId: string, stored: StoredResponse): Promise<void>;
  /** Throws AppError `not_found`. */
  get(clientId: string, id: string): Promise<StoredResponse>;
  /** The same, at once and without an error: a client may name very many. */
  find(clientId: string, id: string): Promise<StoredResponse | undefined>;
  /**
   * What the next response goes on from; one that is not `stored` itself may go on from a chain that has its full length.
   * Throws AppError `previous_response_not_found`.
   */
  continueFrom(clientId: string, id: string, isStored: boolean): Promise<Continued>;
  /** All items up to that response and with its input, without its output. Throws AppError `not_found`. */
  inputOf(clientId: string, id: string): Promise<readonly RawItem[]>;
  /** Answers what it was. Those that go on from it can be read as before, but no longer be continued. Throws AppError `not_found`. */
  remove(clientId: string, id: string): Promise<StoredResponse>;
  /** What instances tell each other of a response while it is made. */
  mark(clientId: string, id: string, mark: ResponseMark, ttlMs: number): Promise<void>;
  isMarked(clientId: string, id: string, mark: ResponseMark): Promise<boolean>;
}

export type ResponseMark = 'alive' | 'cancel' | 'deleted';

/** Longer conversations are compacted, or begun anew with what matters of them. */
const maxAncestors = 500;
/** As much as the body of a request may hold. */
const maxHistoryBytes = 32 * 1024 * 1024;
const readsAtOnce = 16;
/** Another instance has answered its client before it has written the response: looks after so long. */
const lateMs = [50, 150, 300];

export const nothingBefore: Continued = { items: [], ancestors: [], base: [], bytes: 0 };

/** What the next response goes on from: a stored one is named, what was not stored is carried along. */
export function continuedBy(
  before: Continued,
  { response, input }: Pick<StoredResponse, 'response' | 'input'>,
  isStored: boolean,
  bytes: number,
): Continued {
  const items = [...before.items, ...input, ...(response['output'] as RawItem[])];
  return isStored
    ? { items, ancestors: [...before.ancestors, String(response['id'])], base: [], bytes }
    : { items, ancestors: [], base: items, bytes };
}

/** Who else writes to the same store. */
export interface OtherInstances {
  readonly clock: Pick<Clock, 'after'>;
  /** False: nobody does at the moment. */
  arePossible(): boolean;
}

/** Entries hold their own items and the names of those before, so that a long conversation is kept once. */
export function createStoredResponses(
  store: StateStore,
  ttlMs: number,
  onFailure: (error: unknown) => void,
  others?: OtherInstances,
): StoredResponses {
  const keyOf = (clientId: string, id: string): string =>
    `response:${createHash('sha256').update(`${clientId}\n${id}`).digest('base64url')}`;

  async function read(
    clientId: string,
    id: string,
  ): Promise<{ stored: StoredResponse; bytes: number } | undefined> {
    const bytes = await answered(store.get(keyOf(clientId, id)));
    if (bytes === undefined) return undefined;
    await ownTurn(bytes.length);
    return { stored: storedIn(bytes), bytes: bytes.length };
  }

  async function readSoon(clientId: string, id: string): ReturnType<typeof read> {
    let found = await read(clientId, id);
    for (const waitMs of lateMs) {
      if (found !== undefined || !others?.arePossible()) break;
      await sleep(others.clock, waitMs);
      found = await read(clientId, id);
    }
    return found;
  }

  async function get(clientId: string, id: string): Promise<StoredResponse> {
    const found = await readSoon(clientId, id);
    if (found === undefined) throw notFound(id);
    return found.stored;
  }

  async function put(clientId: string, stored: StoredResponse): Promise<void> {
    const key = keyOf(clientId, String(stored.response['id']));
    await answered(store.put(key, Buffer.from(JSON.stringify(stored)), ttlMs, { clientId }));
  }

  /** Everything said in those responses, in their order. */
  async function itemsOf(
    clientId: string,
    ids: readonly string[],
    missing: (id: string) => AppError,
  ): Promise<{ readonly items: readonly RawItem[]; readonly bytes: number }> {
    const items: RawItem[] = [];
    let bytes = 0;
    let largest = maxHistoryBytes;
    for (let start = 0; start < ids.length; ) {
      // As many at a time as there is room for, to judge by those before.
      const count = Math.max(1, Math.min(readsAtOnce, Math.floor((maxHistoryBytes - bytes) / largest)));
      const batch = ids.slice(start, start + count);
      start += count;
      largest = 1;
      const found = await Promise.all(batch.map((id) => read(clientId, id)));
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

  return {
    save(clientId, stored) {
      put(clientId, stored).catch(onFailure);
    },
    put,
    get,
    find: async (clientId, id) => (await read(clientId, id))?.stored,

    async continueFrom(clientId, id, isStored) {
      const found = await readSoon(clientId, id);
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
      if (isStored && ancestors.length > maxAncestors)
        throw tooLong(`has more than ${maxAncestors} responses`);
      const before = await itemsOf(clientId, stored.ancestors, (missing) => previousNotFound(id, missing));
      return {
        items: [...before.items, ...allItems(stored)],
        ancestors,
        base: [],
        bytes: before.bytes + found.bytes,
      };
    },

    async inputOf(clientId, id) {
      const stored = await get(clientId, id);
      const before = await itemsOf(clientId, stored.ancestors, notFound);
      return [...before.items, ...stored.base, ...stored.input];
    },

    async remove(clientId, id) {
      const bytes = await answered(store.claim(keyOf(clientId, id)));
      if (bytes === undefined) throw notFound(id);
      return storedIn(bytes);
    },

    async mark(clientId, id, mark, markMs) {
      await store.put(`${keyOf(clientId, id)}:${mark}`, Buffer.of(1), markMs);
    },
    async isMarked(clientId, id, mark) {
      return (await store.get(`${keyOf(clientId, id)}:${mark}`)) !== undefined;
    },
  };
}

function storedIn(bytes: Uint8Array): StoredResponse {
  return JSON.parse(
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'),
  ) as StoredResponse;
}

/** A store that is away is no fault of the request, and nothing is known of what it holds. */
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

/** As it was written: whether anybody still makes it is another question. */
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

export function previousNotFound(id: string, missing = id): AppError {
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
