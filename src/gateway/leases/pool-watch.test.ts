import { expect, it } from 'vitest';
import type { Pool, PoolHealth } from '../../pool-api/pool.ts';
import type { PoolEvent } from '../../pool-api/schema.ts';
import { createManualClock, settled } from '../testing/manual-clock.ts';
import { type PoolStanding, PoolWatch } from './pool-watch.ts';

function watch() {
  const clock = createManualClock();
  let health: PoolHealth = {
    isReachable: true,
    isSandbox: false,
    providers: ['warp'],
    caller: 'gateway',
    gatewayOnly: 0,
  };
  let looks = 0;
  let tell: (event: PoolEvent) => void = () => {};
  const pool = {
    async health() {
      looks += 1;
      return health;
    },
    subscribe(onEvent) {
      tell = onEvent;
    },
  } as Pick<Pool, 'health' | 'subscribe'> as Pool;
  const reached: boolean[] = [];
  const standings: PoolStanding[] = [];
  const poolWatch = new PoolWatch(pool, clock, {
    onReach: (isReachable) => void reached.push(isReachable),
    onStanding: (standing) => void standings.push(standing),
  });
  return {
    clock,
    poolWatch,
    tell: (event: PoolEvent) => tell(event),
    answer: (answer: Partial<PoolHealth>) => {
      health = { ...health, ...answer };
    },
    looks: () => looks,
    reached,
    standings,
  };
}

const changed = (provider: string, status: 'active' | 'cooldown' | 'disabled'): PoolEvent => ({
  type: 'account-changed',
  account_id: 'a',
  provider,
  status,
  free: false,
});

it('does not know who has accounts before it has looked, and keeps what it knew of a pool that is away', async () => {
  const { poolWatch, answer } = watch();
  expect(poolWatch.hasAccounts('warp')).toBeUndefined();
  await poolWatch.look();
  expect([poolWatch.hasAccounts('warp'), poolWatch.hasAccounts('oz')]).toEqual([true, false]);
  answer({ isReachable: false, providers: undefined });
  await poolWatch.look();
  expect(poolWatch.hasAccounts('warp')).toBe(true);
  answer({ isReachable: true });
  await poolWatch.look();
  expect(poolWatch.hasAccounts('warp')).toBeUndefined();
});

it('looks at once when the first account of a provider comes or the last may have gone, else every 3 s', async () => {
  const { poolWatch, tell, looks, clock } = watch();
  await poolWatch.look();
  tell(changed('warp', 'cooldown'));
  tell(changed('oz', 'disabled'));
  await settled();
  expect(looks()).toBe(1);
  tell(changed('oz', 'active'));
  tell(changed('warp', 'disabled'));
  tell({ type: 'account-removed', account_id: 'a', provider: 'warp' });
  await settled();
  expect(looks()).toBe(4);
  await clock.advance(3_000);
  expect(looks()).toBe(5);
});

it('tells once when the pool is lost, also at the start, and once when it is back', async () => {
  const { poolWatch, answer, reached } = watch();
  answer({ isReachable: false });
  await poolWatch.look();
  await poolWatch.look();
  expect(reached).toEqual([false]);
  answer({ isReachable: true });
  await poolWatch.look();
  await poolWatch.look();
  expect(reached).toEqual([false, true]);
});

it('tells whether the pool takes the key, and what it is kept from', async () => {
  const { poolWatch, answer, standings } = watch();
  await poolWatch.look();
  await poolWatch.look();
  expect(standings).toEqual([{ caller: 'gateway', gatewayOnly: 0 }]);
  expect(poolWatch.isAccepted).toBe(true);
  answer({ caller: 'unknown' });
  await poolWatch.look();
  expect([poolWatch.isReachable, poolWatch.isAccepted]).toEqual([true, false]);
  answer({ caller: 'borrower', gatewayOnly: 3 });
  await poolWatch.look();
  answer({ gatewayOnly: 2 });
  await poolWatch.look();
  expect(standings.slice(1)).toEqual([
    { caller: 'unknown', gatewayOnly: 0 },
    { caller: 'borrower', gatewayOnly: 3 },
  ]);
});

it('learns how accounts stand soon after one has changed, in one look for a crowd of changes', async () => {
  const { poolWatch, answer, tell, looks, clock } = watch();
  answer({ accounts: { warp: { open: 1 } } });
  await poolWatch.look();
  answer({ accounts: { warp: { cooldown: 1 } } });
  for (let count = 0; count < 100; count += 1) tell(changed('warp', 'cooldown'));
  await clock.advance(250);
  expect([looks(), poolWatch.accounts]).toEqual([2, { warp: { cooldown: 1 } }]);
  answer({ isSandbox: true });
  await clock.advance(5_000);
  expect(poolWatch.accounts).toBeUndefined();
});

it('takes no older answer after a newer one', async () => {
  const answers: ((health: PoolHealth) => void)[] = [];
  const pool = {
    health: () => new Promise<PoolHealth>((resolve) => answers.push(resolve)),
    subscribe() {},
  } as Pick<Pool, 'health' | 'subscribe'> as Pool;
  const poolWatch = new PoolWatch(pool, createManualClock());
  const healthWith = (open: number): PoolHealth => ({
    isReachable: true,
    isSandbox: false,
    providers: ['warp'],
    caller: 'gateway',
    gatewayOnly: 0,
    accounts: { warp: { open } },
  });
  const looks = [poolWatch.look(), poolWatch.look()];
  answers[1]?.(healthWith(2));
  answers[0]?.(healthWith(1));
  await Promise.all(looks);
  expect(poolWatch.accounts).toEqual({ warp: { open: 2 } });
  poolWatch.close();
});
