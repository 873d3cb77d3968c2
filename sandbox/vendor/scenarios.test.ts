import { expect, it } from 'vitest';
import { answerOf, type Facts } from './scenarios.ts';

const facts: Facts = {
  text: '',
  rules: '',
  earlier: [],
  tools: ['Read', 'get_weather'].map((name) => ({
    name,
    schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  })),
  results: [],
  rounds: 0,
  media: [],
  isThinking: false,
  mustCall: false,
  mayCall: true,
  isParallel: true,
};

function callsOf(scenario: string, more: Partial<Facts>) {
  const { calls } = answerOf(scenario, { ...facts, ...more });
  return calls.map(({ name, pieces }) => [name, JSON.parse(pieces.join('')) as unknown]);
}

it('an agent makes the calls that a text of the user orders, whatever stands behind it', () => {
  const order = 'call Read {"city":"a"} call Read {"city":"b"} call Unknown {}';
  const calls = [
    ['Read', { city: 'a' }],
    ['Read', { city: 'b' }],
  ];
  expect(callsOf('agent', { text: order })).toEqual(calls);
  expect(callsOf('agent', { earlier: [order], text: 'Where you are.' })).toEqual(calls);
  expect(callsOf('agent', { text: order, isParallel: false })).toEqual(calls.slice(0, 1));
  expect(answerOf('agent', { ...facts, text: order, isThinking: true }).thoughts).not.toEqual([]);
});

it('an agent reads out what came of its calls', () => {
  const results = [{ name: 'Read', args: {}, text: 'the word', images: 0 }];
  const { texts, calls } = answerOf('agent', { ...facts, text: 'call Read {"city":"a"}', results });
  expect(texts.join('')).toContain('the word');
  expect(calls).toEqual([]);
});

it('an obedient model calls what it is forced to, goes on with a beginning, and answers in JSON', () => {
  const said = (more: Partial<Facts>) => answerOf('obedient', { ...facts, ...more }).texts.join('');
  const text = 'What is the weather in Paris?';
  expect(callsOf('obedient', { text })).toEqual([]);
  expect(callsOf('obedient', { text, mustCall: true })).toEqual([['get_weather', { city: 'Paris' }]]);
  expect(said({ text: 'The capital of France?', begun: 'It is Par' })).toMatch(/^is/);
  expect(JSON.parse(said({ text, schema: facts.tools[0]?.schema }))).toEqual({ city: 'Paris' });
  expect(said({ text: 'What is 3 + 4?' })).toBe('7');
});
