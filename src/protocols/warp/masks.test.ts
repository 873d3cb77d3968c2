import { describe, expect, it } from 'vitest';
import { decodeMemory } from './memory.ts';
import { decodeAnswer } from './testing/decode.ts';
import {
  actions,
  add,
  append,
  appendText,
  createTask,
  finished,
  init,
  message,
  output,
  plain,
  task,
  textOf,
  update,
  userQuery,
} from './testing/events.ts';
import { type Field, raw, readRaw } from './testing/wire.ts';

const opening = [init(), actions(createTask(task('T')), add('T', userQuery('u1', 'Hi')))];

function answer(...list: readonly Uint8Array[]) {
  return decodeAnswer([...opening, actions(...list), finished()]);
}

/** The last message of the root task, by field numbers. */
function lastKept(memory: Uint8Array | undefined) {
  const kept = readRaw(memory ?? new Uint8Array())
    .at(3, 1)
    .all(5)
    .at(-1);
  if (!kept) throw new Error('nothing is kept');
  return kept;
}

describe('a change by mask', () => {
  it('follows several paths, each for itself', () => {
    const { memory, events } = answer(
      add('T', message('m1', [3, raw([1, 'One'])], [7, 'a'], [13, 'r1'])),
      update(
        'T',
        message('m1', [3, raw([1, 'One two'])], [7, 'b'], [13, 'ignored']),
        'agent_output.text',
        'server_message_data',
      ),
    );
    expect(textOf(events)).toBe('One two');
    expect(lastKept(memory).at(7).text).toBe('b');
    expect(lastKept(memory).at(13).text).toBe('r1');
  });

  it('replaces a whole member, also one of another kind', () => {
    const { memory, events, anomalies } = answer(
      add('T', output('m1', 'Thinking aloud')),
      update('T', message('m1', [10, raw([1, 'todo'])]), 'update_todos'),
    );
    expect(textOf(events)).toBe('Thinking aloud');
    expect(lastKept(memory).numbers).not.toContain(3);
    expect(lastKept(memory).at(10, 1).text).toBe('todo');
    expect(anomalies).toEqual([]);
    const whole = answer(
      add('T', output('m1', 'One')),
      update('T', output('m1', 'One more'), 'agent_output'),
    );
    expect(textOf(whole.events)).toBe('One more');
  });

  it('replaces a list as a whole, and clears what the new message leaves out', () => {
    const citations: Field[] = [
      [8, raw([1, 'a'])],
      [8, raw([1, 'b'])],
    ];
    const { memory } = answer(
      add('T', message('m1', [3, raw([1, 'x'])], [7, 'data'], ...citations)),
      update('T', message('m1', [8, raw([1, 'c'])]), 'citations', 'server_message_data'),
    );
    expect(
      lastKept(memory)
        .all(8)
        .map((item) => item.at(1).text),
    ).toEqual(['c']);
    expect(lastKept(memory).numbers).not.toContain(7);
  });

  it('says again how long the cache of the model lasts, and keeps an explicit false', () => {
    const used = (at: number, ...more: readonly Field[]) =>
      message('m1', [25, raw(...more, [4, raw([1, at])])]);
    const { memory, anomalies } = answer(
      add('T', used(5, [1, 'auto'], [2, 'Auto'], [3, false])),
      update('T', used(9), 'model_used.prompt_cache_expires_at'),
    );
    expect(Buffer.from(lastKept(memory).at(25).bytes)).toEqual(
      Buffer.from(raw([1, 'auto'], [2, 'Auto'], [3, false], [4, raw([1, 9])])),
    );
    expect(anomalies).toEqual([]);
  });

  it('replaces the memories that the upstream has looked up for a message', () => {
    const { memory, anomalies } = answer(
      add('T', message('m1', [3, raw([1, 'x'])], [29, raw([1, 'old'])])),
      update('T', message('m1', [29, raw([1, 'a'])], [29, raw([1, 'b'])]), 'fetched_memories'),
    );
    expect(
      lastKept(memory)
        .all(29)
        .map((item) => item.at(1).text),
    ).toEqual(['a', 'b']);
    expect(anomalies).toEqual([]);
  });

  it('appends to any text, seen or not', () => {
    const { memory, events } = answer(
      add('T', message('m1', [3, raw([1, 'x'])], [7, 'one'])),
      append('T', message('m1', [7, ' two']), 'server_message_data'),
      append('T', message('m1', [13, 'r']), 'request_id'),
    );
    expect(textOf(events)).toBe('x');
    expect(lastKept(memory).at(7).text).toBe('one two');
    expect(lastKept(memory).at(13).text).toBe('r');
  });

  it.each([
    ['a list', message('m1', [8, raw([1, 'c'])]), 'citations'],
    ['a duration', message('m1', [15, raw([2, raw([1, 1])])]), 'agent_reasoning.finished_duration'],
  ])('that appends to %s is passed over, and the conversation is not remembered', (_name, patch, path) => {
    const { events, memory, anomalies } = answer(add('T', output('m1', 'x')), append('T', patch, path));
    expect(plain(events).slice(1)).toEqual([
      { type: 'text-delta', text: 'x' },
      { type: 'finish', reason: 'stop' },
    ]);
    expect(anomalies).toEqual([`not-text-mask-path ${path}`]);
    expect(memory).toBeUndefined();
  });

  it.each([
    ['agent_output.colour', output('m1', 'y')],
    ['no_such.path', output('m1', 'y')],
    ['agent_reasoning.reasoning', output('m1', 'y')],
    ['', output('m1', 'y')],
    ['agent_output..text', output('m1', 'y')],
  ])('by "%s", which leads nowhere, changes nothing', (path, patch) => {
    const { memory, events, anomalies } = answer(add('T', output('m1', 'x')), update('T', patch, path));
    expect(anomalies).toHaveLength(1);
    expect(textOf(events)).toBe('x');
    expect(Buffer.from(lastKept(memory).bytes)).toEqual(Buffer.from(output('m1', 'x')));
  });

  it('has the next turn start afresh when it changes what is kept as bytes here', () => {
    const search = (status: string) => message('m1', [19, raw([1, status])]);
    const { memory, anomalies, events } = answer(
      add('T', search('begun')),
      update('T', search('done'), 'web_search.status'),
      add('T', output('m2', 'Found it.')),
    );
    expect(textOf(events)).toBe('Found it.');
    expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
    expect(anomalies).toEqual(['opaque-mask-path web_search.status']);
    expect(memory).toBeUndefined();
  });

  it('adds a message it does not know whole, whether by update or by append', () => {
    const { memory, events } = answer(
      update('T', message('m1', [3, raw([1, 'One'])], [7, 'data']), 'agent_output.text'),
      appendText('T', 'm2', 'Two'),
    );
    expect(textOf(events)).toBe('One\n\nTwo');
    const messages = decodeMemory(memory ?? new Uint8Array())?.tasks[0]?.messages ?? [];
    expect(messages.map(({ message: { id, serverMessageData } }) => [id, serverMessageData])).toEqual([
      ['u1', undefined],
      ['m1', 'data'],
      ['m2', undefined],
    ]);
  });

  it('without a message, or with no path, changes nothing', () => {
    const { events, memory } = answer(
      add('T', output('m1', 'x')),
      raw([4, raw([2, raw([1, 'agent_output.text'])], [3, 'T'])]),
      update('T', output('m1', 'y')),
    );
    expect(textOf(events)).toBe('x');
    expect(lastKept(memory).at(3, 1).text).toBe('x');
  });
});
