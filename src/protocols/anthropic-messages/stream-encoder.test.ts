import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { ReasoningProof, TurnEvent } from '../../core/turn.ts';
import { decodeMessages } from './decode-message.ts';
import { createMessagesStreamEncoder } from './encode-answer.ts';
import { proofIn } from './thinking-proof.ts';

const identity = { id: 'msg_1', created: 1, model: 'm', now: () => 0 };

interface Sent {
  readonly type: string;
  readonly index?: number;
  readonly delta?: Record<string, unknown>;
  readonly content_block?: Record<string, unknown>;
}

function encode(events: readonly TurnEvent[], showsThinking = true): Sent[] {
  const encoder = createMessagesStreamEncoder(identity, {
    includeUsage: true,
    showsThinking,
    signsThinking: showsThinking,
    estimatedInputTokens: 3,
  });
  return events
    .map((event) => encoder.encode([event]))
    .join('')
    .split('\n\n')
    .filter((block) => block !== '')
    .map((block) => {
      const [event, data] = block.split('\n');
      const sent = JSON.parse(data?.replace('data: ', '') ?? '') as Sent;
      expect(event).toBe(`event: ${sent.type}`);
      return sent;
    });
}

it('puts thinking, text and calls into blocks that follow one another', () => {
  const sent = encode([
    { type: 'start' },
    { type: 'reasoning-delta', text: 'hm' },
    { type: 'text-delta', text: 'a' },
    { type: 'text-delta', text: 'b' },
    { type: 'tool-call-start', index: 0, id: 'call_1', name: 'read' },
    { type: 'tool-call-delta', index: 0, arguments: '{"a":' },
    { type: 'tool-call-delta', index: 0, arguments: '1}' },
    { type: 'tool-call-end', index: 0 },
    { type: 'usage', usage: { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4 } },
    { type: 'finish', reason: 'tool-calls' },
  ]);
  expect(sent.map(({ type, index }) => (index === undefined ? type : `${type} ${index}`))).toEqual([
    'message_start',
    'content_block_start 0',
    'content_block_delta 0',
    'content_block_delta 0',
    'content_block_stop 0',
    'content_block_start 1',
    'content_block_delta 1',
    'content_block_delta 1',
    'content_block_stop 1',
    'content_block_start 2',
    'content_block_delta 2',
    'content_block_delta 2',
    'content_block_stop 2',
    'message_delta',
    'message_stop',
  ]);
  // Clients send thinking back only when it is signed.
  expect(sent[3]?.delta).toEqual({ type: 'signature_delta', signature: expect.stringMatching(/.+/) });
  expect(sent[9]?.content_block).toEqual({ type: 'tool_use', id: 'call_1', name: 'read', input: {} });
  expect(sent.at(-2)).toMatchObject({
    delta: { stop_reason: 'tool_use', stop_sequence: null },
    usage: { input_tokens: 6, cache_read_input_tokens: 4, output_tokens: 5 },
  });
});

it('lets the pieces of a call wait while another call is open', () => {
  const sent = encode([
    { type: 'tool-call-start', index: 0, id: 'a', name: 'one' },
    { type: 'tool-call-start', index: 1, id: 'b', name: 'two' },
    { type: 'tool-call-delta', index: 1, arguments: '{"x":' },
    { type: 'tool-call-delta', index: 0, arguments: '{}' },
    { type: 'tool-call-end', index: 0 },
    { type: 'tool-call-delta', index: 1, arguments: '2}' },
    { type: 'tool-call-end', index: 1 },
    { type: 'finish', reason: 'tool-calls' },
  ]);
  const blocks = sent
    .filter(({ type }) => type.startsWith('content_block'))
    .map(
      ({ type, index, delta }) => `${index} ${delta?.['partial_json'] ?? type.replace('content_block_', '')}`,
    );
  expect(blocks).toEqual(['0 start', '0 {}', '0 stop', '1 start', '1 {"x":', '1 2}', '1 stop']);
});

it('keeps a call whole although text comes between its pieces, and every call of an answer that was cut', () => {
  const call = (index: number): TurnEvent => ({
    type: 'tool-call-start',
    index,
    id: `id-${index}`,
    name: 'f',
  });
  const sent = encode([
    call(0),
    { type: 'tool-call-delta', index: 0, arguments: '{"a"' },
    { type: 'text-delta', text: 'Mean' },
    { type: 'text-delta', text: 'while' },
    call(1),
    { type: 'tool-call-delta', index: 0, arguments: ':1}' },
    { type: 'tool-call-end', index: 0 },
    call(2),
    { type: 'finish', reason: 'length' },
  ]);
  expect(sent.flatMap(({ delta }) => delta?.['partial_json'] ?? delta?.['text'] ?? [])).toEqual([
    '{"a"',
    ':1}',
    'Mean',
    'while',
  ]);
  const blocks = sent.filter(({ type }) => type === 'content_block_start');
  expect(blocks.map(({ content_block }) => content_block?.['id'] ?? content_block?.['type'])).toEqual([
    'id-0',
    'text',
    'id-1',
    'id-2',
  ]);
});

it('does not show thinking that nobody asked for', () => {
  const sent = encode(
    [
      { type: 'reasoning-delta', text: 'hm' },
      { type: 'finish', reason: 'stop' },
    ],
    false,
  );
  expect(sent.map(({ type }) => type)).toEqual(['message_start', 'message_delta', 'message_stop']);
});

it('ends a broken answer with an error and nothing after it', () => {
  const error = new AppError('upstream_protocol', 'It broke.');
  const sent = encode([
    { type: 'text-delta', text: 'a' },
    { type: 'error', error },
  ]);
  expect(sent.map(({ type }) => type)).toEqual([
    'message_start',
    'content_block_start',
    'content_block_delta',
    'error',
  ]);
});

it('keeps alive with a comment first and with pings once the message has begun', () => {
  const encoder = createMessagesStreamEncoder(identity, {
    includeUsage: true,
    showsThinking: false,
    signsThinking: false,
    estimatedInputTokens: 3,
  });
  expect(encoder.keepAlive).toBe(': keep-alive\n\n');
  encoder.encode([{ type: 'text-delta', text: 'a' }]);
  expect(encoder.keepAlive).toBe('event: ping\ndata: {"type":"ping"}\n\n');
});

describe('the first event', () => {
  const usageOf = (events: readonly TurnEvent[]) =>
    (encode(events)[0] as unknown as { message: { usage: unknown } }).message.usage;

  it('tells an estimate of the input where the upstream has told nothing yet', () => {
    expect(usageOf([{ type: 'text-delta', text: 'a' }])).toMatchObject({ input_tokens: 3, output_tokens: 0 });
  });

  it('tells the upstream’s own figures where they are known', () => {
    const usage = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4 };
    expect(
      usageOf([
        { type: 'usage', usage },
        { type: 'text-delta', text: 'a' },
      ]),
    ).toMatchObject({
      input_tokens: 6,
      cache_read_input_tokens: 4,
      output_tokens: 0,
    });
  });
});

it('tells the whole usage in the end, thinking apart', () => {
  const usage = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, reasoningTokens: 2 };
  const sent = encode([
    { type: 'usage', usage },
    { type: 'finish', reason: 'content-filter' },
  ]);
  expect(sent.at(-2)).toMatchObject({
    delta: { stop_reason: 'refusal', stop_details: { type: 'refusal' } },
    usage: {
      input_tokens: 6,
      cache_read_input_tokens: 4,
      output_tokens: 5,
      output_tokens_details: { thinking_tokens: 2 },
    },
  });
});

it('reasoning that is only encrypted comes back with the next request', () => {
  const proof = { protocol: 'openai-chat', data: '[{"type":"reasoning.encrypted","data":"x"}]' };
  const events: readonly TurnEvent[] = [
    { type: 'reasoning-proof', proof },
    { type: 'text-delta', text: 'a' },
    { type: 'finish', reason: 'stop' },
  ];
  const sent = encode(events);
  expect(sent.map(({ type, index }) => (index === undefined ? type : `${type} ${index}`))).toEqual([
    'message_start',
    'content_block_start 0',
    'content_block_delta 0',
    'content_block_stop 0',
    'content_block_start 1',
    'content_block_delta 1',
    'content_block_stop 1',
    'message_delta',
    'message_stop',
  ]);
  const thinking = { ...sent[1]?.content_block, signature: sent[2]?.delta?.['signature'] };
  const { messages } = decodeMessages([
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: [thinking, { type: 'text', text: 'a' }] },
    { role: 'user', content: 'Go on.' },
  ]);
  expect(messages[1]?.parts[0]).toEqual({ type: 'reasoning', text: '', proof });
  expect(encode(events, false)[1]).toMatchObject({ content_block: { type: 'text' } });
});

it('a proof that comes behind its reasoning stands before the call that needs it', () => {
  const proofs = ['one', 'two'].map((data) => ({ protocol: 'gemini', data }));
  const call = (index: number) =>
    [
      { type: 'tool-call-start', index, id: `c${index}`, name: 'f' },
      { type: 'tool-call-end', index },
    ] as const;
  const sent = encode([
    { type: 'reasoning-delta', text: 'hm' },
    { type: 'text-delta', text: 'a' },
    { type: 'reasoning-proof', proof: proofs[0] as ReasoningProof },
    ...call(0),
    { type: 'reasoning-proof', proof: proofs[1] as ReasoningProof },
    ...call(1),
    { type: 'finish', reason: 'tool-calls' },
  ]);
  const begun = sent.flatMap(({ content_block: block }) => (block ? [block['type']] : []));
  expect(begun).toEqual(['thinking', 'text', 'thinking', 'tool_use', 'thinking', 'tool_use']);
  const signatures = sent.flatMap(({ delta }) => (delta?.['signature'] ? [String(delta['signature'])] : []));
  expect(signatures.slice(1).map(proofIn)).toEqual(proofs);
});
