import { expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { createDecoder } from './decode-stream.ts';

const tools = ['f', 'g'].map((name) => ({ name, parameters: {} }));
const data = (value: unknown) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;
const delta = (given: object, finish: string | null = null) =>
  data({ id: 'up', choices: [{ index: 0, delta: given, finish_reason: finish }] });

function decode(text: string, pieceBytes = 5): TurnEvent[] {
  const decoder = createDecoder({ tools });
  const bytes = Buffer.from(text);
  const events: TurnEvent[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    events.push(...decoder.push(bytes.subarray(at, at + pieceBytes)));
  }
  return [...events, ...decoder.end()];
}

it('reads text, reasoning, usage and the end, wherever the bytes are cut', () => {
  const text = [
    delta({ role: 'assistant', content: '' }),
    delta({ reasoning_content: 'hm' }),
    delta({ content: 'Grüße 🎈' }),
    delta({}, 'length'),
    data({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } }),
    data('[DONE]'),
  ].join('');
  for (const pieceBytes of [1, 3, 10_000]) {
    expect(decode(text, pieceBytes)).toEqual([
      { type: 'start', upstreamRequestId: 'up' },
      { type: 'reasoning-delta', text: 'hm' },
      { type: 'text-delta', text: 'Grüße 🎈' },
      { type: 'usage', usage: { inputTokens: 3, outputTokens: 2 } },
      { type: 'finish', reason: 'length' },
    ]);
  }
});

const call = (more: object) => ({ tool_calls: [more] });

it('puts the pieces of calls that are mixed together where they belong', () => {
  const events = decode(
    delta(call({ index: 1, id: 'b', function: { name: 'g', arguments: '' } })) +
      delta(call({ index: 0, id: 'a', function: { name: 'f', arguments: '{' } })) +
      delta(call({ index: 1, function: { arguments: '[]' } })) +
      delta(call({ index: 0, function: { arguments: '}' } })) +
      delta({}, 'tool_calls') +
      data('[DONE]'),
  );
  expect(events.slice(1)).toEqual([
    { type: 'tool-call-start', index: 0, id: 'b', name: 'g' },
    { type: 'tool-call-start', index: 1, id: 'a', name: 'f' },
    { type: 'tool-call-delta', index: 1, arguments: '{' },
    { type: 'tool-call-delta', index: 0, arguments: '[]' },
    { type: 'tool-call-delta', index: 1, arguments: '}' },
    { type: 'tool-call-end', index: 0 },
    { type: 'tool-call-end', index: 1 },
    { type: 'finish', reason: 'tool-calls' },
  ]);
});

it('takes whole calls of servers that give no index and no id, and arguments as an object', () => {
  const events = decode(
    delta(call({ function: { name: 'f', arguments: { a: 1 } } })) +
      delta(call({ function: { name: 'g', arguments: '{}' } }), 'stop'),
  );
  const starts = events.filter((event) => event.type === 'tool-call-start');
  expect(starts.map(({ name }) => name)).toEqual(['f', 'g']);
  expect(new Set(starts.map(({ id }) => id)).size).toBe(2);
  expect(events.filter((event) => event.type === 'tool-call-delta').map((event) => event.arguments)).toEqual([
    '{"a":1}',
    '{}',
  ]);
  expect(events.at(-1)).toEqual({ type: 'finish', reason: 'tool-calls' });
});

it.each([
  ['nothing', '', 'upstream_protocol'],
  ['a start alone', delta({ content: 'x' }), 'upstream_protocol'],
  ['an end mark alone', data('[DONE]'), 'upstream_protocol'],
  ['an error', data({ error: { message: 'no', code: 'rate_limit_exceeded' } }), 'upstream_rate_limited'],
  ['an error by its status', data({ error: { message: 'no', code: 529 } }), 'model_unavailable'],
  [
    'a tool that was not offered',
    delta(call({ index: 0, id: 'x', function: { name: 'h' } })),
    'upstream_protocol',
  ],
])('%s is an error, and the only end', (_name, text, code) => {
  const events = decode(text);
  expect(events.filter(({ type }) => type === 'finish')).toEqual([]);
  expect(events.at(-1)).toMatchObject({ type: 'error', error: { code } });
});

it('passes over a chunk that is no JSON', () => {
  const events = decode(
    delta({ content: 'a' }) + data('{oops') + delta({ content: 'b' }, 'stop') + data('[DONE]'),
  );
  expect(events.map((event) => (event.type === 'text-delta' ? event.text : event.type))).toEqual([
    'start',
    'a',
    'b',
    'finish',
  ]);
});
