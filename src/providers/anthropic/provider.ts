import { z } from 'zod';
import type { ExchangingProvider, ProviderAccount, ProviderModel } from '../../core/provider.ts';
import {
  messagesCapabilities,
  messagesCapabilitiesOf,
} from '../../protocols/anthropic-messages/claude-models.ts';
import { createCountOutbound } from '../../protocols/anthropic-messages/count-tokens.ts';
import { createMessagesOutbound, messagesVersion } from '../../protocols/anthropic-messages/outbound.ts';
import { checkApiKey, invalidKey } from '../api-key/index.ts';
import { allPages, askForModels, readableEntries } from '../ask-json.ts';
import type { ProviderContext } from '../definition.ts';

/** Source: Anthropic's API reference, "List Models". Servers that speak its protocol may say less. */
const listedModel = z.looseObject({
  id: z.string().min(1),
  display_name: z.string().nullish().catch(undefined),
  max_input_tokens: z.number().positive().nullish().catch(undefined),
  capabilities: z
    .looseObject({ image_input: z.looseObject({ supported: z.boolean() }) })
    .nullish()
    .catch(undefined),
});
const modelPage = z.looseObject({
  data: readableEntries(listedModel),
  has_more: z.boolean().nullish().catch(undefined),
  last_id: z.string().nullish().catch(undefined),
});

const pageSize = 100;

/** Until a list could be had. */
const currentModels = [
  'claude-opus-5-5',
  'claude-sonnet-5-5',
  'claude-haiku-5-5',
  'claude-fable-5-2',
  'claude-opus-4-6',
  'claude-sonnet-4-6',
  'claude-haiku-4-5',
];

/** Of Anthropic itself, wherever it is reached. */
const anthropicName = 'anthropic';

export interface AnthropicServer {
  readonly name: string;
  /** What `/v1/messages` is below. */
  readonly baseUrl: string;
  /** A server of the owner's, whose models are its own. */
  readonly takesNoKey: boolean;
}

export function createAnthropicProvider(
  { name, baseUrl, takesNoKey }: AnthropicServer,
  { http, userAgent, clock }: Pick<ProviderContext, 'http' | 'userAgent' | 'clock'>,
): ExchangingProvider {
  // Many servers that speak Messages, vLLM and MiniMax's among them, take a key as a bearer alone; Anthropic takes no key as one.
  const takesBearer = takesNoKey && !/(^|\.)anthropic\.com$/i.test(new URL(baseUrl).hostname);
  const authHeaders = ({ bearer }: ProviderAccount): Readonly<Record<string, string>> => {
    if (bearer === '') return {};
    return { 'x-api-key': bearer, ...(takesBearer && { authorization: `Bearer ${bearer}` }) };
  };
  const ask = (query: string, account: ProviderAccount, signal?: AbortSignal) =>
    askForModels(http, modelPage, {
      url: `${baseUrl}/v1/models?${query}`,
      headers: { ...authHeaders(account), ...messagesVersion, 'user-agent': userAgent },
      signal,
    });

  return {
    name,
    outbound: createMessagesOutbound(
      messagesCapabilities,
      messagesCapabilitiesOf,
      clock.now,
      name === anthropicName,
    ),
    // Others that speak Messages may not have the call.
    ...(name === anthropicName && { furtherOutbounds: [createCountOutbound(clock.now)] }),
    baseUrl: () => baseUrl,
    authHeaders,
    normalizeApiKey,
    ...(takesNoKey && { takesNoKey: true }),
    capabilitiesOf: messagesCapabilitiesOf,
    isFoundByList: true,
    fallbackModels: takesNoKey ? [] : currentModels.map((id) => ({ id, vendor: 'anthropic' })),
    async listModels(account, signal) {
      const models = await allPages(async (after) => {
        const from = after === undefined ? '' : `&after_id=${encodeURIComponent(after)}`;
        const page = await ask(`limit=${pageSize}${from}`, account, signal);
        return { items: page.data.map(toModel), next: page.has_more ? page.last_id : undefined };
      });
      return withAliases(models);
    },
    /** A good answer proves the key. */
    async getQuota(account, signal) {
      await ask('limit=1', account, signal);
      return { isUnlimited: false };
    },
  };
}

/** Tokens of a login at Anthropic's own programs are for those alone. */
function normalizeApiKey(key: string): string {
  const checked = checkApiKey(key);
  if (!checked.startsWith('sk-ant-oat')) return checked;
  throw invalidKey(
    'This is the token of a login, which Anthropic takes from its own programs only. Make an API key in the Claude Console.',
  );
}

function toModel(model: z.infer<typeof listedModel>): ProviderModel {
  const { id, display_name: displayName, max_input_tokens: contextWindow, capabilities } = model;
  return {
    id,
    ...(displayName && { displayName }),
    ...(contextWindow && { contextWindow }),
    ...(capabilities && { hasVision: capabilities.image_input.supported }),
    ...(id.startsWith('claude-') && { vendor: 'anthropic' }),
  };
}

/** Anthropic's list has dated versions; most people ask for the alias that its documentation names beside them. */
function withAliases(models: readonly ProviderModel[]): ProviderModel[] {
  const named = new Map(models.map((model) => [model.id, model]));
  for (const model of models) {
    const alias = aliasOf(model.id);
    if (alias !== undefined && !named.has(alias)) named.set(alias, { ...model, id: alias });
  }
  return [...named.values()];
}

/** `claude-opus-4-5` of `claude-opus-4-5-20251101`, `claude-opus-4-0` of version 4, `claude-3-5-haiku-latest` of the earlier names. */
function aliasOf(id: string): string | undefined {
  const [, name] = /^(claude-.+)-\d{8}$/.exec(id) ?? [];
  if (name === undefined || /-\d+-\d+$/.test(name)) return name;
  return /-\d+$/.test(name) ? `${name}-0` : `${name}-latest`;
}
