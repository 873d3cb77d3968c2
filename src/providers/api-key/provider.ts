import { AppError } from '../../core/errors.ts';
import type { Provider, ProviderHttp, QuotaAnswer } from '../../core/provider.ts';
import { askJson } from '../ask-json.ts';

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
export function createApiKeyProvider(options: ApiKeyProviderOptions): Provider {
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
