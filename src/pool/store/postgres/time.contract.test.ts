import { expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../../lib/clock.ts';
import { testAccount, testDemand } from '../../testing/test-pool.ts';
import type { Store } from '../store.ts';
import { freshDatabase } from '../testing/postgres-database.ts';
import { openPostgresStore } from './postgres-store.ts';

const minute = 60_000;

/** On a machine whose clock is that far off. */
async function openSkewed(url: string, aheadMs: number): Promise<Store> {
  const clock = { ...systemClock, now: () => Date.now() + aheadMs };
  const store = await openPostgresStore(url, { auditsLeases: true, clock });
  onTestFinished(() => store.close());
  return store;
}

it('instances whose clocks differ agree on when a session and the hour between two refreshes are over', async () => {
  const url = await freshDatabase();
  const slow = await openSkewed(url, -10 * minute);
  const fast = await openSkewed(url, 10 * minute);
  // Both show the server's time, which is this machine's here.
  for (const { clock } of [slow, fast]) expect(Math.abs(clock.now() - Date.now())).toBeLessThan(minute);

  const now = slow.clock.now();
  const token = { credentialKind: 'refresh_token' as const, nextRefreshAt: now };
  const bearer = { sealed: 'b', expiresAt: now + 180 * minute };
  await slow.addAccount(now, testAccount('acc', { ...token, bearer }), 'test');
  const lent = await slow.ensureLeases(slow.clock.now(), testDemand('s', { ttlMs: 5 * minute }));
  expect(lent.result).toBe('granted');
  expect((await fast.stats(fast.clock.now())).sessions).toBe(1);

  const demand = {
    accountId: 'acc',
    minIntervalMs: 60 * minute,
    limitMs: minute,
    force: false,
    actor: 'test',
  };
  const claim = await fast.claimRefresh(fast.clock.now(), { ...demand, instance: 'fast' });
  if (claim.result !== 'claimed') throw new Error(claim.result);
  await fast.commitRefresh(fast.clock.now(), claim.refreshId, {
    bearer: { sealed: 'c', expiresAt: fast.clock.now() + 120 * minute },
    nextRefreshAt: fast.clock.now() + 60 * minute,
  });
  const early = await slow.claimRefresh(slow.clock.now(), { ...demand, instance: 'slow' });
  if (early.result !== 'too_early') throw new Error(early.result);
  expect(Math.abs(early.nextAt - slow.clock.now() - 60 * minute)).toBeLessThan(minute);
  expect((await fast.stats(fast.clock.now() + 6 * minute)).sessions).toBe(0);
});
