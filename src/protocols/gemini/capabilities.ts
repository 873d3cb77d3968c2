import type { Ability, Capabilities } from '../../core/capabilities.ts';
import { generationOf, thinkingOf } from './gemini-models.ts';

const common = [
  'toolChoice',
  'temperature',
  'topP',
  'topK',
  'seed',
  'documents',
] as const satisfies readonly Ability[];

/**
 * What a Gemini model does natively. Never `stop`: it does not say which sequence it stopped at, and looks for them in its thoughts
 * as well. Nor `parallelToolCalls` or penalties: nothing turns parallel calls off, and models since 2.5 refuse a penalty. A relayed
 * request keeps all of them.
 *
 * A limit counts the thoughts of a model that thinks, so that a small one leaves no answer: there the gateway counts what is visible.
 * Before Gemini 3 a request with tools may not ask for JSON.
 */
export function geminiCapabilities(model: string): Capabilities {
  return new Set<Ability>([
    ...common,
    ...(thinkingOf(model) ? (['reasoningEffort'] as const) : (['maxTokens'] as const)),
    ...(generationOf(model) >= 3 ? (['jsonObject', 'jsonSchema'] as const) : []),
  ]);
}
