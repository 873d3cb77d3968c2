import { amount } from '../../lib/amount.ts';
import type { ChargedUsage, InferenceUsage, RequestCharges } from './gen/warp_pb.js';

/** What was charged. Input is apart from what was read from a cache or written to one. */
export interface ChargeTotals {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
  readonly costCents: number;
}

export const noCharges: ChargeTotals = {
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  costCents: 0,
};

/** All categories and models together, whichever key paid the vendor; undefined when nothing was charged. */
export function chargesOf(charges: RequestCharges | undefined): ChargeTotals | undefined {
  const categories = Object.values(charges?.usageByCategory ?? {});
  if (categories.length === 0) return undefined;
  return categories.map(chargesOfCategory).reduce(addCharges, noCharges);
}

/** What was charged since; undefined when that is unknown. */
export function grownCharges(
  before: ChargeTotals | undefined,
  after: ChargeTotals | undefined,
): ChargeTotals | undefined {
  if (!before || !after) return undefined;
  const grown: ChargeTotals = {
    inputTokens: after.inputTokens - before.inputTokens,
    outputTokens: after.outputTokens - before.outputTokens,
    cacheReadTokens: after.cacheReadTokens - before.cacheReadTokens,
    cacheWriteTokens: after.cacheWriteTokens - before.cacheWriteTokens,
    costCents: after.costCents - before.costCents,
  };
  return Object.values(grown).every((value) => value >= 0) ? grown : undefined;
}

function chargesOfCategory({ directApi, byok, customEndpoint, platformUsageInCents }: ChargedUsage) {
  const models = [directApi, byok, customEndpoint].flatMap((byModel) => Object.values(byModel));
  return models
    .map(chargesOfModel)
    .reduce(addCharges, { ...noCharges, costCents: amount(platformUsageInCents) });
}

function chargesOfModel({ tokenCount, tokenCost, webSearchCostInCents }: InferenceUsage): ChargeTotals {
  const costs = [
    tokenCost?.input,
    tokenCost?.output,
    tokenCost?.cacheRead,
    tokenCost?.cacheWrite,
    webSearchCostInCents,
  ];
  return {
    inputTokens: tokenCount?.input ?? 0,
    outputTokens: tokenCount?.output ?? 0,
    cacheReadTokens: tokenCount?.inputCacheRead ?? 0,
    cacheWriteTokens: tokenCount?.inputCacheWrite ?? 0,
    costCents: costs.reduce<number>((sum, cost) => sum + amount(cost ?? 0), 0),
  };
}

function addCharges(one: ChargeTotals, other: ChargeTotals): ChargeTotals {
  return {
    inputTokens: one.inputTokens + other.inputTokens,
    outputTokens: one.outputTokens + other.outputTokens,
    cacheReadTokens: one.cacheReadTokens + other.cacheReadTokens,
    cacheWriteTokens: one.cacheWriteTokens + other.cacheWriteTokens,
    costCents: one.costCents + other.costCents,
  };
}
