import type { CollectedTurn } from '../core/protocol.ts';
import type { AskedRequest, Usage } from '../core/turn.ts';
import { estimateUsage, roughUsage } from './token-count.ts';

/** An upstream may report what it charged and no tokens; no turn takes zero of both. */
export function hasTokens(usage: Usage | undefined): usage is Usage {
  return usage !== undefined && (usage.inputTokens > 0 || usage.outputTokens > 0);
}

/** For the client: the upstream's figures, or tokens counted here with what the upstream said of its charge. */
export function shownUsage(
  reported: Usage | undefined,
  request: AskedRequest,
  answer: Pick<CollectedTurn, 'text' | 'reasoning' | 'toolCalls'>,
): Usage {
  return hasTokens(reported) ? reported : withChargeOf(reported, estimateUsage(request, answer));
}

/** For the pool and the log, where nobody reads exact figures: no tokenizer is loaded for them. */
export function countedUsage(
  reported: Usage | undefined,
  request: AskedRequest,
  outputCharacters: number,
): Usage | undefined {
  if (hasTokens(reported) || outputCharacters === 0) return reported;
  return withChargeOf(reported, roughUsage(request, outputCharacters));
}

function withChargeOf(reported: Usage | undefined, counted: Usage): Usage {
  const { credits, costCents } = reported ?? {};
  return {
    ...counted,
    ...(credits === undefined ? {} : { credits }),
    ...(costCents === undefined ? {} : { costCents }),
  };
}

const optionalFigures = [
  'cachedInputTokens',
  'reasoningTokens',
  'cacheWriteTokens',
  'credits',
  'costCents',
] as const;

/** What several upstream turns took that are one to the client. */
export function sumUsage(one: Usage | undefined, other: Usage | undefined): Usage | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  const sum: { -readonly [Name in keyof Usage]: Usage[Name] } = {
    inputTokens: one.inputTokens + other.inputTokens,
    outputTokens: one.outputTokens + other.outputTokens,
  };
  for (const name of optionalFigures) {
    if (one[name] !== undefined || other[name] !== undefined)
      sum[name] = (one[name] ?? 0) + (other[name] ?? 0);
  }
  if (one.isEstimated || other.isEstimated) sum.isEstimated = true;
  return sum;
}
