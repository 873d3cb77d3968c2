import { expect, it } from 'vitest';
import type { Message } from '../../core/turn.ts';
import { resultText, withAllResults } from './calls.ts';

const user: Message = { role: 'user', parts: [{ type: 'text', text: 'Hello' }] };
const calls = (...ids: string[]): Message => ({
  role: 'assistant',
  parts: ids.map((id) => ({ type: 'tool-call', id, name: 'read', arguments: '{}' })),
});
const results = (...ids: string[]): Message => ({
  role: 'tool',
  parts: ids.map((callId) => ({ type: 'tool-result', callId, text: 'x', isError: false })),
});
const shape = (messages: readonly Message[]) =>
  withAllResults(messages).map((message) =>
    message.role === 'tool'
      ? message.parts.map(({ callId, isError }) => `${callId}${isError ? ' missing' : ''}`).join()
      : message.role,
  );

it('leaves a whole history as it is', () => {
  const whole = [user, calls('a', 'b'), results('a'), results('b'), user];
  expect(withAllResults(whole)).toBe(whole);
});

it('adds a missing result behind those that are there', () => {
  expect(shape([user, calls('a', 'b'), results('b'), user])).toEqual([
    'user',
    'assistant',
    'b',
    'a missing',
    'user',
  ]);
});

it('adds one where results end the history and one is missing', () => {
  expect(shape([user, calls('a', 'b'), results('a')])).toEqual(['user', 'assistant', 'a', 'b missing']);
});

it('adds none for calls at the very end, which are the client’s to answer', () => {
  expect(shape([user, calls('a')])).toEqual(['user', 'assistant']);
  expect(shape([user, calls('a'), calls('b')])).toEqual(['user', 'assistant', 'a missing', 'assistant']);
});

it('adds none where the result comes late', () => {
  expect(shape([user, calls('a'), user, results('a'), user])).toEqual([
    'user',
    'assistant',
    'user',
    'a',
    'user',
  ]);
});

it.each([
  ['no such file', 'Error: no such file'],
  ['', 'Error: the call failed.'],
  ['Errors: 0', 'Error: Errors: 0'],
  ['Error: no such file', 'Error: no such file'],
  ["ValueError('no such city')", "ValueError('no such city')"],
  ['<tool_use_error>No such tool.</tool_use_error>', '<tool_use_error>No such tool.</tool_use_error>'],
])('a failed call whose result is %j says %j', (text, said) => {
  expect(resultText({ text, isError: true })).toBe(said);
  expect(resultText({ text, isError: false })).toBe(text);
});

it('a result that is missing is named in its own words', () => {
  const [, , added] = withAllResults([user, calls('a'), user]);
  const [part] = added?.role === 'tool' ? added.parts : [];
  expect(part && resultText(part)).toBe(part?.text);
});
