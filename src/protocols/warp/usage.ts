import type { Usage } from '../../core/turn.ts';
import { amount } from '../../lib/parse-json.ts';
import type {
  ChargedUsage,
  ConversationUsage,
  InferenceUsage,
  RequestCharges,
  StreamFinished,
  UsageTotals,
} from './schema.ts';

type ChargeTotals = Omit<NonNullable<UsageTotals['charges']>, '$unknown'>;

const noCharges: ChargeTotals = {
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  costCents: 0,
};

/** Of a conversation that begins. */
export const noTotals: UsageTotals = { totalTokens: 0, credits: 0, charges: noCharges };

/** A turn's figures, and the conversation's running totals after it. */
interface TurnUsage {
  /**
   * Undefined when the upstream gave no figure at all. Both token counts are 0 when it told the price only: no turn
   * takes zero input tokens.
   */
  readonly usage: Usage | undefined;
  readonly totals: UsageTotals;
}

/**
 * Reads what a turn cost: from its charges, else from its token usage, else from how the conversation's running totals
 * have grown. Any of them may be absent, and one may tell the tokens and another the price.
 */
export function usageOf(finished: StreamFinished, before: UsageTotals): TurnUsage {
  const metadata = finished.conversationUsageMetadata;
  const totals = totalsOf(metadata, before);
  const credits = creditsOf(finished, before, totals);
  const sources = [
    usageOfCharges(chargesOf(finished.requestCharges)),
    usageOfTokens(finished),
    usageOfCharges(grownCharges(before.charges, metadata?.totalCharges && totals.charges)),
    usageOfLastCall(metadata, totals.totalTokens - before.totalTokens),
  ];
  const tokens = sources.find((source) => source && (source.inputTokens > 0 || source.outputTokens > 0));
  const costCents = sources.find((source) => source?.costCents !== undefined)?.costCents;
  if (!tokens && credits === undefined && costCents === undefined) return { usage: undefined, totals };
  return {
    usage: {
      ...(tokens ?? { inputTokens: 0, outputTokens: 0 }),
      ...(credits !== undefined && { credits }),
      ...(costCents !== undefined && { costCents }),
    },
    totals,
  };
}

/**
 * Each of the four counts has its own price, so each token is taken to be in one of them: `input` is what was neither
 * read from a cache nor written to one. `Usage.inputTokens` holds all three.
 */
function usageOfCharges(charges: ChargeTotals | undefined): Usage | undefined {
  if (!charges) return undefined;
  const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, costCents } = charges;
  return {
    inputTokens: inputTokens + cacheReadTokens + cacheWriteTokens,
    outputTokens,
    ...optionalFigures(cacheReadTokens, cacheWriteTokens, costCents),
  };
}

/** Here the input is a total: what was read from a cache or written to one is part of it. */
function usageOfTokens({ tokenUsage }: StreamFinished): Usage | undefined {
  if (tokenUsage.length === 0) return undefined;
  let inputTokens = 0;
  let outputTokens = 0;
  let cached = 0;
  let written = 0;
  let costCents = 0;
  for (const part of tokenUsage) {
    inputTokens += part.totalInput;
    outputTokens += part.output;
    cached += part.inputCacheRead;
    written += part.inputCacheWrite;
    costCents += amount(part.costInCents);
  }
  cached = Math.min(cached, inputTokens);
  written = Math.min(written, inputTokens - cached);
  return { inputTokens, outputTokens, ...optionalFigures(cached, written, costCents) };
}

function optionalFigures(cachedInputTokens: number, cacheWriteTokens: number, costCents: number) {
  return {
    ...(cachedInputTokens > 0 && { cachedInputTokens }),
    ...(cacheWriteTokens > 0 && { cacheWriteTokens }),
    ...(costCents > 0 && { costCents: rounded(costCents) }),
  };
}

/**
 * The totals by model hold input and output in one number, and the metadata tells the input of the latest call only. For
 * a turn with one call that is exact; for a longer one only the sum is, hence estimated.
 */
function usageOfLastCall(metadata: ConversationUsage | undefined, grown: number): Usage | undefined {
  const inputTokens = metadata?.totalInputTokens ?? 0;
  return inputTokens > 0 && grown > inputTokens
    ? { inputTokens, outputTokens: grown - inputTokens, isEstimated: true }
    : undefined;
}

function creditsOf(finished: StreamFinished, before: UsageTotals, after: UsageTotals): number | undefined {
  const cost = finished.requestCost;
  if (cost) return rounded(amount(cost.exact) + amount(cost.platformCredits));
  const grown = after.credits - before.credits;
  return finished.conversationUsageMetadata && grown > 0 ? rounded(grown) : undefined;
}

function totalsOf(usage: ConversationUsage | undefined, before: UsageTotals): UsageTotals {
  if (!usage) return before;
  let totalTokens = 0;
  for (const models of [usage.warpTokenUsage, usage.byokTokenUsage, usage.customEndpointTokenUsage])
    for (const used of valuesOf(models)) totalTokens += used.totalTokens;
  return {
    // As much as a memory can hold.
    totalTokens: Math.min(totalTokens, 0xffff_ffff),
    credits: amount(usage.creditsSpent) + amount(usage.platformCreditsSpent),
    charges: chargesOf(usage.totalCharges) ?? before.charges,
  };
}

/** Of two entries with one key the last one counts. */
function valuesOf<Value>(
  entries: readonly { readonly key: string; readonly value: Value | undefined }[],
): readonly Value[] {
  const byKey = new Map(entries.map(({ key, value }) => [key, value]));
  return [...byKey.values()].filter((value) => value !== undefined);
}

/** All categories and models together, whichever key paid the vendor; undefined when nothing was charged. */
function chargesOf(charges: RequestCharges | undefined): ChargeTotals | undefined {
  const categories = valuesOf(charges?.usageByCategory ?? []);
  if (categories.length === 0) return undefined;
  return sumOf(categories.map(chargesOfCategory));
}

/** What was charged since; undefined when that is unknown. */
function grownCharges(
  before: ChargeTotals | undefined,
  after: ChargeTotals | undefined,
): ChargeTotals | undefined {
  if (!before || !after) return undefined;
  const grown = addCharges(after, before, -1);
  return Object.values(grown).every((value) => value >= 0) ? grown : undefined;
}

function chargesOfCategory({ directApi, byok, customEndpoint, platformUsageInCents }: ChargedUsage) {
  const models = [directApi, byok, customEndpoint].flatMap((byModel) => valuesOf(byModel));
  return sumOf([...models.map(chargesOfModel), { ...noCharges, costCents: amount(platformUsageInCents) }]);
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

function sumOf(charges: readonly ChargeTotals[]): ChargeTotals {
  return charges.reduce((sum, more) => addCharges(sum, more), noCharges);
}

function addCharges(one: ChargeTotals, other: ChargeTotals, sign: 1 | -1 = 1): ChargeTotals {
  return {
    inputTokens: one.inputTokens + sign * other.inputTokens,
    outputTokens: one.outputTokens + sign * other.outputTokens,
    cacheReadTokens: one.cacheReadTokens + sign * other.cacheReadTokens,
    cacheWriteTokens: one.cacheWriteTokens + sign * other.cacheWriteTokens,
    costCents: one.costCents + sign * other.costCents,
  };
}

/** The wire has single precision, of which six decimals are more than enough: 0.1, not 0.10000000149. */
function rounded(value: number): number {
  return Math.round(value * 1e6) / 1e6;
}
