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

/** Something a request asks for beyond a plain answer. */
export type Ability = EmulatedAbility | TuningName;

/** What an upstream does natively; a provider may narrow what its protocol can carry. */
export type Capabilities = ReadonlySet<Ability>;

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
  /** The gateway does it. */
  readonly emulated: ReadonlySet<EmulatedAbility>;
  /** No effect there, and no harm: named in `x-warp2api-ignored`. */
  readonly ignored: readonly TuningName[];
}

/** What an upstream lacks of what a request asks for. A request without any wish costs nothing. */
export function handlingOf(
  request: Pick<
    TurnRequest,
    'limits' | 'responseFormat' | 'toolChoice' | 'parallelToolCalls' | 'sampling' | 'reasoning'
  >,
  native: Capabilities,
): Handling {
  return {
    emulated: new Set(emulatedIn(request).filter((ability) => !native.has(ability))),
    ignored: tuningAbilities.filter((name) => asksFor(request, name) && !native.has(name)),
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
