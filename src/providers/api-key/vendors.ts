import { z } from 'zod';
import type { QuotaAnswer } from '../../core/provider.ts';
import type { ApiKeyProviderOptions } from './provider.ts';

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
