import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { createWarpOutbound } from './outbound.ts';
import {
  actions,
  add,
  appendReasoning,
  appendText,
  begin,
  commit,
  createTask,
  finished,
  init,
  mcpCall,
  output,
  plain,
  reasoning,
  rollback,
  stream,
  task,
  turnRequest,
  userQuery,
  weather,
} from './testing/events.ts';
import { raw } from './testing/wire.ts';

const anyAction = fc.oneof(
  fc.string({ unit: 'grapheme' }).map((text) => appendText('T', 'm1', text)),
  fc.string({ unit: 'grapheme' }).map((text) => appendReasoning('T', 'r1', text)),
  fc.string({ unit: 'binary' }).map((text) => add('T', output('m2', text))),
  fc.constantFrom(begin, commit, rollback, add('T', mcpCall('c1', 'id-1', 'get_weather', { city: 'Bonn' }))),
);

const anyAnswer = fc
  .array(fc.array(anyAction, { maxLength: 3 }), { maxLength: 12 })
  .map((batches) =>
    Buffer.from(
      stream(
        init(),
        actions(
          createTask(task('T')),
          add('T', userQuery('u1', 'Hi'), reasoning('r1', '?'), output('m1', '!')),
        ),
        ...batches.map((batch) => actions(...batch)),
        finished(2, [8, raw([2, 9], [3, 4])]),
      ),
    ),
  );

function decodeChunks(chunks: readonly Uint8Array[]): {
  events: TurnEvent[];
  memory: Uint8Array | undefined;
} {
  const { decoder } = createWarpOutbound().open({ request: turnRequest({ tools: [weather] }) });
  const events = [...chunks.flatMap((chunk) => [...decoder.push(chunk)]), ...decoder.end()];
  return { events, memory: decoder.memory() };
}

it('gives the same events wherever the stream is cut into reads', () => {
  fc.assert(
    fc.property(anyAnswer, fc.array(fc.nat(), { maxLength: 20 }), (answer, cuts) => {
      const whole = decodeChunks([answer]);
      const places = [0, ...cuts.map((cut) => cut % answer.length).toSorted((a, b) => a - b), answer.length];
      const chunks = places.slice(1).map((end, index) => answer.subarray(places[index], end));
      const cut = decodeChunks(chunks);
      expect(plain(cut.events)).toEqual(plain(whole.events));
      expect(cut.memory).toEqual(whole.memory);
      expect(whole.events.at(-1)?.type).toBe('finish');
    }),
  );
});

it('never takes a stream that was cut short for a whole answer', () => {
  fc.assert(
    fc.property(anyAnswer, fc.nat(), (answer, length) => {
      const { events, memory } = decodeChunks([answer.subarray(0, length % answer.length)]);
      const ends = events.filter((event) => event.type === 'finish' || event.type === 'error');
      expect(plain(ends)).toEqual([{ type: 'error', code: 'upstream_protocol' }]);
      expect(events.at(-1)).toBe(ends[0]);
      expect(memory).toBeUndefined();
    }),
  );
});

it('never throws and ends exactly once, whatever bytes come', () => {
  fc.assert(
    fc.property(
      anyAnswer,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      (answer, faults) => {
        const broken = Buffer.from(answer);
        for (const [place, byte] of faults) broken[place % broken.length] = byte;
        const { events } = decodeChunks([broken]);
        expect(events.filter((event) => event.type === 'finish' || event.type === 'error')).toHaveLength(1);
      },
    ),
  );
});
