import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { createStopSequences } from './stages.ts';

const finish: TurnEvent = { type: 'finish', reason: 'stop' };

function pass(deltas: readonly string[], sequences: readonly string[]) {
  const cut = createStopSequences(sequences);
  const events: TurnEvent[] = [];
  for (const batch of [...deltas.map((text): TurnEvent[] => [{ type: 'text-delta', text }]), [finish]]) {
    events.push(...cut.apply(batch));
    if (events.at(-1)?.type === 'finish') break;
  }
  const text = events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('');
  return { text, last: events.at(-1), events };
}

it('ends before the first sequence however the text was cut, and passes everything else on', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
  const sequences = fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 4 }), {
    minLength: 1,
    maxLength: 3,
  });
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 8 }), sequences, (deltas, stops) => {
      const whole = deltas.join('');
      // What is complete first ends the answer, as it would for a reader of single characters.
      let expected = whole;
      let met: string | undefined;
      for (let end = 1; end <= whole.length && met === undefined; end += 1) {
        met = stops
          .filter((stop) => whole.slice(0, end).endsWith(stop))
          .sort((one, other) => other.length - one.length)[0];
        if (met !== undefined) expected = whole.slice(0, end - met.length);
      }
      for (const parts of [deltas, [...whole], [whole]]) {
        const { text, last } = pass(parts, stops);
        expect(text).toBe(expected);
        expect(last).toEqual(met === undefined ? finish : { ...finish, stopSequence: met });
      }
    }),
    { numRuns: 2_000 },
  );
});

it('holds the beginning of a sequence back until it is decided', () => {
  const cut = createStopSequences(['###']);
  expect(cut.apply([{ type: 'text-delta', text: 'one ##' }])).toEqual([{ type: 'text-delta', text: 'one ' }]);
  expect(cut.apply([{ type: 'text-delta', text: ' two #' }])).toEqual([
    { type: 'text-delta', text: '## two ' },
  ]);
  expect(cut.apply([finish])).toEqual([{ type: 'text-delta', text: '#' }, finish]);
});

it('shows what it held before a tool call begins, and keeps the usage of a batch it cuts', () => {
  const call: TurnEvent = { type: 'tool-call-start', index: 0, id: 'call_1', name: 'read' };
  const cut = createStopSequences(['END']);
  expect(cut.apply([{ type: 'text-delta', text: 'look: E' }, call])).toEqual([
    { type: 'text-delta', text: 'look: ' },
    { type: 'text-delta', text: 'E' },
    call,
  ]);
  const usage: TurnEvent = { type: 'usage', usage: { inputTokens: 1, outputTokens: 2 } };
  expect(
    createStopSequences(['END']).apply([{ type: 'text-delta', text: 'x END y' }, usage, finish]),
  ).toEqual([
    { type: 'text-delta', text: 'x ' },
    usage,
    { type: 'finish', reason: 'stop', stopSequence: 'END' },
  ]);
});

it('lets everything through once a call has begun: an answer with a call ends as one', () => {
  const limit = createStopSequences(['world']);
  const call: TurnEvent = { type: 'tool-call-start', index: 0, id: 'call_1', name: 'read' };
  const rest: TurnEvent[] = [
    { type: 'tool-call-delta', index: 0, arguments: '{"a":"hello world"}' },
    { type: 'tool-call-end', index: 0 },
    { type: 'text-delta', text: 'hello world, and more' },
  ];
  const end: TurnEvent = { type: 'finish', reason: 'tool-calls' };
  expect(limit.apply([{ type: 'text-delta', text: 'a' }, call, ...rest])).toEqual([
    { type: 'text-delta', text: 'a' },
    call,
    ...rest,
  ]);
  expect(limit.apply([...rest, end])).toEqual([...rest, end]);
});

it('finds a sequence that a citation interrupts', () => {
  const cut = createStopSequences(['END']);
  const citation: TurnEvent = { type: 'citation', citation: { url: 'https://example.com' } };
  const texts = ['some EN', 'D more'].map((text): TurnEvent => ({ type: 'text-delta', text }));
  const events = [texts[0], citation, texts[1]].flatMap((event) => cut.apply(event ? [event] : []));
  expect(events).toEqual([
    { type: 'text-delta', text: 'some ' },
    citation,
    { type: 'finish', reason: 'stop', stopSequence: 'END' },
  ]);
});
