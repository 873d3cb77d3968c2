import { z } from 'zod';
import { type Capabilities, without } from '../../core/capabilities.ts';
import type { Outbound } from '../../core/protocol.ts';
import type { ExchangingProvider, ProviderModel } from '../../core/provider.ts';
import { chatCapabilities } from '../../protocols/openai-chat/capabilities.ts';
import { endpointNames } from '../../protocols/openai-chat/endpoints/endpoints.ts';
import { createGeminiEmbedOutbounds } from '../../protocols/openai-chat/endpoints/gemini-embeddings.ts';
import { createEndpointOutbound } from '../../protocols/openai-chat/endpoints/outbound.ts';
import { createChatOutbound } from '../../protocols/openai-chat/outbound.ts';
import { createResponsesOutbound, responsesCapabilities } from '../../protocols/openai-responses/outbound.ts';
import { refusesInChat } from '../../protocols/shared/openai-models.ts';
import { checkApiKey } from '../api-key/index.ts';
import { askForModels, askJson, readableEntries } from '../ask-json.ts';
import type { ProviderContext } from '../definition.ts';
import type { Vendor } from './vendors.ts';

const listedModel = z.looseObject({
  id: z.string().min(1),
  owned_by: z.string().nullish().catch(undefined),
  /** OpenRouter and others. */
  name: z.string().nullish().catch(undefined),
  context_length: z.number().positive().nullish().catch(undefined),
  max_model_len: z.number().positive().nullish().catch(undefined),
});
const entries = readableEntries(listedModel);
/** Together's list has nothing around it. */
const modelList = z.union([entries, z.looseObject({ data: entries }).transform(({ data }) => data)]);

/** A vendor or a server of the owner's that speaks a dialect of OpenAI's. */
export function createOpenaiCompatibleProvider(
  name: string,
  baseUrl: string,
  vendor: Vendor,
  { http, userAgent, clock }: Pick<ProviderContext, 'http' | 'userAgent' | 'clock'>,
): ExchangingProvider {
  const bearerHeaders = vendor.authHeaders ?? ((key: string) => ({ authorization: `Bearer ${key}` }));
  const authHeaders = ({ bearer }: { readonly bearer: string }) =>
    bearer === '' ? {} : bearerHeaders(bearer);
  const [protocol = 'chat', ...further] = vendor.protocols ?? [];
  const openProtocol = { chat: openChat, responses: openResponses };
  const { outbound, capabilitiesOf } = openProtocol[protocol](vendor, clock.now);
  const furtherOutbounds = [
    ...further.map((one) => openProtocol[one](vendor, clock.now).outbound),
    ...endpointNames.map((endpoint) => createEndpointOutbound(endpoint, clock.now)),
    ...createGeminiEmbedOutbounds(createEndpointOutbound('embeddings', clock.now)),
  ];
  const requestOf = (path: string, account: { readonly bearer: string }, signal?: AbortSignal) => ({
    url: `${baseUrl}${path}`,
    headers: { ...authHeaders(account), 'user-agent': userAgent },
    signal,
  });
  const modelsPath = vendor.modelsPath ?? '/models';

  return {
    name,
    outbound,
    furtherOutbounds,
    baseUrl: () => baseUrl,
    authHeaders,
    normalizeApiKey: checkApiKey,
    ...(vendor.takesNoKey && { takesNoKey: true }),
    capabilitiesOf,
    isFoundByList: true,
    fallbackModels: [],
    async listModels(account, signal) {
      const list = await askForModels(http, modelList, requestOf(modelsPath, account, signal));
      return list.map(toModel);
    },
    /** A good answer proves the key. */
    async getQuota(account, signal) {
      const answer = await askJson(http, requestOf(vendor.check?.path ?? modelsPath, account, signal));
      return vendor.check?.readQuota?.(answer) ?? { isUnlimited: false };
    },
  };
}

interface OpenProtocol {
  readonly outbound: Outbound;
  readonly capabilitiesOf: (model: string) => Capabilities;
}

function openChat(vendor: Vendor, now: () => number): OpenProtocol {
  const capabilities = new Set([...without(chatCapabilities, vendor.lacks), ...(vendor.takes ?? [])]);
  const capabilitiesOf = (model: string) => without(capabilities, vendor.modelLacks?.(model));
  const hasResponses = vendor.protocols?.[0] === 'responses';
  const variant = {
    maxTokensField: 'max_tokens',
    ...(hasResponses && { refuses: refusesInChat }),
    ...vendor,
  } as const;
  return { outbound: createChatOutbound(variant, capabilities, capabilitiesOf, now), capabilitiesOf };
}

function openResponses(vendor: Vendor, now: () => number): OpenProtocol {
  const capabilities = without(responsesCapabilities, vendor.responsesLacks);
  const capabilitiesOf = (model: string) => without(capabilities, vendor.modelLacks?.(model));
  return { outbound: createResponsesOutbound(capabilities, capabilitiesOf, now), capabilitiesOf };
}

function toModel(model: z.infer<typeof listedModel>): ProviderModel {
  const contextWindow = model.context_length ?? model.max_model_len;
  return {
    id: model.id,
    ...(model.name && { displayName: model.name }),
    ...(model.owned_by && { vendor: model.owned_by }),
    ...(contextWindow && { contextWindow }),
  };
}
