import { expect, it } from 'vitest';
import { createLogger } from '../../lib/log/logger.ts';
import type { ManagedKey } from '../keys/client-key.ts';
import { createManualClock } from '../testing/manual-clock.ts';
import type { AnsweredSlice, AskedSlice } from './limit-verbs.ts';
import { Limits, type LimitsDatabase } from './limits.ts';

const managed: ManagedKey = {
  keyId: 'key_1',
  name: 'key',
  owner: null,
  models: null,
  providers: null,
  labels: null,
  limits: { parallel_turns: 4, budgets: [{ meter: 'tokens', window: 'total', limit: 1_000 }] },
  expiresAt: null,
  isEnabled: true,
  revision: 1,
};
const turn = { requestId: 'r', dialect: 'chat' as const, choices: 1, tokens: 10, costCents: undefined };

/** A database that takes what it is asked, and answers when the test says so. */
function slowDatabase() {
  const asked: (readonly AskedSlice[])[] = [];
  const answers: ((error?: Error) => void)[] = [];
  const exchangeLimits = (_gateway: string, slices: readonly AskedSlice[]): Promise<AnsweredSlice[]> => {
    asked.push(slices);
    const { promise, resolve, reject } = Promise.withResolvers<AnsweredSlice[]>();
    const grant = { spent: 0, unknown: 0, available: 500, freeElsewhere: 0, passed: undefined };
    answers.push((error) =>
      error ? reject(error) : resolve(slices.map(({ needs }) => ({ ...grant, extra: needs }))),
    );
    return promise;
  };
  const database = {
    isShared: true,
    ask: (question: (verbs: unknown) => Promise<unknown>) => question({ exchangeLimits }),
  } as LimitsDatabase;
  return { database, asked, answers };
}

it('a key that rested is asked about once, while a slow database works on the question before', async () => {
  const clock = createManualClock();
  const { database, asked, answers } = slowDatabase();
  const limits = new Limits(database, clock, createLogger('FATAL'));
  const begin = () => {
    const key = limits.keyOf({ id: 'client', managed });
    if (!key) throw new Error('The key has no limits.');
    return Promise.resolve(limits.reserve(key, turn)).catch((error: unknown) => error);
  };
  void begin();
  // Its turn has given up, and the key has no use for anything, before the database has answered.
  await clock.advance(10_000);
  void begin();
  await clock.advance(100);
  answers[0]?.(new Error('timeout'));
  for (let second = 0; second < 5; second += 1) {
    answers.at(-1)?.();
    await clock.advance(1_000);
    void begin();
  }
  expect(asked.length).toBeGreaterThan(1);
  for (const slices of asked) expect(slices).toHaveLength(new Set(slices.map(({ name }) => name)).size);
});

it('a key is counted once, where turns looked for their price while it was forgotten', async () => {
  const clock = createManualClock();
  const { database, asked } = slowDatabase();
  const limits = new Limits(database, clock, createLogger('FATAL'));
  const keyNow = () => limits.keyOf({ id: 'client', managed });
  const first = keyNow();
  await clock.advance(1_000);
  const second = keyNow();
  for (const key of [first, second, first]) {
    if (!key) throw new Error('The key has no limits.');
    void Promise.resolve(limits.reserve(key, turn)).catch(() => {});
  }
  await clock.advance(100);
  expect(asked.map((slices) => slices.map(({ name }) => name))).toEqual([
    ['turns/now/total', 'tokens/total/total'],
  ]);
});
