import { expect, it } from 'vitest';
import { type Ability, handlingOf } from './capabilities.ts';
import { plainTurn } from './testing/plain-turn.ts';

const demanding = {
  ...plainTurn,
  limits: { maxOutputTokens: 5, stopSequences: ['x'] },
  responseFormat: { type: 'json' },
  toolChoice: { type: 'required' },
  parallelToolCalls: false,
  sampling: { temperature: 0.2, topP: 1, seed: 0 },
  reasoning: { effort: 'high' },
} as const;

it('a plain request asks for nothing, whatever the upstream lacks', () => {
  expect(handlingOf(plainTurn, new Set())).toEqual({ emulated: new Set(), ignored: [] });
});

it('the gateway does what the upstream lacks, or names what has no effect', () => {
  expect(handlingOf(demanding, new Set())).toEqual({
    emulated: new Set(['maxTokens', 'stop', 'jsonObject', 'toolChoice', 'parallelToolCalls']),
    ignored: ['temperature', 'seed', 'reasoningEffort'],
  });
});

it('what the upstream does is left to it', () => {
  const native = new Set<Ability>([
    'maxTokens',
    'stop',
    'jsonObject',
    'toolChoice',
    'seed',
    'reasoningEffort',
  ]);
  expect(handlingOf(demanding, native)).toEqual({
    emulated: new Set(['parallelToolCalls']),
    ignored: ['temperature'],
  });
});
