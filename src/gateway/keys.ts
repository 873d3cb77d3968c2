import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { AppError } from '../core/errors.ts';

export interface ClientKeys {
  /** Who calls, as a digest. Throws AppError `invalid_key`. */
  identify(headers: IncomingHttpHeaders): string;
}

/** With no keys configured any key or none is taken; what was shown still tells clients apart. */
export function createClientKeys(keys: readonly string[]): ClientKeys {
  const digests = keys.map(digest);
  return {
    identify(headers) {
      const key = shownKey(headers);
      const shown = digest(key ?? '');
      if (digests.length > 0) {
        // Every digest is compared, in constant time each: the answer's timing tells nothing about the keys.
        const isKnown = digests.map((known) => timingSafeEqual(known, shown)).includes(true);
        if (!isKnown) {
          throw new AppError(
            'invalid_key',
            key === undefined
              ? 'No key was sent: send one of this gateway\'s keys as "Authorization: Bearer KEY".'
              : 'The key is not one of this gateway\'s: check what is sent as "Authorization: Bearer KEY" or "x-api-key: KEY".',
          );
        }
      }
      return shown.toString('base64url');
    },
  };
}

function shownKey(headers: IncomingHttpHeaders): string | undefined {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  if (bearer !== undefined) return bearer;
  const header = headers['x-api-key'];
  return typeof header === 'string' && header !== '' ? header : undefined;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
