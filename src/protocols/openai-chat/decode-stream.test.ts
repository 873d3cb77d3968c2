import { expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { ChatDecoder } from './decode-stream.ts';

const data = (value: unknown) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;
const delta = (given: object, finish: string | null = null) =>
  data({ id: 'up', choices: [{ index: 0, delta: given, finish_reason: finish }] });

function decode(text: string, pieceBytes = 5): TurnEvent[] {
  const decoder = new ChatDecoder('m');
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
      {
        type: 'reasoning-proof',
        proof: { protocol: 'openai-chat', data: '{"model":"m","reasoning_content":"hm"}' },
      },
      { type: 'text-delta', text: 'Grüße 🎈' },
      { type: 'usage', usage: { inputTokens: 3, outputTokens: 2 } },
      { type: 'finish', reason: 'length', upstreamReason: 'length' },
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
    { type: 'finish', reason: 'tool-calls', upstreamReason: 'tool_calls' },
  ]);
});

it('ends a call when another begins, once its arguments are whole', () => {
  const first = (given: string) =>
    delta(call({ index: 0, id: 'a', function: { name: 'f', arguments: '' } })) +
    delta(call({ index: 0, function: { arguments: given } }));
  const rest =
    delta(call({ index: 1, id: 'b', function: { name: 'g', arguments: '{}' } })) +
    delta({}, 'tool_calls') +
    data('[DONE]');
  const order = (given: string) =>
    decode(first(given) + rest).flatMap((event) =>
      event.type === 'tool-call-start' || event.type === 'tool-call-end'
        ? [`${event.type.slice(10)} ${event.index}`]
        : [],
    );
  expect(order('{"x":{}}')).toEqual(['start 0', 'end 0', 'start 1', 'end 1']);
  // It may go on behind the other's pieces.
  for (const given of ['', '{"x":{}', '{"x":"}']) {
    expect(order(given)).toEqual(['start 0', 'start 1', 'end 0', 'end 1']);
  }
});

it('adds nothing to a call that has ended, and ends an answer that would', () => {
  const late = (given: string) =>
    decode(
      delta(call({ index: 0, id: 'a', function: { name: 'f', arguments: '{}' } })) +
        delta(call({ index: 1, id: 'b', function: { name: 'g', arguments: '{}' } })) +
        delta(call({ index: 0, function: { arguments: given } })) +
        delta({}, 'tool_calls') +
        data('[DONE]'),
    );
  const blank = late('\n');
  expect(blank.filter(({ type }) => type === 'tool-call-delta')).toHaveLength(2);
  expect(blank.at(-1)).toMatchObject({ type: 'finish', reason: 'tool-calls' });
  expect(late('{"a":1}').at(-1)).toMatchObject({ type: 'error', error: { code: 'upstream_protocol' } });
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
  expect(events.at(-1)).toMatchObject({ type: 'finish', reason: 'tool-calls' });
});

it.each([
  ['nothing', '', 'upstream_protocol'],
  ['a start alone', delta({ content: 'x' }), 'upstream_protocol'],
  ['an end mark alone', data('[DONE]'), 'upstream_protocol'],
  ['an error', data({ error: { message: 'no', code: 'rate_limit_exceeded' } }), 'upstream_rate_limited'],
  ['an error by its status', data({ error: { message: 'no', code: 529 } }), 'model_unavailable'],
  [
    'an error that is the chunk itself',
    data({ object: 'error', message: 'died', code: 500 }),
    'upstream_unavailable',
  ],
  ['an end mark without a finish reason', delta({ content: 'x' }) + data('[DONE]'), 'upstream_protocol'],
  [
    'half a call before the end mark',
    delta(call({ index: 0, id: 'a', function: { name: 'f', arguments: '{"x":' } })) + data('[DONE]'),
    'upstream_protocol',
  ],
  [
    'a call without a name',
    delta(call({ index: 0, id: 'a', function: { arguments: '{}' } }), 'tool_calls') + data('[DONE]'),
    'upstream_protocol',
  ],
  ...['error', 'insufficient_system_resource', 'abort', 'malformed_function_call'].map(
    (reason): [string, string, string] => [
      `the finish reason ${reason}`,
      delta({ content: 'x' }) + delta({}, reason) + data('[DONE]'),
      'upstream_unavailable',
    ],
  ),
])('%s is an error, and the only end', (_name, text, code) => {
  const events = decode(text);
  expect(events.filter(({ type }) => type === 'finish')).toEqual([]);
  expect(events.at(-1)).toMatchObject({ type: 'error', error: { code } });
  expect(events.filter(({ type }) => type === 'error')).toHaveLength(1);
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

const startsOf = (text: string) =>
  decode(text).flatMap((event) => {
    if (event.type === 'tool-call-start') return [`${event.index} ${event.id} ${event.name}`];
    return event.type === 'tool-call-delta' ? [`${event.index} ${event.arguments}`] : [];
  });
const calls = (...fragments: object[]) =>
  fragments.map((one) => delta(call(one))).join('') + delta({}, 'tool_calls') + data('[DONE]');

it('keeps calls apart that all have the same index', () => {
  const text = calls(
    { index: 0, id: 'a', function: { name: 'f', arguments: '{"x":' } },
    { index: 0, function: { arguments: '1}' } },
    { index: 0, id: 'b', function: { name: 'f', arguments: '{"x":2}' } },
  );
  expect(startsOf(text)).toEqual(['0 a f', '0 {"x":', '0 1}', '1 b f', '1 {"x":2}']);
  const repeated = calls(
    { index: 0, id: 'a', function: { name: 'f', arguments: '{' } },
    { index: 0, id: 'a', function: { name: 'f', arguments: '}' } },
  );
  expect(startsOf(repeated)).toEqual(['0 a f', '0 {', '0 }']);
});

it("keeps a call's id and arguments that come before its name", () => {
  const text = calls(
    { index: 0, id: 'a', function: {} },
    { index: 0, function: { arguments: '{' } },
    { index: 0, function: { name: 'f', arguments: '}' } },
  );
  expect(startsOf(text)).toEqual(['0 a f', '0 {}']);
});

it('gives a call another id where two have the same', () => {
  const text = calls(
    { index: 0, id: 'a', function: { name: 'f' } },
    { index: 1, id: 'a', function: { name: 'g' } },
  );
  const [first, second] = startsOf(text);
  expect(first).toBe('0 a f');
  expect(second).toMatch(/^1 call_\w+ g$/);
});

it('passes a call of a tool on that was not offered: the client answers it', () => {
  expect(startsOf(calls({ index: 0, id: 'a', function: { name: 'made_up', arguments: '{}' } }))).toEqual([
    '0 a made_up',
    '0 {}',
  ]);
});

it('reads content in parts, and the words of other vendors for the limit', () => {
  const text =
    delta({ content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }] }) +
    delta({
      content: [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ],
    }) +
    delta({}, 'model_length') +
    data('[DONE]');
  expect(decode(text).slice(1)).toEqual([
    { type: 'reasoning-delta', text: 'hm' },
    { type: 'text-delta', text: 'ab' },
    { type: 'finish', reason: 'length', upstreamReason: 'model_length' },
  ]);
});

it("takes a guardrail's word for a filter's, and blanks for no arguments", () => {
  expect(decode(delta({ content: 'x' }, 'guardrail_intervened') + data('[DONE]')).at(-1)).toMatchObject({
    reason: 'content-filter',
  });
  const call = { index: 0, id: 'a', function: { name: 'f', arguments: ' ' } };
  const events = decode(delta({ tool_calls: [call] }, 'tool_calls') + data('[DONE]'));
  const pieces = events.map((event) => (event.type === 'tool-call-delta' ? event.arguments : ''));
  expect(JSON.parse(pieces.join(''))).toEqual({});
});

it('an answer said to call that has no call is a plain one', () => {
  expect(decode(delta({ content: 'x' }, 'tool_calls') + data('[DONE]')).at(-1)).toEqual({
    type: 'finish',
    reason: 'stop',
    upstreamReason: 'tool_calls',
  });
});

it.each([
  ['tool_calls', '', '{}'],
  ['stop', null, '{}'],
  ['length', '', ''],
])('a call that ends with %s and the arguments %j has the arguments "%s"', (finish, given, expected) => {
  const start = { index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: given } };
  const events = decode([delta({ tool_calls: [start] }), delta({}, finish), 'data: [DONE]\n\n'].join(''));
  expect(events.filter(({ type }) => type.startsWith('tool-call'))).toEqual([
    { type: 'tool-call-start', index: 0, id: 'a', name: 'f' },
    ...(expected === '' ? [] : [{ type: 'tool-call-delta', index: 0, arguments: expected }]),
    { type: 'tool-call-end', index: 0 },
  ]);
});

it('proves reasoning between pieces of text a few times, and all of it before a call and at the end', () => {
  const mixed = delta({ reasoning_content: 'hm ', content: 'so ' }).repeat(1_000);
  const called = delta(call({ index: 0, id: 'a', function: { name: 'f', arguments: '{}' } }));
  const proofsOf = (rest: string) =>
    decode(mixed + rest, 10_000).flatMap((event) =>
      event.type === 'reasoning-proof' ? [JSON.parse(event.proof.data).reasoning_content] : [],
    );
  for (const rest of [called + delta({}, 'tool_calls'), delta({}, 'stop')]) {
    const proofs = proofsOf(rest + data('[DONE]'));
    expect(proofs.length).toBeLessThan(20);
    expect(proofs.at(-1)).toBe('hm '.repeat(1_000));
  }
});

it.each([0, 2])(
  'takes an error that is plain JSON, and no event, for what it says (indented by %i)',
  (indent) => {
    const error = JSON.stringify({ error: { message: 'Slow.', type: 'rate_limit_error' } }, null, indent);
    const codes = ['', '\n\n'].map((end) => {
      const last = decode(`: hello\n\n${error}${end}`).at(-1);
      return last?.type === 'error' ? last.error.code : last;
    });
    expect(codes).toEqual(['upstream_rate_limited', 'upstream_rate_limited']);
  },
);

it('takes plain JSON that is no error for no end', () => {
  const whole = { choices: [{ message: { content: 'a' }, finish_reason: 'stop' }] };
  const last = decode(JSON.stringify(whole)).at(-1);
  expect(last?.type === 'error' && last.error.code).toBe('upstream_protocol');
});
