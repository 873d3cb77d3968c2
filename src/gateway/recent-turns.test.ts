import { expect, it } from 'vitest';
import { createRecentTurns } from './recent-turns.ts';
import { nothingBefore } from './stored-responses.ts';

const turn = (id: string, bytes: number) => ({ id, continued: { ...nothingBefore, bytes } });

it('knows the last turn of each connection and no earlier one', () => {
  const recent = createRecentTurns(1_000);
  const [one, other] = [{}, {}];
  recent.put(one, turn('a', 100));
  recent.put(one, turn('b', 100));
  recent.put(other, turn('c', 100));
  expect(recent.find(one, 'a')).toBeUndefined();
  expect(recent.find(one, 'b')).toMatchObject({ id: 'b' });
  expect(recent.find(one, 'c')).toBeUndefined();
  recent.forget(one);
  expect(recent.find(one, 'b')).toBeUndefined();
  expect(recent.find(other, 'c')).toMatchObject({ id: 'c' });
});

it('holds no more than its bytes for all connections: the one not used for longest goes first', () => {
  const recent = createRecentTurns(250);
  const [one, two, three] = [{}, {}, {}];
  recent.put(one, turn('a', 100));
  recent.put(two, turn('b', 100));
  recent.find(one, 'a');
  recent.put(three, turn('c', 100));
  expect(recent.find(two, 'b')).toBeUndefined();
  expect(recent.find(one, 'a')).toBeDefined();
  expect(recent.find(three, 'c')).toBeDefined();
});

it('does not let one that is too large push all others out', () => {
  const recent = createRecentTurns(250);
  const [one, two] = [{}, {}];
  recent.put(one, turn('a', 100));
  recent.put(two, turn('b', 300));
  expect(recent.find(one, 'a')).toBeDefined();
  expect(recent.find(two, 'b')).toBeUndefined();
});
