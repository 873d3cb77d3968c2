import { expect, it } from 'vitest';
import { BoundedPattern } from './bounded-pattern.ts';

it('a pattern that would try every way through a text gives up, and goes on with the next', () => {
  const pattern = new BoundedPattern('(a+)+!', '[x]');
  expect(pattern.replace(`${'a'.repeat(100)}?`)).toBeUndefined();
  expect(pattern.replace('so aa! and a!')).toBe('so [x] and [x]');
});
