import { expect, it } from 'vitest';
import type { Message, TurnRequest } from '../../core/turn.ts';
import { encodeRequest } from './encode-request.ts';

const call = (id: string, args = '{"a":1}') =>
  ({ role: 'assistant', parts: [{ type: 'tool-call', id, name: 'f', arguments: args }] }) as const;
const result = (callId: string, text: string) =>
  ({ role: 'tool', parts: [{ type: 'tool-result', callId, text, isError: false }] }) as const;
const user = (text: string) => ({ role: 'user', parts: [{ type: 'text', text }] }) as const;

function sent(messages: readonly Message[]): Record<string, unknown>[] {
  const request: TurnRequest = {
    model: 'm',
    messages,
    tools: [],
    toolChoice: { type: 'auto' },
    parallelToolCalls: true,
    sampling: {},
    limits: {},
    responseFormat: { type: 'text' },
    reasoning: {},
  };
  return JSON.parse(encodeRequest(request, { maxTokensField: 'max_tokens' })).messages;
}
const shape = (messages: readonly Message[]) =>
  sent(messages).map(({ role, content, tool_call_id: id = '' }) => `${role} ${id || content}`.trim());

it('puts the result of a call right behind it', () => {
  expect(shape([user('q'), call('a'), user('wait'), result('a', 'A'), user('go on')])).toEqual([
    'user q',
    'assistant null',
    'tool a',
    'user wait',
    'user go on',
  ]);
  expect(shape([call('a'), call('b'), result('b', 'B'), result('a', 'A')])).toEqual([
    'assistant null',
    'tool a',
    'assistant null',
    'tool b',
  ]);
});

it('tells calls apart whose ids come again', () => {
  const messages = sent([call('a'), result('a', 'first'), call('a'), user('wait'), result('a', 'second')]);
  expect(messages.map(({ content }) => content)).toEqual([null, 'first', null, 'second', 'wait']);
});

it('a call without arguments has an empty object', () => {
  expect(sent([call('a', ''), result('a', 'A')])[0]).toMatchObject({
    tool_calls: [{ id: 'a', function: { name: 'f', arguments: '{}' } }],
  });
});
