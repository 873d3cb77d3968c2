import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import type { Anomaly } from './apply-action.ts';
import { WarpDecoder } from './decode-stream.ts';
import { decodeMemory } from './memory.ts';
import {
  actions,
  add,
  append,
  appendReasoning,
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
  reasoning,
  rollback,
  sse,
  stream,
  task,
  textOf,
  update,
  userQuery,
} from './testing/events.ts';
import { raw, readRaw } from './testing/wire.ts';

const opening = [init(), actions(createTask(task('T'))), actions(add('T', userQuery('u1', 'Hi')))];

function decode(text: string | Uint8Array, options: { tools?: string[]; memory?: Uint8Array } = {}) {
  const anomalies: Anomaly[] = [];
  const decoder = new WarpDecoder({
    tools: (options.tools ?? []).map((name) => ({ name })),
    remembered: options.memory && decodeMemory(options.memory),
    onAnomaly: (anomaly) => anomalies.push(anomaly),
  });
  const events: TurnEvent[] = [...decoder.push(typeof text === 'string' ? Buffer.from(text) : text)];
  events.push(...decoder.end());
  return { events, anomalies, memory: decoder.memory(), decoder };
}

describe('text', () => {
  it('shows a plain answer as it grows, and its end', () => {
    const { events } = decode(
      stream(
        ...opening,
        actions(add('T', output('m1', 'Hel'))),
        actions(appendText('T', 'm1', 'lo')),
        finished(),
      ),
    );
    expect(events).toEqual([
      { type: 'start', upstreamRequestId: 'request-1' },
      { type: 'text-delta', text: 'Hel' },
      { type: 'text-delta', text: 'lo' },
      { type: 'finish', reason: 'stop' },
    ]);
  });

  it('shows reasoning apart from text and ignores its duration', () => {
    const { events } = decode(
      stream(
        ...opening,
        actions(add('T', reasoning('r1', 'Let me'))),
        actions(appendReasoning('T', 'r1', ' think')),
        actions(update('T', message('r1', [15, raw([2, raw([1, 3])])]), 'agent_reasoning.finished_duration')),
        actions(add('T', output('m1', 'Done.'))),
        finished(),
      ),
    );
    expect(textOf(events, 'reasoning-delta')).toBe('Let me think');
    expect(textOf(events)).toBe('Done.');
  });

  it('separates the messages of one turn with a blank line', () => {
    const { events } = decode(
      stream(
        ...opening,
        actions(add('T', output('m1', 'One.'), output('m2', ''))),
        actions(appendText('T', 'm2', 'Two'), appendText('T', 'm2', '.')),
        finished(),
      ),
    );
    expect(textOf(events)).toBe('One.\n\nTwo.');
  });

  it('takes an append to a message it does not know as that message', () => {
    const { events } = decode(stream(...opening, actions(appendText('T', 'm1', 'Hello')), finished()));
    expect(textOf(events)).toBe('Hello');
  });

  it('shows what an update adds, and nothing when it says something else', () => {
    const { events, anomalies } = decode(
      stream(
        ...opening,
        actions(add('T', output('m1', 'Hello'))),
        actions(update('T', output('m1', 'Hello world'), 'agent_output.text')),
        actions(update('T', output('m1', 'Bye'), 'agent_output.text')),
        actions(appendText('T', 'm1', ' now')),
        finished(),
      ),
    );
    expect(textOf(events)).toBe('Hello world');
    expect(anomalies).toEqual(['rewritten-text']);
  });

  it('goes on once a shortened message has caught up with what was shown', () => {
    const { events } = decode(
      stream(
        ...opening,
        actions(add('T', output('m1', 'abcd'))),
        actions(update('T', output('m1', 'ab'), 'agent_output.text')),
        actions(appendText('T', 'm1', 'cd')),
        actions(appendText('T', 'm1', 'ef')),
        finished(),
      ),
    );
    expect(textOf(events)).toBe('abcdef');
  });

  it('takes nothing back on a rollback and does not repeat what was shown', () => {
    const { events, memory } = decode(
      stream(
        ...opening,
        actions(add('T', output('m1', 'Keep'))),
        actions(begin, appendText('T', 'm1', 'ing'), add('T', output('m2', 'gone')), rollback),
        actions(appendText('T', 'm1', 'ing on')),
        finished(),
      ),
    );
    expect(textOf(events)).toBe('Keeping\n\ngone on');
    expect(textsIn(memory)).toEqual(['Keeping on']);
  });

  it('keeps what a committed transaction did', () => {
    const { memory } = decode(
      stream(...opening, actions(begin, add('T', output('m1', 'kept')), commit, rollback), finished()),
    );
    expect(textsIn(memory)).toEqual(['kept']);
  });

  it('hides what other tasks say, and keeps only those still at work', () => {
    const agentCall = message('a1', [4, raw([1, 'call-a'], [19, raw([1, 'S'])])]);
    const said = actions(
      add('T', agentCall),
      createTask(childTask('S', 'T')),
      add('S', output('s1', 'inner')),
      appendText('S', 's1', ' voice'),
    );
    const working = decode(stream(...opening, said, finished()));
    expect(textOf(working.events)).toBe('');
    expect(taskIdsIn(working.memory)).toEqual(['T', 'S']);
    const done = decode(stream(...opening, said, actions(add('T', callResult('a2', 'call-a'))), finished()));
    expect(taskIdsIn(done.memory)).toEqual(['T']);
    expect(done.events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
  });

  it('hides a task that came from nowhere when there is a root', () => {
    const { events } = decode(stream(...opening, actions(add('X', output('x', 'secret'))), finished()));
    expect(textOf(events)).toBe('');
  });

  it('moves messages to a new task and puts the replacement in their place', () => {
    const move = raw([
      14,
      raw(
        [1, 'T'],
        [2, childTask('N', 'T')],
        [3, 'u1'],
        [4, 'm1'],
        [5, 2],
        [6, output('sum', 'What was said')],
      ),
    ]);
    const { events, anomalies, memory } = decode(
      stream(
        ...opening,
        actions(add('T', output('m1', 'Hi')), add('T', output('m2', 'there'))),
        actions(move, appendText('T', 'm2', '!'), appendText('N', 'm1', 'hidden')),
        finished(),
      ),
    );
    expect(textOf(events)).toBe('Hi\n\nthere!');
    expect(anomalies).toEqual([]);
    expect(textsIn(memory)).toEqual(['What was said', 'there!']);
  });

  it('remembers nothing when a move does not match what it holds', () => {
    const move = raw([14, raw([1, 'T'], [2, childTask('N', 'T')], [3, 'u1'], [4, 'u1'], [5, 7])]);
    const { events, anomalies, memory } = decode(stream(...opening, actions(move), finished()));
    expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
    expect(anomalies).toEqual(['unmatched-move']);
    expect(memory).toBeUndefined();
  });

  it('passes over actions, events and mask paths it does not know', () => {
    const { events, anomalies } = decode(
      stream(
        ...opening,
        raw([99, 'news']),
        actions(raw([77, 'new']), raw([12, raw([1, 'u1'])]), raw([6, 'x']), raw([7, 'x'])),
        actions(add('T', output('m1', 'ok')), append('T', output('m1', 'x'), 'agent_output.colour')),
        finished(),
      ),
    );
    expect(textOf(events)).toBe('ok');
    expect(anomalies).toEqual(['unknown-action', 'conversation-split', 'unknown-mask-path']);
  });

  it('refuses to append to what is no text', () => {
    const { events } = decode(
      stream(
        ...opening,
        actions(add('T', output('m1', 'a')), append('T', output('m1', 'b'), 'agent_output')),
      ),
    );
    expect(plain(events).at(-1)).toEqual({ type: 'error', code: 'upstream_protocol' });
  });
});

describe('tool calls', () => {
  it('shows all unanswered calls at the end, in order, with whole arguments', () => {
    const { events } = decode(
      stream(
        ...opening,
        actions(add('T', mcpCall('c1', 'id-1', 'get_weather', { city: 'Köln', days: 3, big: 1e21, x: 0.5 }))),
        actions(add('T', mcpCall('c2', 'id-2', 'get_time'), message('s', [4, raw([1, 'id-s'], [4, 'x'])]))),
        actions(add('T', mcpCall('c3', 'id-3', 'get_time'), callResult('c4', 'id-3'))),
        finished(),
      ),
      { tools: ['get_weather', 'get_time'] },
    );
    expect(events.slice(1)).toEqual([
      { type: 'tool-call-start', index: 0, id: 'id-1', name: 'get_weather' },
      {
        type: 'tool-call-delta',
        index: 0,
        arguments: '{"city":"Köln","days":3,"big":1e+21,"x":0.5}',
      },
      { type: 'tool-call-end', index: 0 },
      { type: 'tool-call-start', index: 1, id: 'id-2', name: 'get_time' },
      { type: 'tool-call-delta', index: 1, arguments: '{}' },
      { type: 'tool-call-end', index: 1 },
      { type: 'finish', reason: 'tool-calls' },
    ]);
  });

  it('makes an id where the upstream gave none, and empty arguments where there are none', () => {
    const call = message('c1', [4, raw([12, raw([1, 'get_time'])])]);
    const { events } = decode(stream(...opening, actions(add('T', call)), finished()), {
      tools: ['get_time'],
    });
    expect(events).toContainEqual({
      type: 'tool-call-start',
      index: 0,
      id: 'call_request-1_0',
      name: 'get_time',
    });
    expect(events).toContainEqual({ type: 'tool-call-delta', index: 0, arguments: '{}' });
  });

  it('reports an upstream fault when a call cannot be read', () => {
    const call = message('c1', [4, raw([1, 'i'], [12, raw([1, 'get_time'], [2, 'zz'])])]);
    const { events, memory } = decode(stream(...opening, actions(add('T', call)), finished()), {
      tools: ['get_time'],
    });
    expect(events.slice(1)).toMatchObject([
      { type: 'error', error: { code: 'upstream_protocol', failover: 'once', outcome: undefined } },
    ]);
    expect(memory).toBeUndefined();
  });
});

describe('the end', () => {
  it.each([
    [1, 'upstream_unavailable'],
    [4, 'upstream_quota_exhausted'],
    [5, 'context_too_long'],
    [6, 'model_unavailable'],
    [7, 'upstream_unavailable'],
    [12, 'upstream_unauthorized'],
  ])('reason %i is the error %s, after the figures', (reason, code) => {
    const usage = raw([2, 10], [3, 2]);
    const { events, memory } = decode(stream(init(), finished(reason, [8, usage])));
    expect(plain(events)).toEqual([
      { type: 'start', upstreamRequestId: 'request-1' },
      { type: 'usage', usage: { inputTokens: 10, outputTokens: 2 } },
      { type: 'error', code },
    ]);
    expect(memory).toBeUndefined();
  });

  it('lets an overloaded model rest and keeps the upstream words out of the message', () => {
    const down = decode(stream(init(), finished(6))).events.at(-1);
    expect(down?.type === 'error' && down.error.retryAfterMs).toBe(5000);
    const inner = decode(stream(init(), raw([3, raw([7, raw([1, 'stack trace'])])]))).events.at(-1);
    if (inner?.type !== 'error') throw new Error('no error');
    expect(inner.error.message).not.toContain('stack trace');
    expect(String(inner.error.cause)).toContain('stack trace');
  });

  it('counts an unset reason as done where there is an answer, and the token limit as length', () => {
    const said = actions(add('T', output('m1', 'Hello')));
    expect(decode(stream(...opening, said, raw([3, new Uint8Array()]))).events.at(-1)).toEqual({
      type: 'finish',
      reason: 'stop',
    });
    expect(decode(stream(init(), finished(3))).events.at(-1)).toEqual({ type: 'finish', reason: 'length' });
  });

  it('sums the usage of all models and tells the credits', () => {
    const { events } = decode(
      stream(
        init(),
        finished(
          2,
          [8, raw([1, 'a'], [2, 100], [3, 20], [4, 60])],
          [8, raw([1, 'b'], [2, 5], [3, 1])],
          [10, raw([1, { float: 1.1 }], [2, { float: 0.2 }])],
        ),
      ),
    );
    expect(events[1]).toEqual({
      type: 'usage',
      usage: { inputTokens: 105, outputTokens: 21, cachedInputTokens: 60, credits: 1.3 },
    });
  });

  it('tells credits without tokens as zeros', () => {
    const { events } = decode(stream(init(), finished(2, [10, raw([1, { float: 2 }])])));
    expect(events[1]).toEqual({ type: 'usage', usage: { inputTokens: 0, outputTokens: 0, credits: 2 } });
  });

  it('is missing when the bytes stop without it', () => {
    const { events } = decode(stream(...opening, actions(add('T', output('m1', 'Hel')))));
    expect(plain(events).slice(-2)).toEqual([
      { type: 'text-delta', text: 'Hel' },
      { type: 'error', code: 'upstream_protocol' },
    ]);
    expect(plain(decode('').events)).toEqual([{ type: 'error', code: 'upstream_protocol' }]);
  });

  it('comes once, whatever follows it', () => {
    const late = stream(actions(add('T', output('m9', 'late'))), finished(1));
    const { events, decoder } = decode(`${stream(...opening, finished())}${late}data: %%%\n\n`);
    expect(events.filter((event) => event.type === 'finish' || event.type === 'error')).toHaveLength(1);
    expect(decoder.push(Buffer.from(late))).toEqual([]);
    expect(decoder.end()).toEqual([]);
  });
});

describe('framing', () => {
  const answer = stream(...opening, actions(add('T', output('m1', 'Grüße 🌍'))), finished());
  const expected = decode(answer).events;

  it.each([
    ['CRLF', answer.replaceAll('\n', '\r\n')],
    ['CR', answer.replaceAll('\n', '\r')],
    ['a byte order mark', `\u{feff}${answer}`],
    ['comments', answer.replaceAll('data:', ': keep-alive ü\n\ndata:')],
    ['event names and ids', answer.replaceAll('data:', 'event: message\nid: 7\ndata:')],
    ['quotes', answer.replaceAll(/data: (.*)/g, 'data: "$1"')],
    ['no space', answer.replaceAll('data: ', 'data:')],
    ['no padding', answer.replaceAll('=', '')],
    ['the other alphabet', answer.replaceAll('-', '+').replaceAll('_', '/')],
    ['an empty event', `data:\n\n${answer}`],
  ])('is read with %s', (_name, text) => {
    expect(decode(text).events).toEqual(expected);
    const decoder = new WarpDecoder({ tools: [], remembered: undefined });
    const single = [...Buffer.from(text)].flatMap((byte) => [...decoder.push(Uint8Array.of(byte))]);
    expect([...single, ...decoder.end()]).toEqual(expected);
  });

  it.each([
    ['junk in the base64', 'data: CgNh*mJj\n\n'],
    ['a cut base64', 'data: CgNhY\n\n'],
    ['padding in the middle', 'data: Cg==NhYmM=\n\n'],
    ['an event that is no protobuf', sse(Uint8Array.of(0x0a, 0x05, 0x01))],
    ['plain JSON', 'data: {"error":"boom"}\n\n'],
    ['a web page', 'data: <html>\n\n'],
  ])('stops with an error at %s', (_name, junk) => {
    expect(plain(decode(junk + answer).events)).toEqual([{ type: 'error', code: 'upstream_protocol' }]);
    const later = plain(decode(sse(init()) + junk + answer).events);
    expect(later).toEqual([
      { type: 'start', upstreamRequestId: 'request-1' },
      { type: 'error', code: 'upstream_protocol' },
    ]);
  });

  it('does not collect an event without an end for ever, and tries no other account then', () => {
    const decoder = new WarpDecoder({ tools: [], remembered: undefined });
    const piece = Buffer.alloc(1024 * 1024, 'A');
    const events: TurnEvent[] = [...decoder.push(Buffer.from('data: '))];
    for (let count = 0; count < 40 && events.length === 0; count++) events.push(...decoder.push(piece));
    expect(events).toMatchObject([
      { type: 'error', error: { code: 'upstream_protocol', failover: 'no', outcome: undefined } },
    ]);
  });

  it('takes an event as long as the request it echoes', () => {
    const request = 'x'.repeat(30 * 1024 * 1024);
    const echo = Buffer.from(
      stream(init(), actions(createTask(task('T'))), actions(add('T', userQuery('u1', request)))),
    );
    expect(echo.length).toBeGreaterThan(32 * 1024 * 1024);
    const decoder = new WarpDecoder({
      tools: [],
      remembered: undefined,
      requestBytes: request.length,
    });
    const events: TurnEvent[] = [];
    for (let at = 0; at < echo.length; at += 65_536) {
      events.push(...decoder.push(echo.subarray(at, at + 65_536)));
    }
    events.push(...decoder.push(Buffer.from(stream(actions(add('T', output('m1', 'Yes.'))), finished()))));
    expect(events.slice(1)).toEqual([
      { type: 'text-delta', text: 'Yes.' },
      { type: 'finish', reason: 'stop' },
    ]);
    expect(decoder.memory()?.length).toBeGreaterThan(request.length);
  });
});

describe('what is remembered', () => {
  it('holds every field of the tasks, known or not', () => {
    const odd = raw(
      [1, 'm1'],
      [7, 'data'],
      [8, raw([1, 'doc'])],
      [13, ''],
      [14, raw([1, 5])],
      [3, raw([1, 'x'], [9, 'n'])],
      [40, 'new'],
    );
    const { memory } = decode(
      stream(
        init(),
        actions(createTask(raw([1, 'T'], [2, ''], [6, 'summary'], [50, 'future']))),
        actions(raw([13, raw([1, 'T'], [2, 'server state'])]), raw([8, raw([1, 'T'], [2, 'About x'])])),
        actions(add('T', message('u1', [2, raw([1, 'Hi'], [2, raw([4, 'c'])])]), odd)),
        finished(),
      ),
    );
    const kept = readRaw(memory ?? new Uint8Array()).at(3, 1);
    expect(kept.at(8).text).toBe('server state');
    expect(kept.at(2).text).toBe('About x');
    expect(kept.at(6).text).toBe('summary');
    expect(kept.at(50).text).toBe('future');
    const [echo, answer] = kept.all(5);
    expect(Buffer.from(echo?.at(2).bytes ?? [])).toEqual(Buffer.from(raw([1, 'Hi'], [2, raw([4, 'c'])])));
    expect(answer?.numbers.toSorted((a, b) => a - b)).toEqual([1, 3, 7, 8, 13, 14, 40]);
    expect(answer?.at(3, 9).text).toBe('n');
    expect(answer?.at(14).varint(1)).toBe(5);
  });

  it('lies in memory of its own, not in what many events share', () => {
    const events = [
      ...opening,
      actions(raw([13, raw([1, 'T'], [2, 'server state'])])),
      actions(add('T', output('m1', 'One'), mcpCall('m2', 'call-1', 'get_weather'))),
      finished(),
    ];
    const { decoder } = decode(stream(...events), { tools: ['get_weather'] });
    const written = vi.spyOn(BinaryWriter.prototype, 'raw');
    onTestFinished(() => written.mockRestore());
    decoder.memory();
    const longest = Math.max(...events.map(({ length }) => length));
    const kept = written.mock.calls.map(([bytes]) => bytes.buffer.byteLength);
    expect(kept.length).toBe(4);
    expect(Math.max(...kept)).toBeLessThanOrEqual(longest);
  });

  it('is not shown again, while the answer goes on in the same task', () => {
    const first = decode(stream(...opening, actions(add('T', output('m1', 'One'))), finished()));
    const { events, memory } = decode(
      stream(
        init('conversation-1', 'request-2'),
        actions(add('T', userQuery('u2', 'more'))),
        actions(add('T', output('m2', 'Two'))),
        finished(),
      ),
      first.memory ? { memory: first.memory } : {},
    );
    expect(textOf(events)).toBe('Two');
    expect(textsIn(memory)).toEqual(['One', 'Two']);
  });

  it('shows only what is added to a message of an earlier turn', () => {
    const first = decode(stream(...opening, actions(add('T', output('m1', 'One'))), finished()));
    const { events } = decode(
      stream(init(), actions(appendText('T', 'm1', ' and a half')), finished()),
      first.memory ? { memory: first.memory } : {},
    );
    expect(textOf(events)).toBe(' and a half');
  });

  it('keeps a transaction from changing the tasks it was given', () => {
    const first = decode(stream(...opening, actions(add('T', output('m1', 'One'))), finished()));
    const { memory } = decode(
      stream(init(), actions(begin, appendText('T', 'm1', ' lost'), rollback), finished()),
      first.memory ? { memory: first.memory } : {},
    );
    expect(textsIn(memory)).toEqual(['One']);
  });

  it('is nothing without a conversation or a task', () => {
    expect(decode(stream(init('', 'r'), finished())).memory).toBeUndefined();
    expect(decode(stream(init(), finished())).memory).toBeUndefined();
  });
});

/** The texts of the root task's answers in a memory. */
function textsIn(memory: Uint8Array | undefined): string[] {
  const messages = decodeMemory(memory ?? new Uint8Array())?.tasks[0]?.messages ?? [];
  return messages.flatMap(({ message: { message: content } }) =>
    content.case === 'agentOutput' ? [content.value.text ?? ''] : [],
  );
}

function taskIdsIn(memory: Uint8Array | undefined): (string | undefined)[] | undefined {
  return decodeMemory(memory ?? new Uint8Array())?.tasks.map(({ task }) => task.id);
}
