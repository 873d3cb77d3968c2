import { hash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { AppError } from '../../core/errors.ts';
import { shownKeys } from '../../lib/http/shown-keys.ts';
import type { ClientKey } from '../keys/client-key.ts';

export interface ClientKeys {
  /** Who calls. Throws AppError `invalid_key`. */
  identify(request: KeyedRequest): ClientKey;
}

export interface KeyedRequest {
  readonly headers: IncomingHttpHeaders;
  readonly url: string;
  readonly raw?: { readonly socket: object };
}

/** What a connection has shown last, and whose key it was. */
interface Shown {
  readonly keys: readonly string[];
  readonly client: ClientKey;
}

/**
 * With no keys configured any key or none is taken; the first one shown still tells clients apart. `onWrongKey` is called for
 * every request whose keys are none of these.
 */
export function createClientKeys(
  keys: readonly string[],
  setting: 'API_KEYS' | 'ADMIN_KEY' = 'API_KEYS',
  onWrongKey: () => void = () => {},
): ClientKeys {
  const named = setting === 'API_KEYS' ? "one of this gateway's API_KEYS" : 'the ADMIN_KEY';
  const none = setting === 'API_KEYS' ? "none of this gateway's API_KEYS" : 'not the ADMIN_KEY';
  const digests = keys.map(digest);
  // Every digest is compared, in constant time each: the answer's timing tells nothing about the keys.
  const isKnown = (shown: Buffer): boolean =>
    digests.map((known) => timingSafeEqual(known, shown)).includes(true);
  function clientOf(keysShown: readonly string[], { headers }: KeyedRequest): ClientKey {
    const shown = keysShown.map(digest);
    if (digests.length === 0) return keyOf(shown[0] ?? digest(''));
    const known = shown.filter(isKnown)[0];
    if (known !== undefined) return keyOf(known);
    if (shown.length > 0) onWrongKey();
    const isMisplaced = shown.length === 0 && headers.authorization !== undefined;
    const missing = isMisplaced ? 'The header Authorization is not "Bearer KEY"' : 'No key was sent';
    throw new AppError(
      'invalid_key',
      shown.length === 0
        ? `${missing}: send ${named} as "Authorization: Bearer KEY" or "x-api-key: KEY".`
        : `The key is ${none}: check what is sent as "Authorization: Bearer KEY" or "x-api-key: KEY".`,
    );
  }

  // A connection that shows the same again is known. Only its own last key is compared, so the timing tells it nothing new.
  const lastShown = new WeakMap<object, Shown>();
  return {
    identify(request) {
      const { headers, url, raw } = request;
      const shown = shownKeys(headers, url);
      const last = raw && lastShown.get(raw.socket);
      if (last?.keys.length === shown.length && last.keys.every((key, at) => key === shown[at]))
        return last.client;
      const client = clientOf(shown, request);
      if (raw) lastShown.set(raw.socket, { keys: shown, client });
      return client;
    },
  };
}

function keyOf(shown: Buffer): ClientKey {
  return { id: shown.toString('base64url') };
}

function digest(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}
