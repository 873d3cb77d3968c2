import { expect, it } from 'vitest';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { AskedMessage, AssistantPart } from '../../core/turn.ts';
import { createLineProvider } from '../testing/fake-upstream.ts';
import { createManualClock } from '../testing/manual-clock.ts';
import { KnownRefusals } from './known-refusals.ts';

const provider = createLineProvider(() => '');
const turnOf = (route: { provider: typeof provider; model: string }, ...parts: AssistantPart[]) => {
  const messages: AskedMessage[] = [{ role: 'assistant', parts }];
  return { route, request: { ...plainTurn, messages } };
};

it('holds a model to what its upstream said, for an hour, and raises nothing', async () => {
  const clock = createManualClock();
  await clock.advance(1);
  const limits = new KnownRefusals(clock);
  const route = { provider, model: 'm' };
  expect(limits.below(32_000, route)).toBeUndefined();
  limits.note({ how: 'shorter', mostOutputTokens: 16_384, isOfModel: true }, turnOf(route), 'one');
  expect(limits.below(32_000, route)).toEqual({ tokens: 16_384, from: 'earlier_refusal' });
  expect(limits.below(32_000, { ...route, ownMaxOutput: 8_192 })).toEqual({
    tokens: 8_192,
    from: 'configured',
  });
  expect(limits.below(32_000, { ...route, ownMaxOutput: 20_000 })?.tokens).toBe(16_384);
  expect(limits.below(32_000, { ...route, model: 'other' })).toBeUndefined();
  expect([16_384, 1_000, undefined].map((asked) => limits.below(asked, route))).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  await clock.advance(60 * 60_000 + 1);
  expect(limits.below(32_000, route)).toBeUndefined();
});

it('knows for an hour what an account and a model do without', async () => {
  const clock = createManualClock();
  await clock.advance(1);
  const refusals = new KnownRefusals(clock);
  const turn = turnOf({ provider, model: 'm' });
  expect(refusals.changesOf(turn, 'one')).toEqual([]);
  refusals.note({ how: 'without-summary' }, turn, 'one');
  refusals.note({ how: 'without-proofs', isOfModel: true }, turn, 'one');
  expect(refusals.changesOf(turn, 'one')).toEqual(['without-proofs', 'without-summary']);
  expect(refusals.changesOf(turn, 'two')).toEqual([]);
  expect(refusals.changesOf(turnOf({ provider, model: 'other' }), 'one')).toEqual([]);
  await clock.advance(60 * 60_000 + 1);
  expect(refusals.changesOf(turn, 'one')).toEqual([]);
});

it('knows of reasoning that an account cannot read by the conversation alone', () => {
  const refusals = new KnownRefusals(createManualClock());
  const route = { provider, model: 'm' };
  const call = (id: string) => ({ type: 'tool-call', id, name: 'look', arguments: '{}' }) as const;
  const proof = { protocol: 'gemini', data: 'one' };
  const signed = { type: 'reasoning', text: '', proof } as const;
  const without = { how: 'without-proofs' } as const;
  // Nothing in it tells it from others.
  refusals.note(without, turnOf(route), 'one');
  expect(refusals.changesOf(turnOf(route), 'one')).toEqual([]);
  refusals.note(without, turnOf(route, call('1'), signed), 'one');
  refusals.note(without, turnOf(route, call('2')), 'one');
  const known = [[signed], [call('3'), signed], [call('2')], [call('1')]];
  expect(known.map((parts) => refusals.changesOf(turnOf(route, ...parts), 'one').length)).toEqual([
    1, 1, 1, 0,
  ]);

  const relayed = (body: object) => ({ ...turnOf(route), relayed: { body: JSON.stringify(body) } });
  const answer = { contents: [{ functionCall: { name: 'look' } }, { thoughtSignature: 'abc' }] };
  refusals.note(without, relayed(answer), 'one');
  expect(refusals.changesOf(relayed({ model: 'm', ...answer, tools: [] }), 'one')).toEqual([without.how]);
  expect(refusals.changesOf(relayed({ contents: [{ functionCall: { name: 'look' } }] }), 'one')).toEqual([]);
});
