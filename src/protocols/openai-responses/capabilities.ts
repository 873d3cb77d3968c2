import type { Capabilities } from '../../core/capabilities.ts';

/** What a server of the Responses API does natively. It has no stop sequences and no seed. */
export const responsesCapabilities: Capabilities = new Set([
  'maxTokens',
  'jsonObject',
  'jsonSchema',
  'toolChoice',
  'parallelToolCalls',
  'temperature',
  'topP',
  'reasoningEffort',
  'documents',
  'refusals',
  'cacheBreakpoints',
  'strictTools',
  'openai.verbosity',
  'openai.service_tier',
  'openai.user',
  'openai.safety_identifier',
  'openai.prompt_cache_key',
  'openai.prompt_cache_options',
  'openai.prompt_cache_retention',
]);

/** OpenAI refuses a lower limit. */
export const leastOutputTokens = 16;
