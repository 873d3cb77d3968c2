import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { leaveGarbage } from './collect-garbage.ts';

it('collects what much large work has left behind, though nothing new is asked of the process', async () => {
  const left = (() => new WeakRef({ large: 'text' }))();
  await nextTurn();
  leaveGarbage(64 * 1024 * 1024);
  leaveGarbage(64 * 1024 * 1024);
  await nextTurn();
  expect(left.deref()).toBeUndefined();
});
