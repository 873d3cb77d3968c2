import fc from 'fast-check';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { decodeMessagesRequest } from './anthropic-messages/decode-request.ts';
import { decodeChatRequest } from './openai-chat/decode-request.ts';
import { plain, plainBodies } from './shared/request.ts';

const values = [
  ...[
    undefined,
    null,
    '',
    'text',
    'x'.repeat(257),
    true,
    false,
    {},
    [],
    [{ role: 'user', content: 'Hello' }],
  ],
  ...[
    -1,
    -0,
    0,
    0.5,
    1,
    1.5,
    2,
    2.5,
    4_096,
    Number.MAX_SAFE_INTEGER + 1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ],
];
const value = fc.constantFrom(...values);
const members = [
  'model',
  'messages',
  'system',
  'stream',
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'extra',
];
const asked = { model: 'm', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 1 };
/** A sound one with other values for some members. */
const body = fc
  .dictionary(fc.constantFrom(...members), value, { maxKeys: 2, noNullPrototype: true })
  .map((changed) => ({ ...asked, ...changed }));

function outcome(decode: (body: unknown) => unknown, given: object): string {
  try {
    return JSON.stringify(decode(given));
  } catch (error) {
    return String(error);
  }
}

it.each([
  ['Chat Completions', decodeChatRequest],
  ['Messages', decodeMessagesRequest],
])('a plain body in %s is read as its schema reads it', (_dialect, decode) => {
  fc.assert(
    fc.property(body, (given) => {
      // With a member that asks for nothing, and that is not seen at a glance.
      expect(outcome(decode, given)).toBe(outcome(decode, { ...given, tools: null }));
    }),
    { numRuns: 1_000 },
  );
});

it('leaves to the schema what cannot be seen at a glance', () => {
  const schema = z.looseObject({ model: z.string().min(1), list: z.array(z.string()).nullish() });
  const isPlain = plainBodies(schema, { model: plain.modelName });
  expect(isPlain({ model: 'm', other: [1] })).toBe(true);
  expect(isPlain({ model: '' })).toBe(false);
  expect(isPlain({ model: 'm', list: ['a'] })).toBe(false);
  expect(isPlain({ other: 1 })).toBe(false);
  expect(isPlain(JSON.parse('{"model":"m","__proto__":{}}'))).toBe(false);
});
