import { LRUCache } from 'lru-cache';
import { type Ability, type Capabilities, without } from '../../core/capabilities.ts';

/** How thinking is asked for: not at all, with a budget of tokens, or by leaving it to the model. */
type ThinkingForm = 'none' | 'budget' | 'adaptive';

/** What a model takes. Sources: Anthropic's model pages, "Thinking", "Effort", "Structured outputs", "Preserved thinking". */
export interface ModelFacts {
  /** The most it puts out. */
  readonly maxTokens: number;
  readonly thinking: ThinkingForm;
  /** What turns off thinking that is on by default. `never`: only a low effort makes it less. */
  readonly thinkingOff?: 'disabled' | 'between_tools' | 'never';
  /** From the least to the greatest. */
  readonly efforts: readonly string[];
  /** Temperature, top_p and top_k. */
  readonly takesSampling: boolean;
  readonly takesBothSampling: boolean;
  readonly takesForcedTools: boolean;
  /** Answers and arguments of calls that follow a schema. */
  readonly followsSchemas: boolean;
  /** It goes on with an answer that was begun for it; undefined where that is not known. */
  readonly takesPrefill?: boolean;
  /** Thinking that is given back has to come from the same model in the same conversation. */
  readonly bindsThinking: boolean;
}

/** A server that is not Anthropic's, with a model of its own. */
const unknownModel: ModelFacts = {
  maxTokens: 8_192,
  thinking: 'budget',
  efforts: [],
  takesSampling: true,
  takesBothSampling: true,
  takesForcedTools: true,
  followsSchemas: false,
  bindsThinking: false,
};

/** A name of Anthropic's without a version: what most models take. */
const unversionedModel: ModelFacts = { ...unknownModel, takesBothSampling: false, followsSchemas: true };

const firstEfforts = ['low', 'medium', 'high'];

const known = new LRUCache<string, ModelFacts>({ max: 200, memoMethod: factsIn });

/** By the version in its name, so that the next of a family is known, too. Each turn asks several times. */
export function factsOf(model: string): ModelFacts {
  return known.memo(model);
}

function factsIn(model: string): ModelFacts {
  const named = versionIn(model);
  if (!named) return model.startsWith('claude-') ? unversionedModel : unknownModel;
  const { family, version } = named;
  const thinkingOff = offOf(family, version);
  return {
    maxTokens: maxTokensOf(family, version),
    thinking: version >= 4.6 ? 'adaptive' : version >= 3.7 ? 'budget' : 'none',
    ...(thinkingOff && { thinkingOff }),
    efforts: effortsOf(family, version),
    takesSampling: version < 4.7,
    takesBothSampling: version < 4.1,
    takesForcedTools: version < 5.1,
    followsSchemas: version >= 4.5,
    takesPrefill: version < 4.6,
    bindsThinking: version >= 5.1,
  };
}

/** `claude-opus-4-5-20251101`, `claude-3-7-sonnet-latest`, `anthropic/claude-haiku-4.5`. */
function versionIn(model: string): { readonly family: string; readonly version: number } | undefined {
  if (/claude-mythos-preview/.test(model)) return { family: 'mythos', version: 4.7 };
  const [, before, major, minor = '0', after] =
    /claude-(?:([a-z]+)-)?(\d)(?:[-.](\d)(?!\d))?(?:-([a-z]+))?/.exec(model) ?? [];
  if (major === undefined) return undefined;
  return { family: before ?? after ?? '', version: Number(`${major}.${minor}`) };
}

function maxTokensOf(family: string, version: number): number {
  if (version >= 4.6) return 128_000;
  if (version >= 4.5) return 64_000;
  // Together with a long conversation more than this would be refused.
  if (version >= 3.7) return 32_000;
  return version >= 3.5 && family !== 'opus' ? 8_192 : 4_096;
}

function offOf(family: string, version: number): ModelFacts['thinkingOff'] {
  if (family === 'fable' || family === 'mythos') return 'never';
  if (version < 5) return undefined;
  if (version < 5.1 || family === 'haiku') return 'disabled';
  return family === 'sonnet' ? 'between_tools' : 'never';
}

function effortsOf(family: string, version: number): readonly string[] {
  if (version >= 4.7) return [...firstEfforts, 'xhigh', 'max'];
  if (version >= 4.6) return [...firstEfforts, 'max'];
  return version >= 4.5 && family === 'opus' ? firstEfforts : [];
}

/**
 * What Anthropic Messages has a field for. Not `stop`, although stop sequences are sent: it refuses those that are blank, so that the
 * gateway looks for them, too.
 */
export const messagesCapabilities: Capabilities = new Set<Ability>([
  'maxTokens',
  'jsonSchema',
  'toolChoice',
  'parallelToolCalls',
  'temperature',
  'topP',
  'topK',
  'reasoningEffort',
  'documents',
  'cacheBreakpoints',
  'strictTools',
]);

const capabilities = new LRUCache<string, Capabilities>({ max: 200, memoMethod: capabilitiesIn });

/** What one of the models does of it. */
export function messagesCapabilitiesOf(model: string): Capabilities {
  return capabilities.memo(model);
}

function capabilitiesIn(model: string): Capabilities {
  const { takesSampling, takesForcedTools, followsSchemas, thinking, efforts } = factsOf(model);
  const lacks: Ability[] = [
    ...(takesSampling ? [] : (['temperature', 'topP', 'topK'] as const)),
    ...(takesForcedTools ? [] : (['toolChoice'] as const)),
    ...(followsSchemas ? [] : (['jsonSchema', 'strictTools'] as const)),
    ...(thinking === 'none' && efforts.length === 0 ? (['reasoningEffort'] as const) : []),
  ];
  return without(messagesCapabilities, lacks);
}
