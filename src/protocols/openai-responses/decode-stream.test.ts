import { expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { ResponsesDecoder } from './decode-stream.ts';

const sse = (type: string, fields: object = {}) =>
  `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: 1, ...fields })}\n\n`;
const created = sse('response.created', { response: { id: 'resp_1', status: 'in_progress', output: [] } });
const added = (index: number, item: object) =>
  sse('response.output_item.added', { output_index: index, item });
const done = (index: number, item: object) => sse('response.output_item.done', { output_index: index, item });
const piece = (name: string, index: number, delta: string, content = 0) =>
  sse(`response.${name}.delta`, { output_index: index, content_index: content, delta });
const completed = (more: object = {}) =>
  sse('response.completed', { response: { id: 'resp_1', status: 'completed', output: [], ...more } });
const message = (text: string) => ({ type: 'message', content: [{ type: 'output_text', text }] });
const call = (id: string, args: string) => ({
  type: 'function_call',
  id: `fc_${id}`,
  call_id: id,
  name: 'f',
  arguments: args,
});

function decode(text: string, pieceBytes = 7): TurnEvent[] {
  const decoder = new ResponsesDecoder('m');
  const bytes = Buffer.from(text);
  const events: TurnEvent[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes)
    events.push(...decoder.push(bytes.subarray(at, at + pieceBytes)));
  return [...events, ...decoder.end()];
}

const usage = {
  input_tokens: 30,
  input_tokens_details: { cached_tokens: 20, cache_write_tokens: 4 },
  output_tokens: 9,
  output_tokens_details: { reasoning_tokens: 5 },
  total_tokens: 39,
};

it('reads reasoning, text, usage and the end, wherever the bytes are cut', () => {
  const text = [
    created,
    sse('response.in_progress', { response: { id: 'resp_1' } }),
    added(0, { type: 'reasoning', id: 'rs_1', summary: [] }),
    sse('response.reasoning_summary_part.added', { output_index: 0, summary_index: 0 }),
    piece('reasoning_summary_text', 0, 'First'),
    sse('response.reasoning_summary_part.added', { output_index: 0, summary_index: 1 }),
    piece('reasoning_summary_text', 0, 'then'),
    done(0, { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'gAAA' }),
    added(1, { type: 'message', id: 'msg_1', content: [] }),
    piece('output_text', 1, 'Grüße '),
    'event: response.output_text.delta\ndata: {"type":"response.outp\n\n',
    sse('response.brand_new', { output_index: 1, delta: 'no' }),
    piece('output_text', 1, '🎈'),
    done(1, message('Grüße 🎈')),
    completed({ usage, service_tier: 'default' }),
    'data: [DONE]\n\n',
  ].join('');
  for (const pieceBytes of [1, 3, 10_000]) {
    expect(decode(text, pieceBytes)).toEqual([
      { type: 'start', upstreamRequestId: 'resp_1' },
      { type: 'reasoning-delta', text: 'First' },
      { type: 'reasoning-delta', text: '\n\n' },
      { type: 'reasoning-delta', text: 'then' },
      {
        type: 'reasoning-proof',
        proof: {
          protocol: 'openai-responses',
          data: '[{"item":{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}}]',
        },
      },
      { type: 'text-delta', text: 'Grüße ' },
      { type: 'text-delta', text: '🎈' },
      {
        type: 'usage',
        usage: {
          inputTokens: 30,
          outputTokens: 9,
          cachedInputTokens: 20,
          cacheWriteTokens: 4,
          reasoningTokens: 5,
        },
      },
      { type: 'metadata', metadata: { openai: { service_tier: 'default' } } },
      { type: 'finish', reason: 'stop', upstreamReason: 'completed' },
    ]);
  }
});

it('keeps parallel calls apart, and tells which reasoning led to which', () => {
  const events = decode(
    created +
      done(0, { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'one' }) +
      added(1, call('a', '')) +
      piece('function_call_arguments', 1, '{"x"') +
      done(2, { type: 'reasoning', id: 'rs_2', summary: [], encrypted_content: 'two' }) +
      added(3, call('b', '')) +
      piece('function_call_arguments', 1, ':1}') +
      done(1, call('a', '{"x":1}')) +
      done(3, call('b', '{}')) +
      completed(),
  );
  const [first, second] = events.flatMap((event) =>
    event.type === 'reasoning-proof' ? [JSON.parse(event.proof.data)] : [],
  );
  expect(first).toMatchObject([{ callId: 'a' }]);
  expect(second).toMatchObject([
    { callId: 'a', item: { encrypted_content: 'one' } },
    { callId: 'b', item: { encrypted_content: 'two' } },
  ]);
  expect(events.filter(({ type }) => type.startsWith('tool') || type === 'finish')).toEqual([
    { type: 'tool-call-start', index: 0, id: 'a', name: 'f' },
    { type: 'tool-call-delta', index: 0, arguments: '{"x"' },
    { type: 'tool-call-start', index: 1, id: 'b', name: 'f' },
    { type: 'tool-call-delta', index: 0, arguments: ':1}' },
    { type: 'tool-call-end', index: 0 },
    { type: 'tool-call-delta', index: 1, arguments: '{}' },
    { type: 'tool-call-end', index: 1 },
    { type: 'finish', reason: 'tool-calls', upstreamReason: 'completed' },
  ]);
});

it('takes from a whole item what did not come in pieces, and what only the last event holds', () => {
  const events = decode(
    created +
      piece('output_text', 0, 'Hel') +
      done(0, message('Hello')) +
      completed({ output: [message('Hello'), call('a', '{"x":1}')] }),
  );
  expect(events.slice(1, -1)).toEqual([
    { type: 'text-delta', text: 'Hel' },
    { type: 'text-delta', text: 'lo' },
    { type: 'tool-call-start', index: 0, id: 'a', name: 'f' },
    { type: 'tool-call-delta', index: 0, arguments: '{"x":1}' },
    { type: 'tool-call-end', index: 0 },
  ]);
});

it('hands no call on of which a piece was lost', () => {
  const text =
    created +
    added(0, call('a', '')) +
    piece('function_call_arguments', 0, '{"x":') +
    'data: {"type":"response.function_call_arg\n\n' +
    piece('function_call_arguments', 0, '}');
  for (const end of [done(0, call('a', '{"x":1}')) + completed(), completed()]) {
    expect(decode(text + end).at(-1)).toMatchObject({ type: 'error', error: { code: 'upstream_protocol' } });
  }
});

it('reads refusals, and citations by their place in the whole text', () => {
  const cited = { type: 'url_citation', url: 'https://a.example', title: 'A', start_index: 0, end_index: 3 };
  const events = decode(
    created +
      done(0, message('Look: ')) +
      piece('output_text', 1, 'see') +
      sse('response.output_text.annotation.added', { output_index: 1, annotation: cited }) +
      sse('response.output_text.annotation.added', { output_index: 1, annotation: { type: 'file_path' } }) +
      piece('refusal', 1, 'No.', 1) +
      completed(),
  );
  expect(events.slice(2, -1)).toEqual([
    { type: 'text-delta', text: 'see' },
    { type: 'citation', citation: { url: 'https://a.example', title: 'A', start: 6, end: 9 } },
    { type: 'refusal-delta', text: 'No.' },
  ]);
});

it.each([
  ['max_output_tokens', 'length'],
  ['content_filter', 'content-filter'],
])('calls an answer incomplete for %s %s', (reason, expected) => {
  const end = { response: { status: 'incomplete', incomplete_details: { reason }, usage } };
  const events = decode(created + piece('output_text', 0, 'Hi') + sse('response.incomplete', end));
  expect(events.at(-1)).toEqual({ type: 'finish', reason: expected, upstreamReason: reason });
});

it.each([
  [
    'response.failed',
    { response: { error: { code: 'server_error', message: 'Oh.' } } },
    'upstream_unavailable',
  ],
  ['response.failed', { response: { error: null } }, 'upstream_unavailable'],
  [
    'response.failed',
    { response: { error: { code: 'rate_limit_exceeded', message: 'Slow.' } } },
    'upstream_rate_limited',
  ],
  ['response.failed', { response: { error: { code: 'invalid_prompt', message: 'No.' } } }, 'invalid_request'],
  ['error', { code: 'context_length_exceeded', message: 'Too long.', param: 'input' }, 'context_too_long'],
  ['error', { error: { type: 'insufficient_quota', message: 'None.' } }, 'upstream_quota_exhausted'],
])('takes %s %j for %s', (type, fields, code) => {
  expect(decode(created + sse(type, fields)).at(-1)).toMatchObject({ type: 'error', error: { code } });
});

it('takes nothing but its own last event for the end', () => {
  for (const end of ['', 'data: [DONE]\n\n', done(0, message('Hi'))]) {
    const last = decode(created + piece('output_text', 0, 'Hi') + end).at(-1);
    expect(last).toMatchObject({ type: 'error', error: { code: 'upstream_protocol' } });
  }
  expect(decode(created + completed().trimEnd()).at(-1)).toMatchObject({ type: 'finish' });
});

it('keeps reasoning that is not encrypted for the upstream that wants it back', () => {
  const content = [{ type: 'reasoning_text', text: 'Hm.' }];
  const item = { type: 'reasoning', id: 'rs_1', summary: [], content };
  const events = decode(created + done(0, item) + done(1, call('a', '{}')) + completed());
  const proofs = events.flatMap((event) => (event.type === 'reasoning-proof' ? [event.proof.data] : []));
  expect(proofs.map((data) => JSON.parse(data))).toEqual([[{ item, model: 'm', callId: 'a' }]]);
  const empty = decode(created + done(0, { ...item, content: [] }) + done(1, call('a', '{}')) + completed());
  expect(empty.some(({ type }) => type === 'reasoning-proof')).toBe(false);
});

it.each([
  ['completed', '{}'],
  ['incomplete', ''],
])('a call without arguments that is %s has the arguments "%s"', (status, expected) => {
  const item = { ...call('a', ''), status };
  const end = { response: { status, incomplete_details: { reason: 'max_output_tokens' }, usage } };
  for (const last of [done(0, item), '']) {
    const events = decode(created + added(0, call('a', '')) + last + sse(`response.${status}`, end));
    const given = events.map((event) => (event.type === 'tool-call-delta' ? event.arguments : ''));
    expect([given.join(''), events.filter(({ type }) => type === 'tool-call-end').length]).toEqual([
      expected,
      1,
    ]);
  }
});

it('takes the arguments of a whole call as an object, and makes none up where an answer was cut in one', () => {
  const argumentsOf = (text: string) =>
    decode(created + text).flatMap((event) => (event.type === 'tool-call-delta' ? [event.arguments] : []));
  const item = { ...call('a', ''), arguments: { x: 1 } };
  expect(argumentsOf(done(0, item) + completed())).toEqual(['{"x":1}']);
  const cut = { id: 'r', output: [{ ...call('a', ''), status: 'in_progress' }] };
  expect(argumentsOf(sse('response.incomplete', { response: cut }))).toEqual([]);
});

it('takes text and arguments from the events that end their parts where no piece came before', () => {
  const events = decode(
    [
      created,
      added(0, { type: 'message', content: [] }),
      piece('output_text', 0, 'Hel'),
      sse('response.output_text.done', { output_index: 0, content_index: 0, text: 'Hello' }),
      done(0, { type: 'message', content: [] }),
      sse('response.output_text.done', { output_index: 0, content_index: 0, text: 'Hello' }),
      added(1, call('c1', '')),
      sse('response.function_call_arguments.done', { output_index: 1, arguments: '{"a":1}' }),
      done(1, call('c1', '')),
      added(2, call('c2', '')),
      done(2, call('c2', ' ')),
      completed(),
    ].join(''),
  );
  const said = events.flatMap((event) => (event.type === 'text-delta' ? [event.text] : []));
  const given = events.flatMap((event) => (event.type === 'tool-call-delta' ? [event.arguments] : []));
  expect([said.join(''), given]).toEqual(['Hello', ['{"a":1}', ' ', '{}']]);
});
