import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { ExchangingProvider, ProviderAccount, ProviderModel } from '../../core/provider.ts';
import { geminiCapabilities } from '../../protocols/gemini/capabilities.ts';
import { createGeminiOutbound } from '../../protocols/gemini/outbound.ts';
import { checkApiKey } from '../api-key/provider.ts';
import { askJson } from '../ask-json.ts';
import type { ProviderContext } from '../definition.ts';
import { readableEntries } from '../readable-entries.ts';

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
/** Google has some fifty models, and gives up to a thousand a page. */
const mostPages = 20;

/** Google's API with keys of its owner, or a server that speaks it. */
export function createGeminiProvider(
  name: string,
  baseUrl: string,
  { takesNoKey }: { readonly takesNoKey: boolean },
  { http, userAgent, clock }: Pick<ProviderContext, 'http' | 'userAgent' | 'clock'>,
): ExchangingProvider {
  const authHeaders = ({ bearer }: Pick<ProviderAccount, 'bearer'>): Readonly<Record<string, string>> =>
    bearer === '' ? {} : { 'x-goog-api-key': bearer };

  async function askPage(query: Record<string, string>, account: ProviderAccount, signal?: AbortSignal) {
    const answer = await askJson(http, {
      url: `${baseUrl}${modelsPath}?${new URLSearchParams(query)}`,
      headers: { ...authHeaders(account), 'user-agent': userAgent },
      signal,
    });
    const page = modelPage.safeParse(answer);
    if (page.success) return page.data;
    throw new AppError('upstream_protocol', `${baseUrl}${modelsPath} gave no list of models.`, {
      cause: page.error,
    });
  }

  return {
    name,
    outbound: createGeminiOutbound(clock.now),
    baseUrl: () => baseUrl,
    authHeaders,
    normalizeApiKey: checkApiKey,
    ...(takesNoKey && { takesNoKey: true }),
    capabilitiesOf: geminiCapabilities,
    isFoundByList: true,
    fallbackModels: [],
    async listModels(account, signal) {
      const models: ProviderModel[] = [];
      let pageToken: string | undefined;
      for (let pages = 0; pages < mostPages; pages += 1) {
        const query = { pageSize: '1000', ...(pageToken !== undefined && { pageToken }) };
        const page = await askPage(query, account, signal);
        models.push(...page.models.filter(answersTurns).map(toModel));
        if (!page.nextPageToken) break;
        pageToken = page.nextPageToken;
      }
      return models;
    },
    /** A good answer proves the key. */
    async getQuota(account, signal) {
      await askPage({ pageSize: '1' }, account, signal);
      return { isUnlimited: false };
    },
  };
}

/** Others embed, or make films. */
function answersTurns({ supportedGenerationMethods: methods }: ListedModel): boolean {
  return methods?.includes('generateContent') ?? true;
}

function toModel({ name, displayName, description, inputTokenLimit }: ListedModel): ProviderModel {
  return {
    id: name.replace(/^models\//, ''),
    vendor: 'google',
    ...(displayName && { displayName }),
    ...(description && { description }),
    ...(inputTokenLimit && { contextWindow: inputTokenLimit }),
  };
}
