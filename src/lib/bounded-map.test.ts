import { expect, it } from 'vitest';
import { createBoundedMap } from './bounded-map.ts';

it('lets go of what was not read or written for longest', () => {
  const map = createBoundedMap<string, number>(2);
  map.set('a', 1);
  map.set('b', 2);
  map.get('a');
  map.set('c', 3);
  expect([...map]).toEqual([
    ['a', 1],
    ['c', 3],
  ]);
});

it('counts values by their size, also when one is replaced or taken', () => {
  const map = createBoundedMap<string, string>(10, (value) => value.length);
  map.set('a', '12345');
  map.set('a', '123');
  map.set('b', '1234567');
  expect([map.count, map.size]).toEqual([2, 10]);
  map.set('c', '12');
  expect([...map].map(([key]) => key)).toEqual(['b', 'c']);
  expect(map.take('b')).toBe('1234567');
  expect([map.count, map.size]).toEqual([1, 2]);
});

it('keeps nothing that is too large, and no older value in its place', () => {
  const map = createBoundedMap<string, string>(4, (value) => value.length);
  map.set('a', '1');
  map.set('b', '2');
  map.set('a', '12345');
  expect([...map]).toEqual([['b', '2']]);
});
