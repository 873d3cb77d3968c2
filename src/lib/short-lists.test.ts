import { expect, it } from 'vitest';
import { placed } from './short-lists.ts';

it('puts an item behind the others, or in its place', () => {
  const one = placed<string>([], 'a');
  expect(one).toEqual(['a']);
  const two = placed(one, 'b');
  expect(two).toEqual(['a', 'b']);
  expect(placed(two, 'c', 0)).toEqual(['c', 'b']);
  expect(placed<string>([], 'b', 1)[1]).toBe('b');
});

it('leaves a list that others may hold as it is, but for the item, once it has one', () => {
  const one = placed<string>([], 'a');
  expect(placed(one, 'b')).toBe(one);
});
