import { setImmediate as nextTurn } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import { expect, it } from 'vitest';
import { collectGarbage, largeBytes, leaveGarbage, ownTurn } from './own-turn.ts';

it('runs large pieces of work one a turn of the event loop, in their order', async () => {
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const seen: [number, number][] = [];
  await Promise.all(
    [1, 2, 3, 4, 5].map(async (step) => {
      await ownTurn(largeBytes);
      seen.push([step, turns]);
    }),
  );
  isOver = true;
  expect(seen.map(([step]) => step)).toEqual([1, 2, 3, 4, 5]);
  expect(new Set(seen.map(([, turn]) => turn)).size).toBe(5);
});

it('does not put off small ones', () => {
  expect(ownTurn(largeBytes - 1)).toBeUndefined();
});

it('collects what much large work has left behind, though nothing new is asked of the process', async () => {
  const left = (() => new WeakRef({ large: 'text' }))();
  await nextTurn();
  leaveGarbage(64 * 1024 * 1024);
  leaveGarbage(64 * 1024 * 1024);
  await nextTurn();
  expect(left.deref()).toBeUndefined();
});

it('a last resort gives back what the heap has grown to and does not need', () => {
  let grown: { readonly at: number }[] | undefined = Array.from({ length: 500_000 }, (_, at) => ({ at }));
  const before = getHeapStatistics().total_heap_size;
  expect(grown.length).toBeGreaterThan(0);
  grown = undefined;
  collectGarbage({ flavor: 'last-resort' });
  expect(getHeapStatistics().total_heap_size).toBeLessThan(before - 10 * 1024 * 1024);
});
