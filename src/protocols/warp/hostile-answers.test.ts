// Answers of an upstream that means harm, or is broken in a way that looks like it.
import { expect, it } from 'vitest';
import { cpuSecondsOf } from '../../core/testing/cpu-time.ts';
import { internalErrorOf } from './classify-failure.ts';
import { decodeAnswer } from './testing/decode.ts';
import {
  actions,
  add,
  append,
  appendText,
  begin,
  childTask,
  createTask,
  finished,
  init,
  mcpCall,
  output,
  plain,
  rollback,
  task,
  textOf,
  update,
} from './testing/events.ts';
import { type Field, raw } from './testing/wire.ts';

/** Far above what each takes, and far below what it took. */
const mostSeconds = 15;

const opening = [init(), actions(createTask(task('T')))];
const letter = append('T', output('m', 'x'), 'agent_output.text', 'server_message_data');
const undecodable = { type: 'error', code: 'upstream_protocol' };

function many<Item>(count: number, make: (index: number) => Item): Item[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

it('more calls than any model makes are an error, and not a fault of ours', () => {
  const calls = (count: number) => many(count, (index) => mcpCall(`m${index}`, `c${index}`, 'f'));
  const some = decodeAnswer([...opening, actions(add('T', ...calls(1_000))), finished()]).events;
  expect(some.filter(({ type }) => type === 'tool-call-end')).toHaveLength(1_000);
  for (const count of [1_001, 60_000]) {
    const { events } = decodeAnswer([...opening, actions(add('T', ...calls(count))), finished()]);
    expect(plain(events).at(-1)).toEqual(undecodable);
  }
});

it.each([
  [
    'a transaction begun for each message that is there',
    () => [
      actions(add('T', ...many(50_000, (index) => output(`m${index}`, 'x')))),
      actions(...many(50_000, () => begin)),
    ],
  ],
  [
    'a task for each message',
    () => [actions(...many(60_000, (index) => add(`t${index}`, output('m', 'x'))))],
  ],
  [
    'letters appended one by one to a long text',
    () => [
      actions(add('T', output('m', 'x'.repeat(2_000_000)))),
      // The second path keeps it from the short way.
      actions(...many(1_000, () => letter)),
    ],
  ],
])('is ended when it asks for too much: %s', { timeout: 120_000 }, async (_name, eventsOf) => {
  const events = [...opening, ...eventsOf(), finished()];
  let last: unknown;
  const seconds = await cpuSecondsOf(() => {
    last = plain(decodeAnswer(events).events).at(-1);
  });
  expect(last).toEqual(undecodable);
  expect(seconds).toBeLessThan(mostSeconds);
});

const overlong = (no: number) => [no, Uint8Array.of(0x0a, 0x7f)] as const;
const asGroup = (no: number) => [no, Uint8Array.of(0x63)] as const;
/** Too many for the arguments of a call. */
function fieldsOf(count: number, field: Field): Buffer {
  const bytes = raw(field);
  return Buffer.alloc(count * bytes.length, bytes);
}
const moves = (count: number, messages: number) =>
  many(count, (index) => {
    const [from, to] = index % 2 === 0 ? ['T', 'N'] : ['N', 'T'];
    return raw([14, raw([1, from], [2, task(to)], [3, 'm0'], [4, `m${messages - 1}`], [5, messages])]);
  });

it.each<[string, string, () => readonly Uint8Array[]]>([
  [
    'an event has too many fields',
    'numbers of fields that are not known',
    () => [actions(add('T', fieldsOf(250_000, [41, 1])))],
  ],
  ['an event has too many fields', 'actions of nothing', () => [raw([2, fieldsOf(250_000, [1, raw()])])]],
  [
    'an event has too many fields',
    'figures by model',
    () => [raw([3, raw([13, raw([1, raw([2, fieldsOf(250_000, [1, raw()])])])])])],
  ],
  [
    'the answer has too many fields',
    'fields over many events',
    () => Array(11).fill(actions(add('T', fieldsOf(200_000, [41, 1])))),
  ],
  [
    'the answer has too many fields that cannot be read',
    'a wire type of something else',
    () => [actions(add('T', fieldsOf(10_001, [14, 7])))],
  ],
  [
    'the answer has too many fields that cannot be read',
    'texts that reach far beyond their message',
    () => [actions(add('T', fieldsOf(10_001, overlong(15))))],
  ],
  [
    'the answer has too many fields that cannot be read',
    'groups that end nowhere',
    () => [actions(add('T', fieldsOf(10_001, asGroup(15))))],
  ],
  [
    'the answer has too many fields that cannot be read',
    'broken replacements of moved messages',
    () => [actions(raw([14, raw([1, 'T'], [2, task('N')], [6, fieldsOf(10_001, [14, 7])])]))],
  ],
  [
    'the answer has too many fields that cannot be read',
    'a few in each of countless events',
    () => Array(1_001).fill(actions(add('T', fieldsOf(100, [14, 7])))),
  ],
  [
    'the answer asks for too many steps',
    'more messages than any conversation has',
    () =>
      Array(5).fill(
        actions(raw([3, Buffer.concat([raw([1, 'T']), fieldsOf(90_000, [2, raw([3, raw()])])])])),
      ),
  ],
  [
    'the answer asks for too many steps',
    'long text that is put back again and again',
    () => [
      actions(add('T', output('m', 'x'.repeat(2_000_000)))),
      actions(...many(2_002, (index) => (index % 2 === 0 ? begin : rollback))),
    ],
  ],
  [
    'the answer asks for too many steps',
    'a long text of an agent within that is put back after each letter',
    () => [
      actions(createTask(childTask('N', 'T')), add('N', output('m', 'x'.repeat(2_000_000)))),
      actions(...many(3_003, (index) => [begin, appendText('N', 'm', 'x'), rollback][index % 3] ?? begin)),
    ],
  ],
  [
    'the answer asks for too many steps',
    'messages that are moved back and forth',
    () => [
      actions(add('T', ...many(10_000, (index) => output(`m${index}`, 'x')))),
      actions(...moves(42, 10_000)),
    ],
  ],
])('ends with "%s": %s', { timeout: 240_000 }, (cause, _name, eventsOf) => {
  const { events } = decodeAnswer([...opening, ...eventsOf(), finished()]);
  const error = events.find((event) => event.type === 'error')?.error;
  expect(error).toMatchObject({ code: 'upstream_protocol', cause: new RangeError(cause) });
});

/** Its time is no message. */
const odd = (id: string) => raw([1, id], [3, raw([1, 'x'])], [14, 7]);

it.each([
  ['of each message of a long echo', () => [actions(add('T', ...many(10_000, (index) => odd(`m${index}`))))]],
  [
    'of each event of a long answer',
    () => [
      actions(add('T', odd('m'))),
      ...many(3_000, () => actions(append('T', odd('m'), 'agent_output.text'))),
    ],
  ],
])('passes over a field that cannot be read: %s', { timeout: 120_000 }, (_name, eventsOf) => {
  const { events } = decodeAnswer([...opening, ...eventsOf(), finished()]);
  expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
});

it('reads no text beyond the message it is in', () => {
  // What follows is no UTF-8, so that reading on would be another error.
  const event = actions(
    add('T', raw([1, 'm'], [3, Uint8Array.of(0x0a, 0x03)], [7, Uint8Array.of(0xff, 0xfe)])),
  );
  const { events } = decodeAnswer([...opening, event, finished()]);
  let cause: unknown = events.find((event) => event.type === 'error')?.error;
  while (cause instanceof Error && cause.cause !== undefined) cause = cause.cause;
  expect(cause).toEqual(new RangeError('premature EOF'));
});

it('a rollback of nothing changes nothing, and a path named twice is one', () => {
  const { events } = decodeAnswer([
    ...opening,
    actions(add('T', output('m', 'x'))),
    actions(append('T', output('m', 'y'), 'agent_output.text', 'agent_output.text'), rollback),
    finished(),
  ]);
  expect(textOf(events)).toBe('xy');
});

it('what is odd is reported a few times, in a few words', () => {
  const path = `${'x'.repeat(5_000)}.y`;
  const { anomalies } = decodeAnswer([
    ...opening,
    actions(add('T', output('m', 'x'))),
    actions(...many(500, () => update('T', output('m', 'y'), path))),
    finished(),
  ]);
  expect(anomalies).toHaveLength(20);
  expect(anomalies[0]?.length).toBeLessThan(300);
});

it('an end of unknown fields names a few of them', () => {
  const { events } = decodeAnswer([
    ...opening,
    raw([3, raw(...many(5_000, (index) => [100 + index, 'x'] as const))]),
  ]);
  const error = events.find((event) => event.type === 'error')?.error;
  expect(error).toMatchObject({ code: 'upstream_unavailable' });
  expect(String(error?.cause).length).toBeLessThan(300);
});

it.each([
  ['backslashes', '\\'.repeat(1_000_000)],
  ['blanks behind a status', `status code${' '.repeat(1_000_000)}x`],
  ['messages that never end', '"message":"'.repeat(100_000)],
])('the text of an internal error is read at once: %s', async (_name, text) => {
  expect(await cpuSecondsOf(() => internalErrorOf(`${text} 400 bad request`))).toBeLessThan(mostSeconds);
  expect(String(internalErrorOf(text).cause).length).toBeLessThan(10_000);
});
