import type { Ability } from '../../core/capabilities.ts';
import type { RelayedRequest } from '../../core/protocol.ts';
import type { Reasoning } from '../../core/turn.ts';
import { askedEffort, nearestEffort } from './reasoning.ts';

const tuning: readonly Ability[] = ['temperature', 'topP', 'presencePenalty', 'frequencyPenalty'];
/** OpenAI's reasoning models refuse what tunes the choice of words, and its others refuse an effort and what came with these. */
export function openaiModelLacks(model: string): readonly Ability[] {
  return reasoner.test(model)
    ? [...tuning, 'openai.logit_bias', 'openai.prediction']
    : ['reasoningEffort', 'cacheBreakpoints', 'openai.verbosity', 'openai.prompt_cache_options'];
}

const openaiModel = /^(?:openai\/)?(o|gpt-)(\d(?:\.\d+)?)(.*)$/;
const usualEfforts = ['low', 'medium', 'high'];

/** OpenAI's open models, wherever they run. */
export function isGptOss(model: string): boolean {
  return /(^|\/)gpt-oss\b/.test(model);
}

/** Sources: OpenAI's model pages. Resellers and local servers have their own models, and few know `max`. */
function openaiEfforts(model: string): readonly string[] {
  if (isGptOss(model)) return usualEfforts;
  const [, series, version, kind = ''] = openaiModel.exec(model) ?? [];
  if (series === 'o') return usualEfforts;
  const minor = Number(version) - 5;
  if (version === undefined || minor < 0) return ['none', 'minimal', ...usualEfforts, 'xhigh'];
  if (kind.startsWith('-chat')) return minor === 0 ? [] : ['medium'];
  if (kind.startsWith('-pro')) return minor === 0 ? ['high'] : ['medium', 'high', 'xhigh'];
  const hasMore = minor > 0.15 || kind.startsWith('-codex-max');
  const more = [...(hasMore ? ['xhigh'] : []), ...(minor > 0.55 ? ['max'] : [])];
  if (kind.startsWith('-codex')) return [...usualEfforts, ...more];
  return [minor === 0 ? 'minimal' : 'none', ...usualEfforts, ...more];
}

const reasoner = /^(o\d|gpt-[5-9](?!-chat))/;

/**
 * What OpenAI refuses in Chat Completions: of its reasoning models `max_tokens`, and from GPT-5.2 on tools where the model is to reason,
 * as it does unasked from GPT-5.5 on.
 */
export function refusesInChat(
  { tools, hasOldLimit }: Pick<RelayedRequest, 'tools' | 'hasOldLimit'>,
  model: string,
): boolean {
  if (!reasoner.test(model)) return false;
  if (hasOldLimit || !tools || tools.effort === 'none') return hasOldLimit === true;
  const [, series, version] = openaiModel.exec(model) ?? [];
  return series === 'gpt-' && Number(version) >= (tools.effort === undefined ? 5.5 : 5.2);
}

/** What a client asked for, at a model of OpenAI's or of a server that speaks its dialects. */
export function openaiEffort(model: string, reasoning: Reasoning): string | undefined {
  const asked = askedEffort(reasoning);
  // Some servers refuse `none`: it is sent to another's model where the client says so itself.
  const isOffUnsaid = asked === 'none' && reasoning.effort === undefined && !openaiModel.test(model);
  return asked === undefined || isOffUnsaid ? undefined : nearestEffort(asked, openaiEfforts(model));
}
