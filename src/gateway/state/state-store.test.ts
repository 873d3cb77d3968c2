import { expect, it } from 'vitest';
import { sealingOf } from './state-store.ts';

const secret = 'conversation:what only its client knows';
const value = Buffer.from('the words of a conversation');

it('gives back what was sealed to a caller that knows the secret', () => {
  for (const given of [value, Buffer.alloc(0), Buffer.alloc(300_000, 5)]) {
    const sealed = sealingOf(secret).seal(given);
    expect(sealingOf(secret).unseal(sealed).equals(given)).toBe(true);
  }
});

it('lets neither place nor bytes tell the secret or a word, and seals nothing twice alike', () => {
  const [one, other] = [sealingOf(secret), sealingOf(secret)];
  expect(one.place).toBe(other.place);
  expect(one.place).not.toContain('conversation');
  const sealed = one.seal(value);
  expect(sealed.includes('conversation')).toBe(false);
  expect(sealed).not.toEqual(other.seal(value));
});

it('has another place for every other secret, the name of a place included', () => {
  const { place } = sealingOf(secret);
  for (const guess of [`${secret} `, 'conversation:', place]) expect(sealingOf(guess).place).not.toBe(place);
});

it('refuses bytes that were changed, moved or never sealed', () => {
  const { seal, unseal } = sealingOf(secret);
  const changed = seal(value);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  const moved = sealingOf('other').seal(value);
  for (const forged of [changed, moved, new Uint8Array(3), new Uint8Array(100)])
    expect(() => unseal(forged)).toThrow();
});
