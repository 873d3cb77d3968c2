import { describe, expect, it } from 'vitest';
import { WarpDecoder } from './decode-stream.ts';
import { decodeMemory } from './memory.ts';
import { decodeAnswer } from './testing/decode.ts';
import {
  actions,
  add,
  appendText,
  begin,
  callResult,
  childTask,
  commit,
  createTask,
  finished,
  init,
  mcpCall,
  message,
  output,
  plain,
  rollback,
  task,
  textOf,
  userQuery,
} from './testing/events.ts';
import { raw } from './testing/wire.ts';

const opening = [init(), actions(createTask(task('T')), add('T', userQuery('u1', 'Hi')))];
const hello = actions(add('T', output('m1', 'Hello')));

function conversationOf(memory: Uint8Array | undefined): string | undefined {
  return memory && decodeMemory(memory)?.conversationId;
}

describe('the order of events', () => {
  it('may begin without init: the answer is whole, and only the memory is missing', () => {
    const { events, memory } = decodeAnswer([actions(createTask(task('T'))), hello, finished()]);
    expect(plain(events)).toEqual([
      { type: 'start' },
      { type: 'text-delta', text: 'Hello' },
      { type: 'finish', reason: 'stop' },
    ]);
    expect(memory).toBeUndefined();
  });

  it('may bring init late', () => {
    const { events, memory } = decodeAnswer([
      actions(createTask(task('T'))),
      init('late'),
      hello,
      finished(),
    ]);
    expect(events.filter(({ type }) => type === 'start')).toHaveLength(1);
    expect(conversationOf(memory)).toBe('late');
  });

  it('may bring init twice: the first one counts', () => {
    const { events, memory } = decodeAnswer([
      init('first', 'r1'),
      actions(createTask(task('T'))),
      init('second', 'r2'),
      hello,
      finished(),
    ]);
    expect(events[0]).toEqual({ type: 'start', upstreamRequestId: 'r1' });
    expect(events.filter(({ type }) => type === 'start')).toHaveLength(1);
    expect(conversationOf(memory)).toBe('first');
  });

  it('may end at once', () => {
    expect(plain(decodeAnswer([finished()]).events)).toEqual([
      { type: 'start' },
      { type: 'finish', reason: 'stop' },
    ]);
  });

  it('ends with finished: what comes later is not read, not even for the memory', () => {
    const { events, memory } = decodeAnswer([
      ...opening,
      hello,
      finished(),
      actions(appendText('T', 'm1', ' late'), add('T', output('m2', 'later'))),
      finished(4),
    ]);
    expect(textOf(events)).toBe('Hello');
    expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
    const messages = decodeMemory(memory ?? new Uint8Array())?.tasks[0]?.messages;
    expect(messages?.map(({ id }) => id)).toEqual(['u1', 'm1']);
  });

  it('may hold events and actions that say nothing', () => {
    const { events, anomalies } = decodeAnswer([...opening, new Uint8Array(), actions(), hello, finished()]);
    expect(textOf(events)).toBe('Hello');
    expect(anomalies).toEqual([]);
  });
});

describe('tasks and messages', () => {
  it('a task that is made twice keeps its messages and takes over its new fields', () => {
    const { events, memory } = decodeAnswer([
      ...opening,
      hello,
      actions(createTask(task('T', [2, 'About greetings'], [5, output('m2', 'again')]))),
      finished(),
    ]);
    expect(textOf(events)).toBe('Hello\n\nagain');
    const [kept] = decodeMemory(memory ?? new Uint8Array())?.tasks ?? [];
    expect(kept?.task.description).toBe('About greetings');
    expect(kept?.messages.map(({ id }) => id)).toEqual(['u1', 'm1', 'm2']);
  });

  it('a message that comes twice stands once and is shown once', () => {
    const { events, memory } = decodeAnswer([
      ...opening,
      hello,
      actions(add('T', output('m1', 'Hello'))),
      actions(add('T', output('m1', 'Hello, you'))),
      finished(),
    ]);
    expect(textOf(events)).toBe('Hello, you');
    expect(decodeMemory(memory ?? new Uint8Array())?.tasks[0]?.messages).toHaveLength(2);
  });

  it('messages without content or without an id are kept and show nothing', () => {
    const { events, memory } = decodeAnswer([
      ...opening,
      actions(add('T', message('empty'), raw([7, 'nameless']), raw([7, 'nameless']))),
      hello,
      finished(),
    ]);
    expect(textOf(events)).toBe('Hello');
    expect(decodeMemory(memory ?? new Uint8Array())?.tasks[0]?.messages).toHaveLength(5);
  });

  it('a transaction that is never closed counts', () => {
    const { memory } = decodeAnswer([...opening, actions(begin, add('T', output('m1', 'x'))), finished()]);
    expect(decodeMemory(memory ?? new Uint8Array())?.tasks[0]?.messages).toHaveLength(2);
  });

  it('a rollback takes back tasks, descriptions and data, and one without a transaction nothing', () => {
    const { memory, events } = decodeAnswer([
      ...opening,
      actions(rollback),
      actions(raw([8, raw([1, 'T'], [2, 'before'])]), raw([13, raw([1, 'T'], [2, 'before'])])),
      actions(begin, createTask(task('U', [5, output('u', 'second root')]))),
      actions(raw([8, raw([1, 'T'], [2, 'after'])]), raw([13, raw([1, 'T'], [2, 'after'])])),
      actions(rollback, commit),
      finished(),
    ]);
    const tasks = decodeMemory(memory ?? new Uint8Array())?.tasks ?? [];
    expect(tasks.map(({ task: { id, description } }) => [id, description])).toEqual([['T', 'before']]);
    expect(Buffer.from(tasks[0]?.task.serverData ?? []).toString()).toBe('before');
    expect(textOf(events)).toBe('second root');
  });
});

describe('agents of the upstream', () => {
  const started = actions(
    add('T', message('a1', [4, raw([1, 'call-a'], [19, raw([1, 'S'])])])),
    createTask(childTask('S', 'T')),
  );

  it('may wait for a tool of the client while they are at work, and get its result', () => {
    const first = decodeAnswer(
      [...opening, started, actions(add('S', mcpCall('s1', 'id-1', 'get_weather'))), finished()],
      { tools: ['get_weather'] },
    );
    expect(first.events).toContainEqual({
      type: 'tool-call-start',
      index: 0,
      id: 'id-1',
      name: 'get_weather',
    });
    expect(first.events.at(-1)).toEqual({ type: 'finish', reason: 'tool-calls' });
    expect(decodeMemory(first.memory ?? new Uint8Array())?.tasks.map(({ task }) => task.id)).toEqual([
      'T',
      'S',
    ]);
  });

  it('leave no call behind once they are done, and use tools of their own as they like', () => {
    const { events } = decodeAnswer(
      [
        ...opening,
        started,
        actions(
          add(
            'S',
            mcpCall('s1', 'id-1', 'get_weather'),
            message('s2', [4, raw([1, 'id-2'], [2, raw([1, 'ls'])])]),
          ),
          add('T', callResult('a2', 'call-a')),
        ),
        hello,
        finished(),
      ],
      { tools: ['get_weather'] },
    );
    expect(events.slice(1)).toEqual([
      { type: 'text-delta', text: 'Hello' },
      { type: 'finish', reason: 'stop' },
    ]);
    const atWork = decodeAnswer([
      ...opening,
      started,
      actions(add('S', message('s2', [4, raw([1, 'id-2'], [2, raw([1, 'ls'])])]))),
      hello,
      finished(),
    ]);
    expect(atWork.events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
  });
});

describe('what the upstream tells beside the answer', () => {
  const used = (id: string, isFallback: boolean) =>
    message('u', [25, raw([1, id], [2, 'A name'], [3, isFallback])]);

  it('is noted when another model answers than was asked', () => {
    const fallback = decodeAnswer([...opening, actions(add('T', used('small', true))), hello, finished()]);
    expect(fallback.anomalies).toEqual(['model-fallback small']);
    const asked = decodeAnswer([...opening, actions(add('T', used('big', false))), hello, finished()]);
    expect(asked.anomalies).toEqual([]);
  });

  it('is passed on when its list of models is another one by now', () => {
    expect(decodeAnswer([...opening, hello, finished(2, [9, true])]).isModelListOutdated).toBe(true);
    expect(decodeAnswer([...opening, hello, finished()]).isModelListOutdated).toBe(false);
    expect(decodeAnswer([init(), finished(4, [9, true])]).isModelListOutdated).toBe(true);
  });

  it('is let go of with its decoder, which has no getter for V8 to make a lasting shape of', () => {
    const decoder = new WarpDecoder({ tools: [], remembered: undefined });
    const getters = Object.values(Object.getOwnPropertyDescriptors(decoder)).filter(({ get }) => get);
    expect(getters).toEqual([]);
  });
});
