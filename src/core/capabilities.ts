import { type AppError, refused } from './errors.ts';
import type { TuningName, TurnRequest } from './turn.ts';

/** What an answer is held to by the gateway where the upstream does not do it. */
export const emulatedAbilities = [
  'maxTokens',
  'stop',
  'jsonObject',
  'jsonSchema',
  'toolChoice',
  'parallelToolCalls',
] as const;
export type EmulatedAbility = (typeof emulatedAbilities)[number];

/** Content, marks and settings that few upstreams take. */
export const rareAbilities = ['documents', 'refusals', 'cacheBreakpoints', 'strictTools', 'topK'] as const;

/** A field of one family of protocols, by its name there: `openai.service_tier`. */
type OptionAbility = `${string}.${string}`;

/** Something a request asks for beyond a plain answer. */
export type Ability = EmulatedAbility | TuningName | (typeof rareAbilities)[number] | OptionAbility;

/** What an upstream does natively; a provider may narrow what its protocol can carry. */
export type Capabilities = ReadonlySet<Ability>;

export function without(native: Capabilities, lacks: readonly Ability[] = []): Capabilities {
  return lacks.length === 0 ? native : new Set([...native].filter((ability) => !lacks.includes(ability)));
}

/** What has no effect, and does no harm, where the upstream has no such setting. */
export const tuningAbilities: readonly TuningName[] = [
  'temperature',
  'topP',
  'seed',
  'presencePenalty',
  'frequencyPenalty',
  'reasoningEffort',
];

/** What clients send to say that nothing is to be tuned. */
const untuned: Partial<Record<TuningName, number>> = {
  temperature: 1,
  topP: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
};

/** What becomes of the fields of a request at one upstream. */
export interface Handling {
  readonly native: Capabilities;
  /** The gateway does it. */
  readonly emulated: ReadonlySet<EmulatedAbility>;
  /** No effect there, and no harm: named in `x-warp2api-ignored`. */
  readonly ignored: readonly TuningName[];
  /** What the decoder names as ignored, and this upstream takes. */
  readonly taken: readonly string[];
  /** Why the upstream cannot carry the request. */
  readonly refusal: AppError | undefined;
}

const nothing: Handling['emulated'] = new Set();

/**
 * What an upstream lacks of what a request asks for. A request without any wish costs nothing. `leastOutputTokens`: a smaller limit
 * cannot be sent.
 */
export function handlingOf(
  request: Pick<
    TurnRequest,
    'limits' | 'responseFormat' | 'toolChoice' | 'parallelToolCalls' | 'sampling' | 'reasoning' | 'wishes'
  >,
  native: Capabilities,
  leastOutputTokens = 0,
): Handling {
  const { wishes = [], limits } = request;
  const isTooSmall = (limits.maxOutputTokens ?? leastOutputTokens) < leastOutputTokens;
  const met = wishes.filter(({ ability }) => native.has(ability));
  const lacking = wishes.find(({ otherwise, ability }) => otherwise === 'refused' && !native.has(ability));
  const emulated = emulatedIn(request).filter(
    (ability) => !native.has(ability) || (ability === 'maxTokens' && isTooSmall),
  );
  return {
    native,
    emulated: emulated.length === 0 ? nothing : new Set(emulated),
    ignored: tuningAbilities.filter((name) => asksFor(request, name) && !native.has(name)),
    taken: met.map(({ param }) => param),
    refusal: lacking && refused(lacking.param, lacking.says),
  };
}

function emulatedIn({
  limits,
  responseFormat,
  toolChoice,
  parallelToolCalls,
}: Parameters<typeof handlingOf>[0]): EmulatedAbility[] {
  const asked: EmulatedAbility[] = [];
  if (limits.maxOutputTokens !== undefined) asked.push('maxTokens');
  if (limits.stopSequences !== undefined) asked.push('stop');
  if (responseFormat.type === 'json') asked.push('jsonObject');
  if (responseFormat.type === 'json-schema') asked.push('jsonSchema');
  if (toolChoice.type !== 'auto') asked.push('toolChoice');
  if (!parallelToolCalls) asked.push('parallelToolCalls');
  return asked;
}

function asksFor(
  { sampling, reasoning }: Pick<TurnRequest, 'sampling' | 'reasoning'>,
  name: TuningName,
): boolean {
  const value = name === 'reasoningEffort' ? reasoning.effort : sampling[name];
  return value !== undefined && value !== untuned[name];
}
