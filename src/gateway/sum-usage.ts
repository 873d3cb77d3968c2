import type { Usage } from '../core/turn.ts';

/** What several upstream turns took that are one to the client. */
export function sumUsage(one: Usage | undefined, other: Usage | undefined): Usage | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return {
    inputTokens: one.inputTokens + other.inputTokens,
    outputTokens: one.outputTokens + other.outputTokens,
    ...told('cachedInputTokens', one, other),
    ...told('reasoningTokens', one, other),
    ...told('cacheWriteTokens', one, other),
    ...told('credits', one, other),
    ...told('costCents', one, other),
    ...(one.isEstimated || other.isEstimated ? { isEstimated: true } : {}),
  };
}

type OptionalFigure = 'cachedInputTokens' | 'cacheWriteTokens' | 'reasoningTokens' | 'credits' | 'costCents';

function told(name: OptionalFigure, one: Usage, other: Usage) {
  if (one[name] === undefined && other[name] === undefined) return {};
  return { [name]: (one[name] ?? 0) + (other[name] ?? 0) };
}
