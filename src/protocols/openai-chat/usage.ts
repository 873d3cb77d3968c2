import { z } from 'zod';
import type { Usage } from '../../core/turn.ts';

const count = z.number().int().min(0);
const optional = count.nullish().catch(undefined);
const usage = z.looseObject({
  prompt_tokens: count,
  completion_tokens: optional,
  prompt_tokens_details: z.looseObject({ cached_tokens: optional }).nullish().catch(undefined),
  completion_tokens_details: z.looseObject({ reasoning_tokens: optional }).nullish().catch(undefined),
  /** DeepSeek's place for what its cache had. */
  prompt_cache_hit_tokens: optional,
  /** OpenRouter's, in US dollars. */
  cost: z.number().min(0).nullish().catch(undefined),
});

/** The figures of an answer; undefined where there are none that can be read. */
export function readUsage(value: unknown): Usage | undefined {
  // Most chunks of a stream have none.
  if (value === undefined || value === null) return undefined;
  const read = usage.safeParse(value).data;
  if (!read) return undefined;
  const cached = read.prompt_tokens_details?.cached_tokens ?? read.prompt_cache_hit_tokens;
  const reasoning = read.completion_tokens_details?.reasoning_tokens;
  return {
    inputTokens: read.prompt_tokens,
    outputTokens: read.completion_tokens ?? 0,
    ...(typeof cached === 'number' ? { cachedInputTokens: cached } : {}),
    ...(typeof reasoning === 'number' ? { reasoningTokens: reasoning } : {}),
    ...(typeof read.cost === 'number' ? { costCents: read.cost * 100 } : {}),
  };
}
