import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createWarpOutbound } from './outbound.ts';
import { decodeAnswer } from './testing/decode.ts';
import {
  actions,
  add,
  appendText,
  begin,
  commit,
  createTask,
  finished,
  init,
  rollback,
  turnRequest,
  update,
  user,
} from './testing/events.ts';
import { type Field, raw, readRaw } from './testing/wire.ts';

/** Fields that no schema knows: numbers above all that are in use. */
const unknownFields = fc.array(
  fc.tuple(
    fc.integer({ min: 60, max: 20_000 }),
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.uint8Array({ maxLength: 20 }),
      fc.nat(),
      fc.boolean(),
      fc.float({ noNaN: true }).map((float) => ({ float })),
    ),
  ),
  { maxLength: 3 },
);

const text = fc.string({ maxLength: 5 });
const content = fc.oneof(
  fc.tuple(text, unknownFields).map(([value, more]): Field => [3, raw([1, value], ...more)]),
  fc
    .tuple(text, unknownFields, unknownFields)
    .map(([id, inner, outer]): Field => [4, raw([1, id], [12, raw([1, 'tool'], ...inner)], ...outer)]),
  fc
    .tuple(text, unknownFields, unknownFields)
    .map(([id, inner, outer]): Field => [4, raw([1, id], [19, raw([1, 'S'], ...inner)], ...outer)]),
  // A tool nobody knows yet, which the upstream settles itself.
  fc.tuple(text, unknownFields).map(([id, more]): Field => [4, raw([1, id], [4, raw()], ...more)]),
  fc.tuple(text, unknownFields).map(([id, more]): Field => [5, raw([1, id], ...more)]),
  fc.tuple(text, unknownFields).map(([value, more]): Field => [15, raw([1, value], ...more)]),
  fc
    .constantFrom(2, 6, 9, 10, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 27, 28)
    .chain((number) => unknownFields.map((more): Field => [number, raw(...more)])),
);

const common: fc.Arbitrary<Field[]> = fc
  .record({
    data: text,
    citations: fc.array(unknownFields, { maxLength: 2 }),
    time: unknownFields,
    request: text,
  })
  .map(({ data, citations, time, request }) => [
    [7, data],
    ...citations.map((more): Field => [8, raw(...more)]),
    [11, 'T'],
    [13, request],
    [14, raw(...time)],
  ]);

const messages = fc
  .array(fc.tuple(common, fc.option(content), unknownFields), { maxLength: 4 })
  .map((list) =>
    list.map(([fields, said, more], index) =>
      raw([1, `m${index}`], ...fields, ...(said ? [said] : []), ...more),
    ),
  );

const taskFields = fc
  .record({ summary: text, dependencies: unknownFields, more: unknownFields })
  .map(({ summary, dependencies, more }): Field[] => [
    [2, 'About'],
    [3, raw(...dependencies)],
    [6, summary],
    [8, 'server data'],
    ...more,
  ]);

/** Fields of messages the schema knows may change places with those it does not; all else has to stay. */
function canonical(bytes: Uint8Array, path: string): unknown {
  const known = knownMessages[path] ?? {};
  const reader = new BinaryReader(bytes);
  const fields: [number, unknown][] = [];
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    const start = reader.pos;
    reader.skip(wireType, number);
    const inner = known[number];
    const value = bytes.subarray(start, reader.pos);
    fields.push([
      number,
      inner !== undefined && wireType === WireType.LengthDelimited
        ? canonical(new BinaryReader(value).bytes(), inner)
        : Buffer.from(value).toString('hex'),
    ]);
  }
  return fields.toSorted(([left], [right]) => left - right);
}

const knownMessages: Record<string, Record<number, string>> = {
  task: { 3: 'dependencies', 5: 'message' },
  message: { 3: 'output', 4: 'call', 5: 'result', 15: 'reasoning' },
  call: { 12: 'mcp', 19: 'subagent' },
};

it('returns every field of tasks and messages as it came, known or not, at every level', () => {
  fc.assert(
    fc.property(taskFields, messages, (fields, list) => {
      const sent = raw([1, 'T'], ...fields, ...list.map((item): Field => [5, item]));
      const { memory, events } = decodeAnswer([init(), actions(createTask(sent)), finished()], {
        tools: ['tool'],
      });
      expect(events.at(-1)?.type).toBe('finish');
      const { request } = createWarpOutbound().open({
        request: turnRequest(),
        remembered: { memory: memory ?? new Uint8Array(), newMessages: [user('More')] },
      });
      const echoed = readRaw(request.body).at(1, 1).bytes;
      expect(canonical(echoed, 'task')).toEqual(canonical(sent, 'task'));
    }),
    { numRuns: 300 },
  );
});

it('returns them after appends, updates, transactions and a second turn as well', () => {
  fc.assert(
    fc.property(unknownFields, unknownFields, (inMessage, inOutput) => {
      const said = (value: string) =>
        raw([1, 'm1'], [3, raw([1, value], ...inOutput)], [7, 'data'], ...inMessage);
      const first = decodeAnswer([
        init(),
        actions(createTask(raw([1, 'T']))),
        actions(add('T', said('Hel'))),
        actions(appendText('T', 'm1', 'lo')),
        actions(begin, appendText('T', 'm1', ' lost'), rollback),
        finished(),
      ]);
      const second = decodeAnswer(
        [
          init(),
          actions(
            begin,
            update('T', raw([1, 'm1'], [3, raw([1, 'Hello you'])]), 'agent_output.text'),
            commit,
          ),
          finished(),
        ],
        { memory: first.memory },
      );
      const kept = readRaw(second.memory ?? new Uint8Array()).at(3, 1, 5).bytes;
      expect(canonical(kept, 'message')).toEqual(canonical(said('Hello you'), 'message'));
    }),
  );
});
