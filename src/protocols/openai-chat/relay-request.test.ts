import fc from 'fast-check';
import { expect, it } from 'vitest';
import { relayRequest } from './relay.ts';

it.each([
  ['{"model":"a"}', '{"model":"m","stream_options":{"include_usage":true}}'],
  ['{"model":"a","stream_options":null}', '{"model":"m","stream_options":{"include_usage":true}}'],
  [
    ' { "x" : {"model":"in","stream_options":1} , "mo\\u0064el" : "a\\"}" }\n',
    ' { "x" : {"model":"in","stream_options":1} , "mo\\u0064el" : "m" ,"stream_options":{"include_usage":true}}\n',
  ],
  ['{"model":"a","stream_options":{"n":1.0}}', '{"model":"m","stream_options":{"n":1,"include_usage":true}}'],
])('%s asks for usage', (body, sent) => {
  expect(relayRequest(body, 'm', true)).toBe(sent);
});

it.each([
  ['{"model":"a","n":1}', '{"model":"m","n":1}'],
  ['{"model":"a","x":{"model":"in"},"model":"b"}', '{"model":"m","x":{"model":"in"},"model":"m"}'],
  ['{"model":"a","models":["x"],"model":"b"}', '{"model":"m","models":["x"],"model":"m"}'],
  ['{"model":"a","mo\\u0064el":"b"}', '{"model":"m","mo\\u0064el":"m"}'],
  ['{"model":7,"n":"model"}', '{"model":"m","n":"model"}'],
])('%s names the model first', (body, sent) => {
  expect(relayRequest(body, 'm', false)).toBe(sent);
});

it('changes nothing but the model, whatever else the body holds and however it is spaced', () => {
  const member = fc.tuple(
    fc.string().filter((name) => name !== 'model' && name !== '__proto__'),
    fc.jsonValue(),
  );
  fc.assert(
    fc.property(
      fc.array(member),
      fc.array(member),
      fc.integer({ min: 0, max: 3 }),
      (before, after, spaces) => {
        const members = [...before, ['model', 'asked'] as const, ...after];
        const body = JSON.stringify(Object.fromEntries(members), null, spaces);
        const sent = relayRequest(body, 'up"stream', false);
        expect(sent).toBe(JSON.stringify({ ...JSON.parse(body), model: 'up"stream' }, null, spaces));
      },
    ),
  );
});

it('leaves out what was signed, also where the upstream wants reasoning with every answer', () => {
  const answer = { role: 'assistant', content: 'Hi', reasoning_details: [{ data: 'signed' }] };
  const body = JSON.stringify({ model: 'a', messages: [{ role: 'user', content: 'Hello' }, answer] });
  const sent = relayRequest(body, 'm', false, { leavesProofsOut: true, fillsReasoning: true });
  expect(JSON.parse(sent).messages).toEqual([
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: 'Hi', reasoning_content: ' ' },
  ]);
});
