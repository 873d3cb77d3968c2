import type { Reasoning, ToolChoice } from '../../core/turn.ts';
import { askedEffort, budgetOf, nearestEffort } from '../shared/reasoning.ts';
import type { ModelFacts } from './claude-models.ts';

/** The least that Anthropic takes. */
const leastBudget = 1_024;
const usualBudget = 8_192;

export interface ThinkingConfig {
  readonly thinking?: Readonly<Record<string, unknown>>;
  readonly effort?: string;
  readonly isOn: boolean;
}

/** What the history says of thinking. */
export interface GivenBack {
  /** Blocks of thinking that are given back. */
  readonly hasThinking: boolean;
  /** The calls whose results come now were made without thinking that could be given back. */
  readonly lacksThinking: boolean;
}

/**
 * What is sent about thinking. It stays off where Anthropic would refuse the request for it: with a call that is forced, and, where it
 * has a budget, if the thinking before the calls that are answered now is missing, or there is no room for it.
 */
export function thinkingConfig(
  reasoning: Reasoning,
  toolChoice: ToolChoice,
  maxTokens: number,
  facts: ModelFacts,
  history: GivenBack,
): ThinkingConfig {
  const { thinkingOff } = facts;
  const isUnwanted = reasoning.effort === 'none' || reasoning.budgetTokens === 0;
  if (isUnwanted && thinkingOff !== 'never')
    return { ...(thinkingOff && { thinking: { type: thinkingOff } }), isOn: false };
  const effort = effortFor(reasoning, facts);
  const settings = effort === undefined ? {} : { effort };
  const binding = facts.bindsThinking && history.hasThinking ? { block_binding: dropOthers } : {};
  const isForced = toolChoice.type === 'required' || toolChoice.type === 'tool';
  const isAsked = !isUnwanted && (reasoning.isAsked === true || reasoning.budgetTokens !== undefined);
  if (facts.thinking === 'adaptive') {
    const isOn = isAsked && !(isForced && facts.takesForcedTools);
    if (!isOn && !('block_binding' in binding)) return { ...settings, isOn };
    // What the newest models think is hidden by default.
    const thinking = { type: 'adaptive', ...(isOn && { display: 'summarized' }), ...binding };
    return { ...settings, thinking, isOn: true };
  }
  const budget = budgetFor(reasoning, maxTokens);
  const isOn = facts.thinking === 'budget' && isAsked && !isForced && !history.lacksThinking;
  if (!isOn || budget < leastBudget) return { ...settings, isOn: false };
  return { ...settings, thinking: { type: 'enabled', budget_tokens: budget }, isOn: true };
}

/** Thinking that is of another conversation in Anthropic's eyes is left out instead of being refused. */
const dropOthers = { prefix_mismatch_behavior: 'drop_block' };
export const bindingBeta = 'thinking-binding-controls-2026-08-01';

/** The nearest that the model has; undefined where it has none or the client named none. */
function effortFor(reasoning: Reasoning, { efforts }: ModelFacts): string | undefined {
  const asked = askedEffort(reasoning);
  return asked === undefined || efforts.length === 0 ? undefined : nearestEffort(asked, efforts);
}

/** Thinking is part of the answer's limit: a client that named no budget has half of it left for the answer. */
function budgetFor({ effort = 'medium', budgetTokens = -1 }: Reasoning, maxTokens: number): number {
  if (budgetTokens > 0) return Math.min(Math.max(budgetTokens, leastBudget), maxTokens - 1);
  const budget = Math.max(budgetOf(effort) ?? usualBudget, leastBudget);
  return Math.min(budget, Math.floor(maxTokens / 2));
}
