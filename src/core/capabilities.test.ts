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
  expect(handlingOf(plainTurn, new Set())).toMatchObject({ emulated: new Set(), ignored: [] });
});

it('the gateway does what the upstream lacks, or names what has no effect', () => {
  expect(handlingOf(demanding, new Set())).toMatchObject({
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
  expect(handlingOf(demanding, native)).toMatchObject({
    emulated: new Set(['parallelToolCalls']),
    ignored: ['temperature'],
  });
});

it('what only some upstreams take is left to them, and refused by others where it has to be', () => {
  const wish = { value: 1, says: 'leave it out' };
  const request = {
    ...plainTurn,
    wishes: [
      { ...wish, ability: 'openai.user', param: 'user', otherwise: 'silent' },
      { ...wish, ability: 'topK', param: 'top_k', otherwise: 'ignored' },
      { ...wish, ability: 'documents', param: 'messages.0', otherwise: 'refused' },
    ],
  } as const;
  expect(handlingOf(request, new Set())).toMatchObject({
    taken: [],
    refusal: { code: 'invalid_request', param: 'messages.0', message: 'messages.0: leave it out.' },
  });
  expect(handlingOf(request, new Set(['topK', 'documents']))).toMatchObject({
    taken: ['top_k', 'messages.0'],
    refusal: undefined,
  });
});
