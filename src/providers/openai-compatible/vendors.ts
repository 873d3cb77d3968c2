import type { Ability } from '../../core/capabilities.ts';
import { newAbilities } from '../../protocols/openai-chat/capabilities.ts';
import type { ChatVariant } from '../../protocols/openai-chat/outbound.ts';
import { isGptOss, openaiModelLacks } from '../../protocols/shared/openai-models.ts';
import { type ApiKeyProviderOptions, vendors as keyVendors } from '../api-key/index.ts';
import {
  deepseekEffort,
  deepseekLacks,
  groqEffort,
  groqLacks,
  openrouterEffort,
  xaiEffort,
  xaiLacks,
} from './efforts.ts';

/** The dialects of OpenAI's that a server may speak. */
export const openaiProtocols = ['chat', 'responses'] as const;
export type OpenaiProtocol = (typeof openaiProtocols)[number];

/** A server that speaks OpenAI's Chat Completions, and what is particular to it. */
export interface Vendor extends Partial<ChatVariant> {
  /** What `/chat/completions` and the paths below are appended to. Absent: the configuration file has to say it. */
  readonly baseUrl?: string;
  /** Headers that carry the key; `Authorization: Bearer` by default. */
  readonly authHeaders?: ApiKeyProviderOptions['authHeaders'];
  readonly modelsPath?: string;
  /** Asked about a key, where another call than the list of models says more. */
  readonly check?: { readonly path: string; readonly readQuota: ApiKeyProviderOptions['readQuota'] };
  /** A server on the owner's machine: an account needs no key. */
  readonly takesNoKey?: true;
  /** The first is what turns of other dialects are translated to. Chat Completions alone by default. */
  readonly protocols?: readonly OpenaiProtocol[];
  /** What it does beyond its protocol. */
  readonly takes?: readonly Ability[];
  /** What it does not do although Chat Completions has a field for it. */
  readonly lacks?: readonly Ability[];
  /** The same of Responses. */
  readonly responsesLacks?: readonly Ability[];
  /** The same for one of its models. */
  readonly modelLacks?: (model: string) => readonly Ability[];
}

/** An unknown server may refuse a request for the field alone. */
const usual: readonly Ability[] = ['reasoningEffort', ...newAbilities];
/** OpenAI's alone, of what came late. */
const ofOpenai = newAbilities.filter((ability) => ability !== 'documents' && ability !== 'cacheBreakpoints');

/** In Chat Completions: some clients and gateways make longer ones. */
const openaiCallIds = /^.{1,40}$/s;

/** Its other models have words of their own for it, or none. */
function togetherLacks(model: string): readonly Ability[] {
  return isGptOss(model) ? [] : ['reasoningEffort'];
}

/** The presets: base URL, and how each differs. Sources: the vendors' own API references. */
export const vendors: Readonly<Record<string, Vendor>> = {
  openai: {
    baseUrl: 'https://api.openai.com/v1',
    protocols: ['responses', 'chat'],
    maxTokensField: 'max_completion_tokens',
    callIds: openaiCallIds,
    takesLateRules: true,
    modelLacks: openaiModelLacks,
  },
  openrouter: {
    baseUrl: 'https://openrouter.ai/api/v1',
    check: { path: '/key', readQuota: keyVendors['openrouter']?.readQuota },
    cacheMarkField: 'cache_control',
    takes: ['topK'],
    lacks: ofOpenai,
    encodeEffort: openrouterEffort,
  },
  groq: {
    baseUrl: 'https://api.groq.com/openai/v1',
    lacks: newAbilities,
    modelLacks: groqLacks,
    encodeEffort: groqEffort,
    takesLateRules: true,
  },
  mistral: {
    baseUrl: 'https://api.mistral.ai/v1',
    lacksStreamOptions: true,
    callIds: /^[A-Za-z0-9]{9}$/,
    lacks: [...usual, 'seed'],
  },
  deepseek: {
    baseUrl: 'https://api.deepseek.com/v1',
    // Its models think unless told not to, and then may not be made to call a tool.
    lacks: [...newAbilities, 'jsonSchema', 'seed', 'parallelToolCalls', 'toolChoice'],
    modelLacks: deepseekLacks,
    encodeEffort: deepseekEffort,
    takesLateRules: true,
    wantsReasoning: true,
  },
  xai: {
    baseUrl: 'https://api.x.ai/v1',
    lacks: newAbilities,
    modelLacks: xaiLacks,
    encodeEffort: xaiEffort,
    takesLateRules: true,
  },
  together: { baseUrl: 'https://api.together.xyz/v1', lacks: newAbilities, modelLacks: togetherLacks },
  fireworks: { baseUrl: 'https://api.fireworks.ai/inference/v1', lacks: usual },
  'azure-openai': {
    authHeaders: (key) => ({ 'api-key': key }),
    maxTokensField: 'max_completion_tokens',
    callIds: openaiCallIds,
    takesLateRules: true,
    lacks: ['documents', 'cacheBreakpoints'],
    modelLacks: openaiModelLacks,
  },
  ollama: {
    baseUrl: 'http://127.0.0.1:11434/v1',
    takesNoKey: true,
    lacks: [...usual, 'toolChoice', 'parallelToolCalls'],
  },
  lmstudio: { baseUrl: 'http://127.0.0.1:1234/v1', takesNoKey: true, lacks: [...usual, 'parallelToolCalls'] },
  vllm: {
    baseUrl: 'http://127.0.0.1:8000/v1',
    takesNoKey: true,
    takes: ['topK'],
    lacks: [...newAbilities, 'parallelToolCalls'],
  },
  llamacpp: {
    baseUrl: 'http://127.0.0.1:8080/v1',
    takesNoKey: true,
    takes: ['topK'],
    lacks: [...usual, 'parallelToolCalls'],
  },
};

/** Any other server, named by its base URL in the configuration file. */
export const anyServer: Vendor = {
  takesNoKey: true,
  lacks: usual,
  responsesLacks: [
    'cacheBreakpoints',
    'openai.prompt_cache_options',
    'openai.prompt_cache_retention',
    'openai.safety_identifier',
  ],
};
