import { createHash } from 'node:crypto';
import { AppError } from '../core/errors.ts';
import type { InputItem } from '../protocols/openai-responses/schema.ts';
import type { Keep } from './keep/keep.ts';

export interface StoredResponse {
  /** The object as the client got it. */
  readonly response: Readonly<Record<string, unknown>>;
  /** What this request brought, and everything said before it. */
  readonly input: readonly InputItem[];
  readonly history: readonly InputItem[];
}

/** Responses that clients asked to keep. One belongs to the client key that made it; to all others it is not there. */
export interface StoredResponses {
  /** Never throws: a response that cannot be kept is still a good answer. */
  save(clientId: string, stored: StoredResponse): void;
  /** Throws AppError `not_found`. */
  get(clientId: string, id: string): Promise<StoredResponse>;
  /** All items up to and with that response: what the next one continues. Throws AppError `not_found`. */
  itemsUpTo(clientId: string, id: string): Promise<readonly InputItem[]>;
  /** Throws AppError `not_found`. */
  remove(clientId: string, id: string): Promise<void>;
}

const ttlMs = 24 * 60 * 60_000;

export function createStoredResponses(keep: Keep, onFailure: (error: unknown) => void): StoredResponses {
  const keyOf = (clientId: string, id: string): string =>
    `response:${createHash('sha256').update(`${clientId}\n${id}`).digest('base64url')}`;

  const get = async (clientId: string, id: string): Promise<StoredResponse> => {
    const bytes = await keep.get(keyOf(clientId, id));
    if (bytes === undefined) throw notFound(id);
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as StoredResponse;
  };

  return {
    save(clientId, stored) {
      const key = keyOf(clientId, String(stored.response['id']));
      keep.put(key, Buffer.from(JSON.stringify(stored)), ttlMs).catch(onFailure);
    },
    get,
    async itemsUpTo(clientId, id) {
      const { response, input, history } = await get(clientId, id);
      return [...history, ...input, ...(response['output'] as InputItem[])];
    },
    async remove(clientId, id) {
      if ((await keep.claim(keyOf(clientId, id))) === undefined) throw notFound(id);
    },
  };
}

function notFound(id: string): AppError {
  return new AppError(
    'not_found',
    `There is no response "${id}": it was not stored, has expired, or belongs to another key.`,
    { param: 'previous_response_id' },
  );
}
