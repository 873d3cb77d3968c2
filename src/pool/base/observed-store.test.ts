import { expect, it } from 'vitest';
import { DatabaseError } from '../../db/database.ts';
import { openMemoryStore } from '../store/open-store.ts';
import type { Stats } from '../store/store.ts';
import { createTestClock, settled } from '../testing/test-pool.ts';
import { StoreHealth } from './observed-store.ts';

const clock = createTestClock();
const quick = await openMemoryStore(clock.now(), { auditsLeases: true }).stats(clock.now());

/** A store that answers its questions when the test says so. */
function slowStore() {
  const asked: PromiseWithResolvers<Stats>[] = [];
  const store = {
    isReachable: true,
    stats() {
      const question = Promise.withResolvers<Stats>();
      asked.push(question);
      return question.promise;
    },
  };
  const answerAll = () => {
    for (const { resolve } of asked.splice(0)) resolve(quick);
  };
  return { store, answerAll };
}

it('a store that is slow is not away, and what it said last holds', async () => {
  const { store, answerAll } = slowStore();
  const health = new StoreHealth(clock);
  const first = health.look(store);
  answerAll();
  expect(await first).toEqual({ stats: quick });

  for (let round = 0; round < 3; round += 1) {
    const slow = health.look(store);
    clock.advance(3_000);
    expect(await slow).toEqual({ stats: quick });
    answerAll();
    await settled();
  }
});

it('one that has never answered yet is slow as well', async () => {
  const { store } = slowStore();
  const health = new StoreHealth(clock);
  const slow = health.look(store);
  clock.advance(1_500);
  expect(await slow).toEqual({ stats: undefined });
});

it('one that answers nothing for seconds, or says that it is unreachable, is away', async () => {
  const { store, answerAll } = slowStore();
  const health = new StoreHealth(clock);
  const first = health.look(store);
  clock.advance(4_000);
  expect(await first).toBeDefined();
  const second = health.look(store);
  clock.advance(1_500);
  expect(await second).toBeUndefined();

  answerAll();
  await settled();
  const third = health.look(store);
  answerAll();
  expect(await third).toEqual({ stats: quick });
  store.isReachable = false;
  expect(await health.look(store)).toBeUndefined();
});

it('a database that cannot be reached is not said to take no changes', () => {
  const writes = new StoreHealth(clock);
  writes.failed(new DatabaseError('database_unreachable', 'no answer'));
  expect(writes.isFailing).toBe(false);
  writes.failed(new DatabaseError('database_unusable', 'the disk is full'));
  expect(writes.isFailing).toBe(true);
});
