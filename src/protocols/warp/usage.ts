import type { Usage } from '../../core/turn.ts';
import type { ConversationUsage, StreamFinished } from './gen/warp_pb.js';
import type { UsageTotals } from './memory.ts';

/** A turn's figures, and the conversation's running totals after it. */
export interface TurnUsage {
  /**
   * Undefined when the upstream gave no figure at all. Both token counts are 0 when it told the credits only: no
   * turn takes zero input tokens.
   */
  readonly usage: Usage | undefined;
  readonly totals: UsageTotals;
}

/**
 * Reads what a turn cost. Input tokens are taken to include those read from a cache, as the upstream calls the
 * figure a total; cached tokens are never more than that. Without figures of the turn's own, the growth of the
 * conversation's totals stands in.
 */
export function usageOf(finished: StreamFinished, before: UsageTotals): TurnUsage {
  const totals = totalsOf(finished.conversationUsageMetadata, before);
  const credits = creditsOf(finished, before, totals);
  const tokens = tokensOf(finished) ?? growth(before, totals);
  if (!tokens && credits === undefined) return { usage: undefined, totals };
  return {
    usage: { ...(tokens ?? { inputTokens: 0, outputTokens: 0 }), ...(credits !== undefined && { credits }) },
    totals,
  };
}

function tokensOf(finished: StreamFinished): Usage | undefined {
  if (finished.tokenUsage.length === 0) return undefined;
  let inputTokens = 0;
  let outputTokens = 0;
  let cached = 0;
  for (const part of finished.tokenUsage) {
    inputTokens += part.totalInput;
    outputTokens += part.output;
    cached += part.inputCacheRead;
  }
  if (inputTokens === 0 && outputTokens === 0) return undefined;
  return {
    inputTokens,
    outputTokens,
    ...(cached > 0 && { cachedInputTokens: Math.min(cached, inputTokens) }),
  };
}

function growth(before: UsageTotals, after: UsageTotals): Usage | undefined {
  const inputTokens = after.inputTokens - before.inputTokens;
  const outputTokens = after.totalTokens - before.totalTokens - inputTokens;
  return inputTokens > 0 && outputTokens >= 0 ? { inputTokens, outputTokens } : undefined;
}

function creditsOf(finished: StreamFinished, before: UsageTotals, after: UsageTotals): number | undefined {
  const cost = finished.requestCost;
  if (cost) return rounded(cost.exact + cost.platformCredits);
  const grown = after.credits - before.credits;
  return finished.conversationUsageMetadata && grown > 0 ? rounded(grown) : undefined;
}

function totalsOf(usage: ConversationUsage | undefined, before: UsageTotals): UsageTotals {
  if (!usage) return before;
  const models = [usage.warpTokenUsage, usage.byokTokenUsage, usage.customEndpointTokenUsage];
  const totalTokens = models.flatMap(Object.values).reduce((sum, model) => sum + model.totalTokens, 0);
  return {
    inputTokens: usage.totalInputTokens,
    totalTokens,
    credits: usage.creditsSpent + usage.platformCreditsSpent,
  };
}

/** The wire has single precision, of which six decimals are more than enough: 0.1, not 0.10000000149. */
function rounded(credits: number): number {
  return Math.round(credits * 1e6) / 1e6;
}
