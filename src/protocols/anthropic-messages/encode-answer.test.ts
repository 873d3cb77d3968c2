import type Anthropic from '@anthropic-ai/sdk';
import { expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import { encodeMessagesAnswer, encodeMessagesError } from './encode-answer.ts';

const identity = { id: 'msg_1', created: 1, model: 'm', now: () => 0 };
const usage = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, reasoningTokens: 2 };
const answer: CollectedTurn = { text: 'Hi', reasoning: 'hm', toolCalls: [], usage, finishReason: 'stop' };

function encode(more: Partial<CollectedTurn> = {}, showsThinking = true): Anthropic.Message {
  const options = {
    includeUsage: true,
    showsThinking,
    signsThinking: showsThinking,
    estimatedInputTokens: 0,
  };
  return JSON.parse(encodeMessagesAnswer(identity, { ...answer, ...more }, options)) as Anthropic.Message;
}

it('has every field that clients look for', () => {
  expect(encode()).toEqual({
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'm',
    content: [
      { type: 'thinking', thinking: 'hm', signature: expect.stringMatching(/^[A-Za-z0-9+/]+=*$/) },
      { type: 'text', text: 'Hi' },
    ],
    stop_reason: 'end_turn',
    stop_sequence: null,
    stop_details: null,
    container: null,
    usage: {
      input_tokens: 6,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 4,
      output_tokens: 5,
      output_tokens_details: { thinking_tokens: 2 },
      server_tool_use: null,
    },
  });
});

it('counts what was read from a cache and written to one apart from the other input', () => {
  const usage = { inputTokens: 100, outputTokens: 5, cachedInputTokens: 60, cacheWriteTokens: 30 };
  expect(encode({ usage }).usage).toMatchObject({
    input_tokens: 10,
    cache_read_input_tokens: 60,
    cache_creation_input_tokens: 30,
  });
});

it('shows no thinking that nobody asked for', () => {
  expect(encode({}, false).content.map(({ type }) => type)).toEqual(['text']);
});

it('has the input of a call as an object, whatever the model wrote', () => {
  const call = (text: string) =>
    encode({ text: '', reasoning: '', toolCalls: [{ id: 'a', name: 'read', arguments: text }] }).content[0];
  expect(call('{"x":1}')).toEqual({ type: 'tool_use', id: 'a', name: 'read', input: { x: 1 } });
  expect(call('')).toMatchObject({ input: {} });
  expect(call('[1]')).toMatchObject({ input: [1] });
  expect(call('{"x":')).toMatchObject({ input: { invalid_json: '{"x":' } });
});

it('says of a refusal that it is one', () => {
  expect(encode({ finishReason: 'content-filter' })).toMatchObject({
    stop_reason: 'refusal',
    stop_details: { type: 'refusal' },
  });
});

it('has errors in the dialect’s own form, with the request’s id', () => {
  const error = new AppError('upstream_rate_limited', 'Slow down.', { details: { error_code: 'x' } });
  expect(JSON.parse(encodeMessagesError(error, 'req_1'))).toEqual({
    type: 'error',
    error: { type: 'rate_limit_error', message: 'Slow down.', details: { error_code: 'x' } },
    request_id: 'req_1',
  });
});
