import { describe, expect, it } from 'vitest';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { AskedMessage, AskedRequest } from '../../core/turn.ts';
import { BufferedStore } from '../state/buffered-store.ts';
import { createManualClock } from '../testing/manual-clock.ts';
import { RememberedReasoning } from './conversations.ts';

const proof = { protocol: 'p', data: 'signed' };
const call = { type: 'tool-call' as const, id: 'c', name: 'f', arguments: '{"a": 1}' };
const answer = (...parts: object[]): AskedMessage => ({ role: 'assistant', parts: parts as never });
const user: AskedMessage = { role: 'user', parts: [{ type: 'text', text: 'Go.' }] };
const result: AskedMessage = {
  role: 'tool',
  parts: [{ type: 'tool-result', callId: 'c', text: '', isError: false }],
};
const request = (...messages: AskedMessage[]): AskedRequest => ({ ...plainTurn, messages });
const given = { type: 'reasoning', text: '', proof };

function remembering() {
  const reasoning = new RememberedReasoning(
    new BufferedStore({ clock: createManualClock(), maxBytes: 1_000 }),
  );
  reasoning.remember('me', [call], proof);
  return reasoning;
}

describe('a call that came back without what proves its reasoning', () => {
  it('gets it again, however its arguments are written', async () => {
    const compact = { ...call, arguments: '{"a":1}' };
    const completed = await remembering().completed('me', request(user, answer(compact), result));
    expect(completed.messages[1]?.parts).toEqual([given, compact]);
  });

  it.each([
    ['of another client', 'you', call],
    ['of another id', 'me', { ...call, id: 'd' }],
    ['with other arguments', 'me', { ...call, arguments: '{"a":2}' }],
  ])('%s has none', async (_name, client, made) => {
    const asked = request(user, answer(made), result);
    expect((await remembering().completed(client, asked)).messages).toEqual(asked.messages);
  });

  it('is left as it is outside of the tool loop, and where it has one', () => {
    for (const messages of [
      [user, answer(call), result, answer({ type: 'text', text: 'Done.' }), user],
      [user, answer({ ...given, proof: { protocol: 'other', data: 'x' } }, call), result],
    ]) {
      const asked = request(...messages);
      expect(remembering().completed('me', asked)).toBe(asked);
    }
  });

  it('goes without where the store fails', async () => {
    const failing = {
      get: () => Promise.reject(new Error('away')),
      put: () => Promise.reject(new Error('away')),
    };
    const reasoning = new RememberedReasoning(failing);
    reasoning.remember('me', [call], proof);
    const asked = request(user, answer(call), result);
    expect((await reasoning.completed('me', asked)).messages).toEqual(asked.messages);
  });
});
