import type { Reasoning, ReasoningPart } from '../../core/turn.ts';
import { parseJsonObject } from '../../lib/parse-json.ts';

/**
 * Efforts in the words of the dialects, and the tokens of thinking each is worth where an upstream wants a budget instead. Up to `high`
 * as Google maps them for its OpenAI-compatible endpoint; beyond it, within what Claude models can put out.
 */
const budgets = {
  none: 0,
  minimal: 512,
  low: 1_024,
  medium: 8_192,
  high: 24_576,
  xhigh: 49_152,
  max: 63_999,
} as const;

/** Undefined for a word that is not known. */
export function budgetOf(effort: string): number | undefined {
  return Object.hasOwn(budgets, effort) ? budgets[effort as keyof typeof budgets] : undefined;
}

/** The effort whose budget is nearest. Undefined where the budget is left to the model (Gemini's -1). */
export function effortOf(budgetTokens: number): string | undefined {
  if (budgetTokens < 0) return undefined;
  if (budgetTokens === 0) return 'none';
  const [, ...efforts] = Object.entries(budgets);
  const distances = efforts.map(([effort, tokens]) => ({
    effort,
    distance: Math.abs(tokens - budgetTokens),
  }));
  return distances.sort((left, right) => left.distance - right.distance)[0]?.effort;
}

/** What a client asked for, at an upstream that takes efforts. */
export function askedEffort({ effort, budgetTokens }: Reasoning): string | undefined {
  return effort ?? (budgetTokens === undefined ? undefined : effortOf(budgetTokens));
}

/** The nearest of those that a model has, from the least to the greatest. A word that is not known is the upstream's to judge. */
export function nearestEffort(asked: string, offered: readonly string[]): string | undefined {
  const tokens = budgetOf(asked);
  if (tokens === undefined || offered.includes(asked)) return asked;
  return offered.findLast((effort) => (budgetOf(effort) ?? 0) <= tokens) ?? offered[0];
}

/** The same at one that takes budgets. */
export function askedBudget({ effort, budgetTokens }: Reasoning): number | undefined {
  return budgetTokens ?? (effort === undefined ? undefined : budgetOf(effort));
}

/** What a client carries of reasoning, from the JSON of its text and its proof; what is missing there counts as empty. */
export function readReasoning(json: string): Omit<ReasoningPart, 'type'> {
  const { text, protocol, data } = parseJsonObject(json) ?? {};
  const isProof = typeof protocol === 'string' && typeof data === 'string';
  return { text: typeof text === 'string' ? text : '', ...(isProof && { proof: { protocol, data } }) };
}

/** What all of our signatures begin with: a multiple of three bytes, so that it can be seen in base64. */
const ours = 'warp2api ';
const oursEncoded = Buffer.from(ours).toString('base64');

/** A signature for dialects whose clients send reasoning back with one. */
export function ownSignature(content: string): string {
  return Buffer.from(ours + content).toString('base64');
}

/** What `ownSignature` made it of; undefined for a vendor's signature. */
export function contentOfSignature(signature: string): string | undefined {
  if (!signature.startsWith(oursEncoded)) return undefined;
  return Buffer.from(signature, 'base64').toString().slice(ours.length);
}

/** Six of its characters, seldom seen elsewhere: V8 finds no more than that at the speed of a search for one. */
const rare = oursEncoded.slice(2, 8);

/** Whether the text of a request holds a signature of ours: a vendor would refuse it. */
export function holdsOurSignature(text: string): boolean {
  return text.includes(rare) && text.includes(`"${oursEncoded}`);
}

/**
 * What Google documents for calls that no Gemini model made, or whose signature is lost: Gemini 3 refuses them without a signature.
 * Source: the Gemini API's documentation, "Thought signatures".
 */
export const missingSignature = 'skip_thought_signature_validator';
