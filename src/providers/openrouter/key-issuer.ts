import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { KeyIssuer } from '../../core/provider.ts';
import { createKeyApi, type KeyApiOptions } from '../key-api.ts';

export interface OpenRouterKeysSettings extends Pick<KeyApiOptions, 'adminKey' | 'baseUrl'> {
  /** What one key may spend, in US dollars. */
  readonly limit: number;
  /** After which time it may spend that again; never when undefined. */
  readonly limitReset: 'daily' | 'weekly' | 'monthly' | undefined;
}

const issued = z.looseObject({
  key: z.string().min(1),
  data: z.looseObject({ hash: z.string().min(1) }),
});
const page = z.looseObject({
  data: z.array(z.looseObject({ hash: z.string(), name: z.string().nullish() })),
});
const mostPages = 100;

/** OpenRouter's API for keys, opened by a management key of the owner's. */
export function createOpenRouterKeyIssuer(
  options: OpenRouterKeysSettings & Pick<KeyApiOptions, 'http' | 'userAgent'>,
): KeyIssuer {
  const api = createKeyApi(options);
  const { limit, limitReset } = options;
  return {
    async issue(name, signal) {
      const body = { name, limit, ...(limitReset === undefined ? {} : { limit_reset: limitReset }) };
      const made = await api.call('POST', '/api/v1/keys', issued, { body, signal });
      if (made === null)
        throw new AppError('invalid_request', 'There is no key-management API at this base_url.');
      return { apiKey: made.key, handle: made.data.hash };
    },
    async revoke(handle, signal) {
      await api.call('DELETE', `/api/v1/keys/${encodeURIComponent(handle)}`, z.unknown(), { signal });
    },
    async find(name, signal) {
      let offset = 0;
      for (let pages = 0; pages < mostPages; pages += 1) {
        const answer = await api.call('GET', `/api/v1/keys?offset=${offset}`, page, { signal });
        if (answer === null || answer.data.length === 0) return null;
        const found = answer.data.find((key) => key.name === name);
        if (found !== undefined) return found.hash;
        offset += answer.data.length;
      }
      throw new AppError('upstream_protocol', 'The list of keys does not end.');
    },
  };
}
