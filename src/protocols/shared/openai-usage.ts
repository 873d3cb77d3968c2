import type { Usage } from '../../core/turn.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { countIn } from './json-values.ts';

/** The figures of an answer of Chat Completions, and of what has the same form; undefined where there are none that can be read. */
export function readUsage(value: unknown): Usage | undefined {
  // Most chunks of a stream have none.
  if (!isJsonObject(value)) return undefined;
  const inputTokens = countIn(value, 'prompt_tokens');
  if (inputTokens === undefined) return undefined;
  const cached =
    countIn(value['prompt_tokens_details'], 'cached_tokens') ??
    // DeepSeek's place for what its cache had.
    countIn(value, 'prompt_cache_hit_tokens');
  const written = countIn(value['prompt_tokens_details'], 'cache_write_tokens');
  const reasoning = countIn(value['completion_tokens_details'], 'reasoning_tokens');
  // OpenRouter's, in US dollars.
  const { cost } = value;
  return {
    inputTokens,
    outputTokens: countIn(value, 'completion_tokens') ?? 0,
    ...(cached === undefined ? {} : { cachedInputTokens: cached }),
    ...(written === undefined ? {} : { cacheWriteTokens: written }),
    ...(reasoning === undefined ? {} : { reasoningTokens: reasoning }),
    ...(typeof cost === 'number' && cost >= 0 ? { costCents: cost * 100 } : {}),
  };
}

/** The figures of a response; undefined where there are none that can be read. */
export function readResponsesUsage(value: unknown): Usage | undefined {
  if (!isJsonObject(value)) return undefined;
  const inputTokens = countIn(value, 'input_tokens');
  if (inputTokens === undefined) return undefined;
  const cached = countIn(value['input_tokens_details'], 'cached_tokens');
  const written = countIn(value['input_tokens_details'], 'cache_write_tokens');
  const reasoning = countIn(value['output_tokens_details'], 'reasoning_tokens');
  return {
    inputTokens,
    outputTokens: countIn(value, 'output_tokens') ?? 0,
    ...(cached !== undefined && { cachedInputTokens: cached }),
    ...(written !== undefined && { cacheWriteTokens: written }),
    ...(reasoning !== undefined && { reasoningTokens: reasoning }),
  };
}
