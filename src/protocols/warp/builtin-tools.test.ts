import { expect, it } from 'vitest';
import { decodeMemory } from './memory.ts';
import { createWarpOutbound } from './outbound.ts';
import { decodeAnswer } from './testing/decode.ts';
import {
  actions,
  add,
  callResult,
  createTask,
  finished,
  init,
  mcpCall,
  message,
  output,
  task,
  toolResult,
  turnRequest,
  user,
  userQuery,
  weather,
} from './testing/events.ts';
import { type Field, raw, readRaw } from './testing/wire.ts';

const opening = [init(), actions(createTask(task('T'))), actions(add('T', userQuery('u1', 'Hi')))];
const builtin = (id: string, callId: string, ...fields: readonly Field[]) =>
  message(id, [4, raw([1, callId], ...fields)]);
const shell = builtin('c1', 'call-1', [2, raw([1, 'ls'])]);

function callsIn(messages: readonly Uint8Array[], tools: readonly string[] = []) {
  const { events, memory } = decodeAnswer([...opening, actions(add('T', ...messages)), finished()], {
    tools,
  });
  expect(events.at(-1)).toEqual({ type: 'finish', reason: 'tool-calls' });
  const calls = events.flatMap((event) => (event.type === 'tool-call-start' ? [[event.id, event.name]] : []));
  const given = events.flatMap((event) => (event.type === 'tool-call-delta' ? [event.arguments] : []));
  return { calls, given, memory };
}

it.each<[string, Uint8Array, string, string]>([
  ['a tool that was not offered', mcpCall('c1', 'call-1', 'rm_rf', { path: '/' }), 'rm_rf', '{"path":"/"}'],
  ['a shell command', shell, 'run_shell_command', '{}'],
  ['a search', builtin('c1', 'call-1', [9, raw([1, 'x'])]), 'grep', '{}'],
  ['a tool that came later', builtin('c1', 'call-1', [36, raw()]), 'wait_for_events', '{}'],
  ['one beside a field of another kind', builtin('c1', 'call-1', [60, 5], [10, raw()]), 'file_glob', '{}'],
  ['one whose name is unknown', builtin('c1', 'call-1', [77, raw()]), 'builtin_tool_77', '{}'],
  [
    'a resource',
    builtin('c1', 'call-1', [11, raw([1, 'file:x'], [2, 's'])]),
    'read_mcp_resource',
    '{"uri":"file:x","server_id":"s"}',
  ],
])('a call of %s is passed on to the client', (_name, call, name, given) => {
  expect(callsIn([call])).toMatchObject({ calls: [['call-1', name]], given: [given] });
});

it('does not take the name of a tool the client has', () => {
  expect(callsIn([shell], ['run_shell_command']).calls).toEqual([['call-1', 'builtin_run_shell_command']]);
});

it('a call that names no tool at all is passed over', () => {
  const { events } = decodeAnswer([
    ...opening,
    actions(add('T', output('m1', 'Hello'), builtin('c1', 'call-1'))),
    finished(),
  ]);
  expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
});

function goOn(memory: Uint8Array | undefined, ...newMessages: Parameters<typeof user | typeof toolResult>[]) {
  const messages = newMessages.map(([first, text]) =>
    text === undefined ? user(first) : toolResult(first, text, true),
  );
  const { request } = createWarpOutbound().open({
    request: turnRequest({ tools: [weather] }),
    remembered: { memory: memory ?? new Uint8Array(), newMessages: messages },
  });
  const body = readRaw(request.body);
  const inputs = body.at(2, 6).all(1);
  return {
    conversation: body.at(4).numbers.length === 0 ? undefined : body.at(4, 1).text,
    messages: body.at(1).all(1)[0]?.all(5).length ?? 0,
    results: inputs.filter(({ numbers }) => numbers[0] === 2).map((input) => input.at(2, 1).text),
    query: inputs.find(({ numbers }) => numbers[0] === 1)?.at(1, 1).text,
  };
}

it('the result for a tool that was not offered goes back as a result, on the remembered conversation', () => {
  const { memory } = callsIn([mcpCall('c1', 'call-1', 'rm_rf')]);
  const sent = goOn(memory, ['call-1', 'no such tool']);
  expect(sent).toEqual({
    conversation: 'conversation-1',
    messages: 2,
    results: ['call-1'],
    query: undefined,
  });
});

it('the result for a built-in tool goes back in words, as JSON, on the remembered conversation', () => {
  const { memory } = callsIn([shell]);
  const sent = goOn(memory, ['call-1', 'no such tool\n{"role":"user"}']);
  expect(sent).toMatchObject({ conversation: 'conversation-1', messages: 2, results: [] });
  const record = {
    role: 'tool',
    tool_call_id: 'call-1',
    name: 'run_shell_command',
    is_error: true,
    content: 'no such tool\n{"role":"user"}',
  };
  expect(sent.query?.split('\n')).toContain(JSON.stringify(record));
  expect(sent.query).toContain('Continue with the tools that are available.');
});

it('results of both kinds and a text go together', () => {
  const { memory } = callsIn([shell, mcpCall('c2', 'call-2', 'get_weather')], ['get_weather']);
  const sent = goOn(memory, ['call-1', 'no such tool'], ['call-2', 'sunny'], ['And now?']);
  expect(sent.results).toEqual(['call-2']);
  expect(sent.query).toMatch(/"call-1".*\n\nAnd now\?$/s);
});

it('the conversation goes on after that, and forgets nothing', () => {
  const first = callsIn([shell]);
  const second = decodeAnswer(
    [init(), actions(add('T', userQuery('u2', 'no'), output('m2', 'Then I will not.'))), finished()],
    { memory: first.memory },
  );
  expect(second.events.slice(1)).toEqual([
    { type: 'text-delta', text: 'Then I will not.' },
    { type: 'finish', reason: 'stop' },
  ]);
  expect(goOn(second.memory, ['More'])).toEqual({
    conversation: 'conversation-1',
    messages: 4,
    results: [],
    query: 'More',
  });
});

it('a call that got a result meanwhile, or has no id, is no open one', () => {
  const { memory } = decodeAnswer([
    ...opening,
    actions(add('T', shell, callResult('r1', 'call-1'), builtin('c3', '', [2, raw()]))),
    finished(),
  ]);
  expect(decodeMemory(memory ?? new Uint8Array())?.tasks[0]?.messages).toHaveLength(4);
  // No remembered call matches the result, so the full history is sent again.
  expect(goOn(memory, ['call-1', 'late'])).toMatchObject({ conversation: undefined, messages: 0 });
});
