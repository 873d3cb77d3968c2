import { expect, it } from 'vitest';
import { createOpaque } from './responses-request.ts';

it('what was sealed for a key is read for that key, by any instance, and by no other key', () => {
  const sealed = createOpaque('me').seal('We chose blue.');
  expect(Buffer.from(sealed, 'base64url').toString('latin1')).not.toContain('blue');
  expect(createOpaque('me').open(sealed)).toBe('We chose blue.');
  expect(createOpaque('you').open(sealed)).toBeUndefined();
});

it('the same text is sealed differently each time', () => {
  const { seal } = createOpaque('me');
  expect(seal('a')).not.toBe(seal('a'));
});

it.each(['', 'AAAA', 'gAAAAABotherProvider', 'x'.repeat(200)])(
  'what is none of ours is not read: %s',
  (text) => {
    expect(createOpaque('me').open(text)).toBeUndefined();
  },
);

it('a changed one is not read', () => {
  const bytes = Buffer.from(createOpaque('me').seal('We chose blue.'), 'base64url');
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  expect(createOpaque('me').open(bytes.toString('base64url'))).toBeUndefined();
});
