import { expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { MessagesDecoder } from './decode-stream.ts';
import { thinkingProof } from './thinking-proof.ts';

const sse = (data: unknown, type = (data as { type: string }).type) =>
  `event: ${type}\ndata: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
const begin = sse({
  type: 'message_start',
  message: {
    id: 'msg_up',
    type: 'message',
    role: 'assistant',
    content: [],
    model: 'claude-opus-4-5',
    usage: { input_tokens: 5, cache_creation_input_tokens: 2, cache_read_input_tokens: 10, output_tokens: 1 },
  },
});
const start = (index: number, block: object) =>
  sse({ type: 'content_block_start', index, content_block: block });
const delta = (index: number, piece: object) => sse({ type: 'content_block_delta', index, delta: piece });
const stop = (index: number) => sse({ type: 'content_block_stop', index });
const end = (stopReason: string, more: object = {}) =>
  sse({
    type: 'message_delta',
    delta: { stop_reason: stopReason, stop_sequence: null, ...more },
    usage: { output_tokens: 9, output_tokens_details: { thinking_tokens: 4 } },
  }) + sse({ type: 'message_stop' });
const text = (index: number, said: string) =>
  start(index, { type: 'text', text: '' }) + delta(index, { type: 'text_delta', text: said }) + stop(index);

function decode(bytes: string, pieceBytes = 7, toolNames: ReadonlyMap<string, string> = new Map()) {
  const decoder = new MessagesDecoder('claude-x', toolNames);
  const buffer = Buffer.from(bytes);
  const events: TurnEvent[] = [];
  for (let at = 0; at < buffer.length; at += pieceBytes) {
    events.push(...decoder.push(buffer.subarray(at, at + pieceBytes)));
  }
  return [...events, ...decoder.end()];
}
const lastOf = (...frames: string[]) => decode([begin, ...frames].join('')).at(-1);

// The order of events of Anthropic's documentation, "Streaming messages", with thinking and tools.
const whole = [
  begin,
  start(0, { type: 'thinking', thinking: '', signature: '' }),
  delta(0, { type: 'thinking_delta', thinking: 'Grüße' }),
  sse({ type: 'ping' }),
  delta(0, { type: 'thinking_delta', thinking: ' 🎈' }),
  delta(0, { type: 'signature_delta', signature: 'sig' }),
  delta(0, { type: 'signature_delta', signature: 'ned' }),
  stop(0),
  start(1, { type: 'redacted_thinking', data: 'sealed' }),
  stop(1),
  sse('{"type":"content_block_delta", oops', 'content_block_delta'),
  sse({ type: 'brand_new', index: 7 }),
  text(2, 'Let me see.'),
  start(3, { type: 'tool_use', id: 'toolu_1', name: 'get_weather', input: {} }),
  delta(3, { type: 'input_json_delta', partial_json: '' }),
  delta(3, { type: 'input_json_delta', partial_json: '{"city":' }),
  delta(3, { type: 'input_json_delta', partial_json: '"Oslo"}' }),
  stop(3),
  start(4, { type: 'tool_use', id: 'toolu_1', name: 'get_time', input: {} }),
  stop(4),
  start(5, { type: 'server_tool_use', id: 's', name: 'web_search', input: {} }),
  delta(5, { type: 'input_json_delta', partial_json: '{"query":"x"}' }),
  stop(5),
  end('tool_use'),
].join('');

it('reads thinking, text, calls, usage and the end, wherever the bytes are cut', () => {
  const thought = { type: 'thinking' as const, thinking: 'Grüße 🎈', signature: 'signed' };
  const sealed = { type: 'redacted_thinking' as const, data: 'sealed' };
  for (const pieceBytes of [1, 3, 10_000]) {
    expect(decode(whole, pieceBytes, new Map([['get_time', 'get.time']]))).toEqual([
      { type: 'start', upstreamRequestId: 'msg_up' },
      {
        type: 'usage',
        usage: { inputTokens: 17, outputTokens: 1, cachedInputTokens: 10, cacheWriteTokens: 2 },
      },
      { type: 'reasoning-delta', text: 'Grüße' },
      { type: 'reasoning-delta', text: ' 🎈' },
      { type: 'reasoning-proof', proof: thinkingProof('claude-x', [thought]) },
      { type: 'reasoning-proof', proof: thinkingProof('claude-x', [thought, sealed]) },
      { type: 'text-delta', text: 'Let me see.' },
      { type: 'tool-call-start', index: 0, id: 'toolu_1', name: 'get_weather' },
      { type: 'tool-call-delta', index: 0, arguments: '{"city":' },
      { type: 'tool-call-delta', index: 0, arguments: '"Oslo"}' },
      { type: 'tool-call-end', index: 0 },
      {
        type: 'tool-call-start',
        index: 1,
        id: expect.stringMatching(/^toolu_[0-9a-f]{32}$/),
        name: 'get.time',
      },
      { type: 'tool-call-delta', index: 1, arguments: '{}' },
      { type: 'tool-call-end', index: 1 },
      {
        type: 'usage',
        usage: {
          inputTokens: 17,
          outputTokens: 9,
          cachedInputTokens: 10,
          cacheWriteTokens: 2,
          reasoningTokens: 4,
        },
      },
      { type: 'finish', reason: 'tool-calls', upstreamReason: 'tool_use' },
    ]);
  }
});

it.each([
  ['end_turn', {}, { reason: 'stop' }],
  ['max_tokens', {}, { reason: 'length' }],
  ['stop_sequence', { stop_sequence: 'END' }, { reason: 'stop', stopSequence: 'END' }],
  ['pause_turn', {}, { reason: 'length' }],
  ['refusal', {}, { reason: 'content-filter' }],
  ['model_context_window_exceeded', {}, { reason: 'length' }],
  ['tool_use', {}, { reason: 'stop' }],
  ['unheard_of', {}, { reason: 'stop' }],
] as const)('an answer that ends with %s', (reason, more, finish) => {
  expect(lastOf(text(0, 'Hi'), end(reason, more))).toEqual({
    type: 'finish',
    upstreamReason: reason,
    ...finish,
  });
});

it('says where its thinking was, unless all of it was in front', () => {
  const thought = (index: number, signature: string) =>
    start(index, { type: 'thinking', thinking: '', signature: '' }) +
    delta(index, { type: 'signature_delta', signature }) +
    stop(index);
  const frames = [thought(0, 'a'), text(1, 'Hm.'), thought(2, 'b'), end('end_turn')];
  const proofs = decode([begin, ...frames].join('')).filter(({ type }) => type === 'reasoning-proof');
  const data = proofs.map((event) => JSON.parse('proof' in event ? event.proof.data : '{}').places);
  expect(data).toEqual([
    undefined,
    [
      [0, 0],
      [3, 0],
    ],
  ]);
});

it('a refusal is shown in the words it is explained with', () => {
  const events = decode(
    begin + end('refusal', { stop_details: { type: 'refusal', category: 'bio', explanation: 'Not this.' } }),
  );
  expect(events).toContainEqual({ type: 'refusal-delta', text: 'Not this.' });
});

it('a call whose input came with its beginning has it, and one that is left open is ended', () => {
  const events = decode(
    begin + start(0, { type: 'tool_use', id: 't', name: 'f', input: { a: 1 } }) + end('end_turn'),
  );
  expect(events.slice(-5)).toMatchObject([
    { type: 'tool-call-start' },
    { type: 'usage' },
    { type: 'tool-call-delta', arguments: '{"a":1}' },
    { type: 'tool-call-end' },
    { type: 'finish', reason: 'tool-calls' },
  ]);
});

it('sources on the web are citations', () => {
  const citation = { type: 'web_search_result_location', url: 'https://x.example', title: 'X' };
  const cited = start(0, { type: 'text', text: 'So' }) + delta(0, { type: 'citations_delta', citation });
  expect(decode(begin + cited + stop(0) + end('end_turn'))).toContainEqual({
    type: 'citation',
    citation: { url: 'https://x.example', title: 'X' },
  });
});

it.each([
  ['without its last event', [text(0, 'Hi')], 'upstream_protocol'],
  [
    'with a reason, but without its last event',
    [text(0, 'Hi'), end('end_turn').split('\n\n')[0]],
    'upstream_protocol',
  ],
  [
    'with an error',
    [text(0, 'Hi'), sse({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } })],
    'model_unavailable',
  ],
  [
    'with an error about the rate',
    [sse({ type: 'error', error: { type: 'rate_limit_error', message: 'Slow down' } })],
    'upstream_rate_limited',
  ],
  ['with an error of no known kind', [sse({ type: 'error' })], 'upstream_unavailable'],
])('a stream %s is no answer', (_name, frames, code) => {
  expect(lastOf(...(frames as string[]))).toMatchObject({ type: 'error', error: { code } });
});

it('what comes behind the end is not read', () => {
  expect(decode(begin + end('end_turn') + text(0, 'more')).at(-1)?.type).toBe('finish');
});
