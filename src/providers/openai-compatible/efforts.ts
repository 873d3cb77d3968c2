// How requests to each vendor say how hard a model should think. Sources: their own references, read in November 2026.
import type { Ability } from '../../core/capabilities.ts';
import type { ChatVariant } from '../../protocols/openai-chat/outbound.ts';
import { isGptOss } from '../../protocols/shared/openai-models.ts';
import { nearestEffort } from '../../protocols/shared/reasoning.ts';

type EncodeEffort = NonNullable<ChatVariant['encodeEffort']>;

/** OpenRouter takes every word, and finds what each vendor's model has of them. Models that always think refuse `none`. */
export const openrouterEffort: EncodeEffort = (_model, effort) =>
  effort === 'none' ? undefined : { reasoning_effort: effort };

/** It takes every word but `none`, which it says in another way. Its models think unless told not to. */
export const deepseekEffort: EncodeEffort = (_model, effort) =>
  effort === 'none' ? { thinking: { type: 'disabled' } } : { reasoning_effort: effort };

/** Former names of its models, each of which thinks always or never. */
export function deepseekLacks(model: string): readonly Ability[] {
  return /^deepseek-(chat|coder|reasoner)\b/.test(model) ? ['reasoningEffort'] : [];
}

const isQwen3 = (model: string) => /(^|\/)qwen-?3/i.test(model);

/** Qwen 3 thinks or does not, and knows no more words for it; others of its models think always or never. */
export const groqEffort: EncodeEffort = (model, effort) =>
  isQwen3(model) ? { reasoning_effort: effort === 'none' ? 'none' : 'default' } : undefined;

export function groqLacks(model: string): readonly Ability[] {
  return isGptOss(model) || isQwen3(model) ? [] : ['reasoningEffort'];
}

const grokEfforts: readonly (readonly [models: RegExp, efforts: readonly string[]])[] = [
  [/^grok-3-mini/, ['low', 'high']],
  [/^grok-4\.\d+-multi-agent/, ['low', 'medium', 'high', 'xhigh']],
  [/^grok-4\.3(?!\d)/, ['none', 'low', 'medium', 'high']],
  [/^grok-4\.[5-9](?!\d)/, ['low', 'medium', 'high']],
];

function grokEffortsOf(model: string): readonly string[] | undefined {
  return grokEfforts.find(([models]) => models.test(model))?.[1];
}

export const xaiEffort: EncodeEffort = (model, effort) => ({
  reasoning_effort: nearestEffort(effort, grokEffortsOf(model) ?? []),
});

/** The others refuse any effort, and those that think refuse the penalties. */
export function xaiLacks(model: string): readonly Ability[] {
  const isThinking = !/^grok-(2|3(?!-mini))|non-reasoning/.test(model);
  return [
    ...(grokEffortsOf(model) ? [] : (['reasoningEffort'] as const)),
    ...(isThinking ? (['presencePenalty', 'frequencyPenalty'] as const) : []),
  ];
}
