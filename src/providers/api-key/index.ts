import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { Provider, ProviderHttp, QuotaAnswer } from '../../core/provider.ts';
import { ownValue } from '../../lib/parse-json.ts';
import { safeAddress } from '../../lib/setting.ts';
import { askJson } from '../ask-json.ts';
import { defineType } from '../definition.ts';

/** Vendors that need no configuration: how their keys travel, and what can be asked about one at no cost. */
export const vendors: Readonly<
  Record<string, Pick<ApiKeyProviderOptions, 'checkUrl' | 'authHeaders' | 'readQuota'>>
> = {
  openai: { checkUrl: 'https://api.openai.com/v1/models' },
  anthropic: {
    checkUrl: 'https://api.anthropic.com/v1/models',
    authHeaders: (key) => ({ 'x-api-key': key, 'anthropic-version': '2023-06-01' }),
  },
  gemini: {
    checkUrl: 'https://generativelanguage.googleapis.com/v1beta/models',
    authHeaders: (key) => ({ 'x-goog-api-key': key }),
  },
  openrouter: { checkUrl: 'https://openrouter.ai/api/v1/key', readQuota: readOpenRouterKey },
};

const keySchema = z.looseObject({
  data: z.looseObject({
    limit: z.number().nullish(),
    usage: z.number().nullish(),
    limit_remaining: z.number().nullish(),
  }),
});

/** In credits. A key without a limit of its own says nothing of what its account has left. */
function readOpenRouterKey(answer: unknown): QuotaAnswer {
  const { limit, usage, limit_remaining } = keySchema.safeParse(answer).data?.data ?? {};
  return {
    isUnlimited: false,
    ...(typeof limit === 'number' ? { limit } : {}),
    ...(typeof usage === 'number' ? { used: usage } : {}),
    ...(typeof limit_remaining === 'number' ? { remaining: Math.max(0, limit_remaining) } : {}),
  };
}

/** Plain keys, kept and lent for programs that speak to the vendor themselves. */
export const apiKey = defineType({
  type: 'api_key',
  schema: z.strictObject({ type: z.literal('api_key'), check_url: safeAddress.optional() }),
  read: (given) => ({ type: given.type, checkUrl: given.check_url }),
  server: ({ checkUrl }) => (checkUrl === undefined ? undefined : { url: new URL(checkUrl).origin }),
  async load(name, given, context) {
    // A vendor asked at another address, such as a proxy of the owner's, still speaks the vendor's way.
    const { checkUrl, ...vendor } = ownValue(vendors, name) ?? { checkUrl: undefined };
    return createApiKeyProvider({ ...context, ...vendor, checkUrl: given.checkUrl ?? checkUrl, name });
  },
});

export interface ApiKeyProviderOptions {
  readonly name: string;
  /** Answers 200 to a good key and 401 or 403 to a bad one, and costs nothing. */
  readonly checkUrl: string | undefined;
  /** Headers that carry the key; `Authorization: Bearer` by default. */
  readonly authHeaders?: (key: string) => Readonly<Record<string, string>>;
  /** What the answer to a good key says of what is left; nothing by default. */
  readonly readQuota?: (answer: unknown) => QuotaAnswer;
  readonly http: ProviderHttp;
  readonly userAgent: string;
}

/** A vendor's plain keys, kept and lent for programs that speak to the vendor themselves. */
function createApiKeyProvider(options: ApiKeyProviderOptions): Provider {
  const { name, checkUrl, http, userAgent } = options;
  const authHeaders = options.authHeaders ?? ((key: string) => ({ authorization: `Bearer ${key}` }));
  return {
    name,
    normalizeApiKey: checkApiKey,
    async getQuota({ bearer }, signal) {
      if (checkUrl === undefined) {
        throw new AppError(
          'upstream_protocol',
          `Nothing can be asked about keys of "${name}": set its check_url.`,
        );
      }
      const headers = { ...authHeaders(bearer), 'user-agent': userAgent };
      const answer = await askJson(http, { url: checkUrl, headers, signal });
      return options.readQuota?.(answer) ?? { isUnlimited: false };
    },
  };
}

/** The key as it can stand in a header. Throws AppError `invalid_request` when it cannot, never showing the key. */
export function checkApiKey(key: string): string {
  const trimmed = key.trim();
  if (trimmed === '') throw invalidKey('The API key is empty; paste the whole key.');
  if (!/^[\x21-\x7e]+$/.test(trimmed)) {
    throw invalidKey('The API key holds spaces or characters no key has; paste it again.');
  }
  return trimmed;
}

export function invalidKey(message: string): AppError {
  return new AppError('invalid_request', message, { param: 'api_key' });
}
