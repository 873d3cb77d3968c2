import { describe, expect, it } from 'vitest';
import { testAccount, testDemand } from '../testing.ts';
import { openMemoryStore } from './open-store.ts';
import { inDatabaseTime } from './postgres-time.ts';
import { describeModel } from './store.contract.model.ts';
import { describeRefreshes } from './store.contract.refresh.ts';
import { describeStore } from './store.contract.ts';
import type { Store } from './store.ts';

const start = Date.UTC(2026, 0, 1);
const minute = 60_000;

/** As an instance sees the store whose clock is `offset` behind the database's. */
function seenFrom(store: Store, offset: number): Store {
  return { ...store, ...inDatabaseTime(store, () => offset) };
}

// Whatever goes in comes out as the caller knows it, so that a clock that is wrong changes nothing for one instance.
const openSkewed = async (): Promise<Store> =>
  seenFrom(openMemoryStore(start, { auditsLeases: true }), 7 * minute);
for (const describeContract of [describeStore, describeRefreshes]) {
  describeContract('a store in another time than its caller’s', openSkewed);
}
describeModel(
  'a store in another time than its caller’s',
  { open: openSkewed, reopen: async (store) => store },
  30,
);

describe('instances whose clocks differ', () => {
  it('agree on when a session and the hour between two refreshes are over', async () => {
    const database = openMemoryStore(start, { auditsLeases: true });
    const slow = seenFrom(database, 10 * minute);
    const fast = seenFrom(database, -10 * minute);
    const slowNow = start - 10 * minute;
    const fastNow = start + 10 * minute;
    const token = { credentialKind: 'refresh_token' as const, nextRefreshAt: slowNow };
    const bearer = { sealed: 'b', expiresAt: slowNow + 180 * minute };
    await slow.addAccount(slowNow, testAccount('acc', { ...token, bearer }), 'test');
    const lent = await slow.ensureLeases(slowNow, testDemand('s', { ttlMs: minute }));
    expect(lent).toMatchObject({ result: 'granted', expiresAt: slowNow + minute });
    expect((await fast.stats(fastNow + minute - 1)).sessions).toBe(1);
    expect((await fast.stats(fastNow + minute)).sessions).toBe(0);

    const demand = {
      accountId: 'acc',
      minIntervalMs: 60 * minute,
      limitMs: minute,
      force: false,
      actor: 'test',
    };
    const claim = await fast.claimRefresh(fastNow, { ...demand, instance: 'fast' });
    if (claim.result !== 'claimed') throw new Error(claim.result);
    expect(claim.intentAt).toBe(fastNow);
    await fast.commitRefresh(fastNow, claim.refreshId, {
      bearer: { sealed: 'c', expiresAt: fastNow + 120 * minute },
      nextRefreshAt: fastNow + 60 * minute,
    });
    expect(await slow.claimRefresh(slowNow + 59 * minute, { ...demand, instance: 'slow' })).toMatchObject({
      result: 'too_early',
      nextAt: slowNow + 60 * minute,
    });
    const seen = await slow.account(slowNow, 'acc');
    expect(seen?.bearer?.expiresAt).toBe(slowNow + 120 * minute);
    expect(seen?.nextRefreshAt).toBe(slowNow + 60 * minute);
    await database.close();
  });
});
