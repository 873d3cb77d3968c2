import type { Ability, Capabilities } from '../../core/capabilities.ts';

/** What came to the dialect late: most servers but OpenAI's lack it, and some refuse a request for it. */
export const newAbilities = [
  'documents',
  'refusals',
  'cacheBreakpoints',
  'strictTools',
  'openai.verbosity',
  'openai.prediction',
  'openai.service_tier',
  'openai.logit_bias',
  'openai.user',
  'openai.safety_identifier',
  'openai.prompt_cache_key',
  'openai.prompt_cache_options',
  'openai.prompt_cache_retention',
] as const satisfies readonly Ability[];

/**
 * What a Chat Completions server does natively. Not `stop`: it does not say which sequence it stopped at, as other dialects want to
 * know, and takes four at most. A relayed request keeps its `stop`.
 */
export const chatCapabilities: Capabilities = new Set([
  'maxTokens',
  'jsonObject',
  'jsonSchema',
  'toolChoice',
  'parallelToolCalls',
  'temperature',
  'topP',
  'seed',
  'presencePenalty',
  'frequencyPenalty',
  'reasoningEffort',
  ...newAbilities,
]);
