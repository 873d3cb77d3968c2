// Answers of an upstream that means harm, or is broken in a way that looks like it.
import { expect, it } from 'vitest';
import { cpuSecondsOf } from '../../core/testing/cpu-time.ts';
import { internalErrorOf } from './classify-failure.ts';
import { decodeAnswer } from './testing/decode.ts';
import {
  actions,
  add,
  append,
  begin,
  createTask,
  finished,
  init,
  mcpCall,
  output,
  plain,
  task,
  update,
} from './testing/events.ts';
import { raw } from './testing/wire.ts';

/** Far above what each takes, and far below what it took. */
const mostSeconds = 4;

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
