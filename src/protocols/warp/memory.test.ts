// Memories outlive an upgrade, and in a rolling one the older version reads what this one writes.
import { expect, it } from 'vitest';
import { decodeMemory, KeptMessage } from './memory.ts';
import { createWarpOutbound } from './outbound.ts';
import { decodeAnswer } from './testing/decode.ts';
import {
  actions,
  add,
  appendText,
  childTask,
  createTask,
  finished,
  init,
  mcpCall,
  message,
  output,
  task,
  turnRequest,
  user,
  userQuery,
} from './testing/events.ts';
import { type Field, raw, readRaw } from './testing/wire.ts';
import { encoded, FieldBudget } from './wire-message.ts';

const opening = [init(), actions(createTask(task('T')))];
const saidX = actions(add('T', output('m1', 'x')));
const charges = raw([
  1,
  raw(
    [1, 'chat'],
    [
      2,
      raw(
        [
          1,
          raw(
            [1, 'auto'],
            [
              2,
              raw(
                [1, raw([1, 10], [2, 5], [3, 3], [4, 2])],
                [2, raw([1, { float: 0.5 }], [2, { float: 1.25 }])],
              ),
            ],
          ),
        ],
        [4, { float: 0.125 }],
      ),
    ],
  ),
]);
const subagent = (...more: readonly Field[]) =>
  message('s1', [4, raw([1, 'c1'], [19, raw([1, 'C'], ...more)])]);

/** Answers, and the memories that the version of 2026-11-25 wrote of them. */
const written: readonly [string, readonly Uint8Array[], string][] = [
  [
    'text',
    [
      ...opening,
      actions(add('T', userQuery('u1', 'Hi'), output('m1', 'Hel'))),
      actions(appendText('T', 'm1', 'lo ü🎈')),
      finished(),
    ],
    'CAESDmNvbnZlcnNhdGlvbi0xGicKJQoBVCoKCgJ1MRIECgJIaSoUCgJtMRoOCgxIZWxsbyDDvPCfjogiAiIA',
  ],
  [
    'a call that waits for its result',
    [
      ...opening,
      actions(
        add(
          'T',
          userQuery('u1', 'Hi'),
          mcpCall('m1', 'call-1', 'get_time', { a: 1, b: ['x', null, { c: true }] }),
        ),
      ),
      finished(),
    ],
    'CAESDmNvbnZlcnNhdGlvbi0xGnQKcgoBVCoKCgJ1MRIECgJIaSphCgJtMSJNCgZjYWxsLTFiQwoIZ2V0X3RpbWUSLwoOCgFhEgkRAAAAAAAA8D8KHQoBYhIYMhYKAxoBeAoCCAAKCyoJCgcKAWMSAiABGgZzZXJ2ZXJaAVRqCXJlcXVlc3QtMSICIgA=',
  ],
  [
    'fields that are not known',
    [
      init(),
      actions(
        createTask(
          task('T', [2, 'A title'], [6, 'summary'], [8, new Uint8Array([1, 2, 3])], [9, 'later'], [30, 7]),
        ),
      ),
      actions(
        add(
          'T',
          message(
            'm1',
            [3, raw([1, 'x'], [9, 'y'])],
            [7, 'data'],
            [8, raw([1, 'doc'], [2, 1])],
            [11, 'T'],
            [13, 'request-1'],
            [14, raw([1, 170])],
            [29, 'memories'],
            [40, { float: 1 }],
          ),
        ),
      ),
      finished(),
    ],
    'CAESDmNvbnZlcnNhdGlvbi0xGmcKZQoBVBIHQSB0aXRsZSo/CgJtMRoGCgF4SgF5OgRkYXRhQgcKA2RvYxABWgFUaglyZXF1ZXN0LTFyAwiqAeoBCG1lbW9yaWVzxQIAAIA/QgMBAgMyB3N1bW1hcnlKBWxhdGVy8AEHIgIiAA==',
  ],
  [
    'an agent of the upstream that is at work',
    [
      ...opening,
      actions(add('T', subagent([2, 'payload']))),
      actions(createTask(childTask('C', 'T'))),
      actions(add('C', output('k', 'inner'))),
      saidX,
      finished(),
    ],
    'CAESDmNvbnZlcnNhdGlvbi0xGkMKKQoBVCoZCgJzMSITCgJjMZoBDAoBQxIHcGF5bG9hZCoJCgJtMRoDCgF4ChYKAUMaAwoBVCoMCgFrGgcKBWlubmVyIgIiAA==',
  ],
  [
    'totals',
    [
      ...opening,
      saidX,
      finished(
        2,
        [8, raw([2, 10], [3, 2])],
        [10, raw([1, { float: 1.5 }])],
        [
          11,
          raw(
            [3, { float: 2.5 }],
            [6, raw([1, 'auto'], [2, raw([2, 120])])],
            [8, { float: 0.25 }],
            [10, 30],
            [12, charges],
          ),
        ],
        [13, charges],
      ),
    ],
    'CAESDmNvbnZlcnNhdGlvbi0xGhAKDgoBVCoJCgJtMRoDCgF4IjoQeBkAAAAAAAAGQCItCQAAAAAAACRAEQAAAAAAABRAGQAAAAAAAAhAIQAAAAAAAABAKQAAAAAAAP4/',
  ],
  [
    'values that are there and empty',
    [
      init(),
      actions(createTask(task('T', [2, '']))),
      actions(
        add(
          'T',
          message('m1', [3, raw([1, ''])], [7, ''], [8, new Uint8Array()]),
          message('m2'),
          message('', [3, raw([1, 'no id'])]),
        ),
      ),
      finished(),
    ],
    'CAESDmNvbnZlcnNhdGlvbi0xGigKJgoBVBIAKgwKAm0xGgIKADoAQgAqBAoCbTIqCwoAGgcKBW5vIGlkIgIiAA==',
  ],
];

it.each(written)('is written as it was before, byte for byte: %s', (_name, events, before) => {
  const { memory } = decodeAnswer(events, { tools: ['get_time'] });
  expect(Buffer.from(memory ?? []).toString('base64')).toBe(before);
});

it.each(written)(
  'of an earlier version goes back to the upstream as it was kept: %s',
  (_name, _events, before) => {
    const memory = Buffer.from(before, 'base64');
    const { request } = createWarpOutbound().open({
      request: turnRequest(),
      remembered: { memory, newMessages: [user('More')] },
    });
    const sent = readRaw(request.body);
    expect(sent.at(1).bytes).toEqual(new Uint8Array(readRaw(memory).at(3).bytes));
    expect(sent.at(4, 1).text).toBe('conversation-1');
  },
);

it('of a later version, or with a field that is not known, is judged by its number', () => {
  const { memory = new Uint8Array() } = decodeAnswer([...opening, saidX, finished()]);
  const more = Buffer.concat([memory, raw([9, 'later'])]);
  expect(decodeMemory(more)?.conversationId).toBe('conversation-1');
  const newer = raw([1, 2], [2, 'conversation-1'], [3, new Uint8Array()]);
  expect(decodeMemory(newer)).toBeUndefined();
  const otherwise = Buffer.concat([memory, raw([4, raw([3, 'many'])])]);
  expect(decodeMemory(otherwise)).toBeUndefined();
});

it('a copy of a changed message shares what is never changed in place, and is changed apart from it', () => {
  const call = raw([1, 'c1'], [12, raw([1, 'f'], [2, raw([1, raw([1, 'a'])])])], [41, 'x']);
  const sent = message('m1', [4, call], [14, raw([1, 7])], [41, 'y']);
  const first = KeptMessage.read(sent, new FieldBudget()).changeable(false);
  const copy = first.changeable(true);
  const [one, other] = [first, copy].map(({ message: { timestamp, message: said } }) => {
    if (said.case !== 'toolCall' || said.value.tool.case !== 'callMcpTool') throw new Error('no call');
    return { timestamp, tool: said.value.tool.value };
  });
  expect(other?.timestamp).toBe(one?.timestamp);
  expect(other?.tool.args).toBe(one?.tool.args);
  expect(encoded((writer) => copy.write(writer))).toEqual(sent);
  copy.message.id = 'm2';
  if (other) other.tool.name = 'g';
  expect(encoded((writer) => first.write(writer))).toEqual(sent);
});
