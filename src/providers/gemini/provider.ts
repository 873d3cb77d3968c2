import { z } from 'zod';
import type { ExchangingProvider, ProviderAccount, ProviderModel } from '../../core/provider.ts';
import { createEmbedOutbounds } from '../../protocols/gemini/embeddings/outbound.ts';
import { geminiCapabilities } from '../../protocols/gemini/gemini-models.ts';
import { createGeminiOutbound } from '../../protocols/gemini/outbound.ts';
import { checkApiKey } from '../api-key/index.ts';
import { allPages, askForModels, readableEntries } from '../ask-json.ts';
import type { ProviderContext } from '../definition.ts';

const listedModel = z.looseObject({
  name: z.string().min(1),
  displayName: z.string().nullish().catch(undefined),
  description: z.string().nullish().catch(undefined),
  inputTokenLimit: z.number().positive().nullish().catch(undefined),
  supportedGenerationMethods: z.array(z.string()).nullish().catch(undefined),
});
const modelPage = z.looseObject({
  models: readableEntries(listedModel).default([]),
  nextPageToken: z.string().nullish(),
});
type ListedModel = z.infer<typeof listedModel>;

const modelsPath = '/v1beta/models';
/** Google has some fifty models. */
const pageSize = '1000';

/** Google's API with keys of its owner, or a server that speaks it. */
export function createGeminiProvider(
  name: string,
  baseUrl: string,
  { takesNoKey }: { readonly takesNoKey: boolean },
  { http, userAgent, clock }: Pick<ProviderContext, 'http' | 'userAgent' | 'clock'>,
): ExchangingProvider {
  const authHeaders = ({ bearer }: Pick<ProviderAccount, 'bearer'>): Readonly<Record<string, string>> =>
    bearer === '' ? {} : { 'x-goog-api-key': bearer };

  const ask = (query: Record<string, string>, account: ProviderAccount, signal?: AbortSignal) =>
    askForModels(http, modelPage, {
      url: `${baseUrl}${modelsPath}?${new URLSearchParams(query)}`,
      headers: { ...authHeaders(account), 'user-agent': userAgent },
      signal,
    });

  return {
    name,
    outbound: createGeminiOutbound(clock.now),
    furtherOutbounds: createEmbedOutbounds(clock.now),
    baseUrl: () => baseUrl,
    authHeaders,
    normalizeApiKey: checkApiKey,
    ...(takesNoKey && { takesNoKey: true }),
    capabilitiesOf: geminiCapabilities,
    isFoundByList: true,
    fallbackModels: [],
    listModels: (account, signal) =>
      allPages(async (pageToken) => {
        const page = await ask({ pageSize, ...(pageToken !== undefined && { pageToken }) }, account, signal);
        return { items: page.models.filter(isServed).map(toModel), next: page.nextPageToken };
      }),
    /** A good answer proves the key. */
    async getQuota(account, signal) {
      await ask({ pageSize: '1' }, account, signal);
      return { isUnlimited: false };
    },
  };
}

/** Others make films. */
function isServed({ supportedGenerationMethods: methods }: ListedModel): boolean {
  return methods?.some((method) => method === 'generateContent' || method === 'embedContent') ?? true;
}

function toModel({
  name,
  displayName,
  description,
  inputTokenLimit,
  supportedGenerationMethods: methods,
}: ListedModel): ProviderModel {
  return {
    id: name.replace(/^models\//, ''),
    vendor: 'google',
    ...(displayName && { displayName }),
    ...(description && { description }),
    ...(inputTokenLimit && { contextWindow: inputTokenLimit }),
    ...(methods?.includes('generateContent') === false && { embeds: true }),
  };
}
