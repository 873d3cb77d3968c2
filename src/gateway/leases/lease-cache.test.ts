import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LendingPool, startLendingPool } from '../../pool/testing/lending-pool.ts';
import type { LeaseDemand } from '../../pool-api/held-lease.ts';
import type { TurnLease } from '../../pool-api/waiting-turns.ts';
import { createManualClock, type ManualClock, settled } from '../testing/manual-clock.ts';
import { LeaseCache } from './lease-cache.ts';

let clock: ManualClock;
let pool: LendingPool;
let cache: LeaseCache;

beforeEach(async () => {
  clock = createManualClock();
  pool = await startLendingPool(clock);
  cache = new LeaseCache(pool, clock, pino({ level: 'silent' }));
});
afterEach(async () => {
  pool.isAway = false;
  await cache.close();
  await pool.close();
});

function demand(change: Partial<LeaseDemand> = {}): LeaseDemand {
  return {
    provider: 'warp',
    model: undefined,
    exclude: new Set(),
    deadline: clock.monotonic() + 10_000,
    signal: new AbortController().signal,
    ...change,
  };
}

function acquire(change: Partial<LeaseDemand> = {}): Promise<TurnLease> {
  return cache.acquire(demand(change));
}

/** Starts and tells how it ended, without being a rejection nobody handles. */
function start(change: Partial<LeaseDemand> = {}) {
  const outcome: { lease?: TurnLease; error?: unknown } = {};
  void acquire(change).then(
    (lease) => {
      outcome.lease = lease;
    },
    (error: unknown) => {
      outcome.error = error;
    },
  );
  return outcome;
}

describe('a warm turn', () => {
  it('makes no call to the pool', async () => {
    await pool.add('one');
    (await acquire()).release();
    const calls = pool.allocations.length;
    for (let turn = 0; turn < 20; turn += 1) (await acquire()).release();
    expect(pool.allocations.length).toBe(calls);
  });

  it('gives its place back once, however often it is released', async () => {
    await pool.add('one', { capacity: 2 });
    const first = await acquire();
    await acquire();
    first.release();
    first.release();
    await acquire();
    const fourth = start({ deadline: clock.monotonic() });
    await settled();
    expect(fourth.error).toMatchObject({ code: 'no_account_available' });
  });
});

describe('a burst of cold turns', () => {
  it('doubles the slots instead of asking for each turn', async () => {
    await pool.add('one');
    await Promise.all(Array.from({ length: 16 }, () => acquire()));
    expect(pool.allocations.map((request) => request.slots)).toEqual([1, 2, 4, 8, 16]);
    expect(await pool.sessions()).toBe(1);
  });

  it('fills accounts up before it borrows another, and never runs more turns than slots', async () => {
    for (const id of ['one', 'two', 'three', 'four', 'five']) await pool.add(id);
    const leases = await Promise.all(Array.from({ length: 50 }, () => acquire()));
    const turns = Map.groupBy(leases, (lease) => lease.account.id);
    for (const [id, running] of turns) {
      expect(running.length).toBeLessThanOrEqual(await pool.slotsOf(id));
      expect(await pool.slotsOf(id)).toBeLessThanOrEqual(16);
    }
    expect(turns.size).toBe(4);
    for (const lease of leases) lease.release();
    await clock.advance(70_000);
    expect(await pool.lent()).toBe(0);
  });

  it('takes one slot more where the double is not to be had', async () => {
    await pool.add('one', { capacity: 3 });
    const leases = await Promise.all([acquire(), acquire(), acquire()]);
    expect(new Set(leases.map((lease) => lease.account.id)).size).toBe(1);
    expect(await pool.slotsOf('one')).toBe(3);
  });

  it('keeps a lease that cannot grow because others hold the rest, and borrows another account', async () => {
    await pool.add('one');
    await pool.lendElsewhere('one', 15);
    const first = await acquire();
    await pool.add('two');
    const second = await acquire();
    expect([first.account.id, second.account.id]).toEqual(['one', 'two']);
    await settled();
    expect(await pool.slotsOf('one')).toBe(16);
    first.release();
    expect((await acquire({ prefer: 'one' })).account.id).toBe('one');
    expect(await pool.slotsOf('one')).toBe(16);
  });

  it('waits ten seconds for a pool that neither answers nor fails', async () => {
    await pool.add('one');
    const gate = Promise.withResolvers<void>();
    pool.gate = gate.promise;
    const turns = [start(), start(), start({ deadline: clock.monotonic() })];
    await clock.advance(9_500);
    expect(turns).toEqual([{}, {}, {}]);
    await clock.advance(2_000);
    const unavailable = expect.objectContaining({ code: 'pool_unavailable', retryAfterMs: 2_000 });
    expect(turns.map(({ error }) => error)).toEqual([unavailable, unavailable, unavailable]);
    gate.resolve();
    await settled();
    expect(await pool.lent()).toBe(0);
    expect((await acquire()).account.id).toBe('one');
  });

  it('waits no longer for a pool that does not answer than the first of the line did', async () => {
    await pool.add('one');
    const gate = Promise.withResolvers<void>();
    pool.gate = gate.promise;
    const turns = Array.from({ length: 10 }, () => start());
    await settled();
    pool.isAway = true;
    gate.resolve();
    await settled();
    expect(turns.map((turn) => (turn.error as { code?: string })?.code)).toEqual(
      Array.from({ length: 10 }, () => 'pool_unavailable'),
    );
    expect(pool.allocations.length).toBe(1);
  });
});

describe('a preference', () => {
  it('that is soft yields to a free place when all of its account’s are taken, without a call', async () => {
    await pool.add('one', { capacity: 4 });
    await pool.add('two', { capacity: 4 });
    const [first, second] = [await acquire({ prefer: 'one' }), await acquire({ prefer: 'two' })];
    second.release();
    const calls = pool.allocations.length;
    const soft = await acquire({ prefer: 'one', preference: 'soft' });
    expect([soft.account.id, pool.allocations.length]).toEqual(['two', calls]);
    const hard = await acquire({ prefer: 'one' });
    expect(hard.account.id).toBe('one');
    for (const lease of [first, soft, hard]) lease.release();
  });

  it('that is soft is sought at the pool when its account is not held', async () => {
    await pool.add('one');
    await pool.add('two');
    const first = await acquire({ prefer: 'one' });
    const soft = await acquire({ prefer: 'two', preference: 'soft' });
    expect(soft.account.id).toBe('two');
    for (const lease of [first, soft]) lease.release();
  });

  it('never bars the other accounts', async () => {
    await pool.add('one');
    await pool.add('two', { state: 'cooldown' });
    const lease = await acquire({ prefer: 'two', preference: 'soft' });
    expect(lease.account.id).toBe('one');
    lease.release();
  });
});

describe('an idle lease', () => {
  it('is given back after a minute', async () => {
    await pool.add('one');
    (await acquire()).release();
    await clock.advance(55_000);
    expect(await pool.slotsOf('one')).toBe(1);
    await clock.advance(10_000);
    expect(await pool.sessions()).toBe(0);
  });

  it('is given back at once when somebody waits for it, a busy one never', async () => {
    await pool.add('one');
    await pool.add('two', { models: ['big'] });
    const busy = await acquire();
    const idle = await acquire({ model: 'big', exclude: new Set(['one']) });
    idle.release();
    pool.emit({ type: 'lease-wanted', account_ids: ['one', 'two'] });
    await settled();
    expect(await pool.slotsOf('one')).toBe(1);
    expect(await pool.slotsOf('two')).toBe(0);
    busy.release();
    await settled();
    expect(await pool.slotsOf('one')).toBe(1);
  });

  it('stays while the pool is away, until it lapses', async () => {
    await pool.add('one');
    (await acquire()).release();
    pool.isAway = true;
    await expect(acquire({ exclude: new Set(['one']), deadline: clock.monotonic() })).rejects.toMatchObject({
      code: 'pool_unavailable',
    });
    await clock.advance(110_000);
    (await acquire()).release();
    await clock.advance(15_000);
    await expect(acquire()).rejects.toMatchObject({ code: 'pool_unavailable' });
  });
});

describe('news of an account', () => {
  it.each(['cooldown', 'exhausted', 'disabled', 'reauth_required'] as const)(
    'that it is %s starts no new turn there and gives it back when the last turn ends',
    async (status) => {
      await pool.add('one');
      const running = await acquire();
      await pool.setState('one', status);
      await settled();
      // The pool itself ends the leases of an account that is beyond use.
      const isOver = status === 'disabled' || status === 'reauth_required';
      expect(await pool.slotsOf('one')).toBe(isOver ? 0 : 1);
      await expect(acquire({ deadline: clock.monotonic() })).rejects.toMatchObject({
        code: 'no_account_available',
      });
      running.release();
      await settled();
      expect(await pool.slotsOf('one')).toBe(0);
    },
  );

  it('that it was removed starts no new turn there', async () => {
    await pool.add('one');
    (await acquire()).release();
    await pool.remove('one');
    await settled();
    expect(await pool.sessions()).toBe(0);
    await expect(acquire({ deadline: clock.monotonic() })).rejects.toMatchObject({
      code: 'no_account_available',
    });
  });

  it('that a free account ran out retires the free ones of its provider, not the paid ones', async () => {
    await pool.add('free-one', { free: true });
    const one = await acquire();
    await pool.add('free-two', { free: true });
    await pool.add('paid');
    const two = await acquire({ exclude: new Set(['free-one']) });
    const paid = await acquire({ exclude: new Set(['free-one', 'free-two']) });
    for (const lease of [one, two, paid]) lease.release();
    await pool.setState('free-one', 'exhausted');
    await settled();
    expect(await pool.slotsOf('free-two')).toBe(0);
    expect((await acquire()).account.id).toBe('paid');
  });

  it('a change of the paying team counts immediately, also while the lease is being renewed', async () => {
    await pool.add('one');
    (await acquire()).release();
    const { allocate } = pool;
    const gate = Promise.withResolvers<void>();
    pool.allocate = async (...given) => {
      const answer = await allocate(...given);
      await gate.promise;
      return answer;
    };
    const running = await acquire();
    await clock.advance(41_000);
    await pool.setTeam('one', 'team-2');
    pool.emit({
      type: 'account-changed',
      account_id: 'one',
      provider: 'warp',
      status: 'active',
      free: false,
    });
    gate.resolve();
    await settled();
    running.release();
    expect((await acquire()).account.team_uid).toBe('team-2');
  });

  it('a lower capacity counts for the next turn, whatever is held', async () => {
    await pool.add('one', { capacity: 4 });
    for (const lease of await Promise.all([acquire(), acquire(), acquire()])) lease.release();
    await pool.setCapacity('one', 1);
    const changed = { account_id: 'one', provider: 'warp', status: 'active', free: false } as const;
    pool.emit({ type: 'account-changed', ...changed });
    await settled();
    await acquire();
    const second = start({ deadline: clock.monotonic() });
    await settled();
    expect(second.error).toMatchObject({ code: 'no_account_available' });
  });

  it('is asked for when the events flow again', async () => {
    await pool.add('one');
    const lease = await acquire();
    const calls = pool.allocations.length;
    pool.setConnected(false);
    pool.setConnected(true);
    await settled();
    expect(pool.allocations.length).toBe(calls + 1);
    lease.release();
  });

  it('is found by asking within fifteen seconds when no events flow', async () => {
    await pool.add('one');
    (await acquire()).release();
    pool.setConnected(false);
    await pool.setState('one', 'disabled');
    await clock.advance(15_000);
    expect(await pool.slotsOf('one')).toBe(0);
  });
});

describe('a turn that runs on', () => {
  it('keeps its lease alive for as long as it takes', async () => {
    await pool.add('one');
    const lease = await acquire();
    await clock.advance(20 * 60_000);
    expect(await pool.slotsOf('one')).toBe(1);
    lease.release();
    await acquire();
    expect(await pool.sessions()).toBe(1);
  });

  it('gives back what the pool lends instead of a lease that is gone, and retires that lease', async () => {
    await pool.add('one');
    const lease = await acquire();
    await pool.add('two');
    pool.setConnected(false);
    await pool.setState('one', 'cooldown');
    await pool.end(pool.allocations[0]?.session_id ?? '');
    pool.setConnected(true);
    await clock.advance(45_000);
    expect(await pool.lent()).toBe(0);
    lease.release();
    await settled();
    expect((await acquire()).account.id).toBe('two');
  });

  it('goes on without the pool, and so do new turns until the lease lapses', async () => {
    await pool.add('one', { capacity: 4 });
    const leases = [await acquire(), await acquire()];
    leases[0]?.release();
    pool.isAway = true;
    await clock.advance(100_000);
    (await acquire()).release();
    await clock.advance(20_000);
    await expect(acquire()).rejects.toMatchObject({ code: 'pool_unavailable' });
    leases[1]?.release();
  });

  it('does not lose its lease to a pool that restarts', async () => {
    await pool.add('one');
    const lease = await acquire();
    pool.isAway = true;
    await clock.advance(60_000);
    pool.isAway = false;
    await clock.advance(10_000);
    await clock.advance(90_000);
    expect(await pool.slotsOf('one')).toBe(1);
    lease.release();
  });
});

describe('a bearer', () => {
  it('that has run out is not used: a newer one is asked for', async () => {
    await pool.add('one', { expiresAt: clock.now() + 60_000 });
    const old = await acquire();
    expect(old.account.id_token).toBe('bearer-of-one');
    await clock.advance(38_000);
    await pool.renewBearer('one', 'newer', clock.now() + 3_600_000);
    await clock.advance(14_000);
    expect((await acquire()).account.id_token).toBe('newer');
  });

  it('that has run out is renewed even when all slots of the account are taken here', async () => {
    await pool.add('one', { capacity: 1, expiresAt: clock.now() + 30_000 });
    const running = await acquire();
    await clock.advance(25_000);
    await pool.renewBearer('one', 'newer', clock.now() + 3_600_000);
    const next = start();
    await settled();
    expect(next).toEqual({});
    running.release();
    await settled();
    expect(next.lease?.account.id_token).toBe('newer');
  });

  it.each([-2, 2])('is judged by the clock of a pool that is %i hours ahead', async (hours) => {
    await pool.close();
    const aheadMs = hours * 3_600_000;
    pool = await startLendingPool(clock, aheadMs);
    cache = new LeaseCache(pool, clock, pino({ level: 'silent' }));
    await pool.add('good', { expiresAt: clock.now() + aheadMs + 60_000 });
    const good = await acquire();
    expect(good.account.id).toBe('good');
    good.release();
    await clock.advance(51_000);
    await expect(acquire({ deadline: clock.monotonic() })).rejects.toMatchObject({
      code: 'no_account_available',
    });
  });

  it.each([-3, 3])('and its lease last through a step of the wall clock by %i hours', async (hours) => {
    await pool.add('one', { expiresAt: clock.now() + 3_600_000 });
    (await acquire()).release();
    clock.step(hours * 3_600_000);
    pool.isAway = true;
    (await acquire()).release();
    await clock.advance(119_000);
    await expect(acquire({ deadline: clock.monotonic() })).rejects.toMatchObject({
      code: 'pool_unavailable',
    });
  });

  it('is asked about after a sleep of the machine, which no interval shows', async () => {
    await pool.add('one');
    (await acquire()).release();
    clock.step(8 * 3_600_000);
    await clock.advance(5_000);
    expect(pool.allocations.length).toBe(2);
  });

  it('that is about to run out is refused instead of asked for in circles', async () => {
    await pool.add('one', { expiresAt: clock.now() + 5_000 });
    await expect(acquire({ deadline: clock.monotonic() })).rejects.toMatchObject({
      code: 'no_account_available',
    });
    expect(pool.allocations.length).toBe(1);
    await settled();
    expect(await pool.lent()).toBe(0);
  });

  it('named by the pool is used by the next turn; an older one is not taken', async () => {
    await pool.add('one');
    const lease = await acquire();
    const named = { report_id: 'r', account_id: 'one', result: 'applied', status: 'active' } as const;
    for (const [id_token, token_version] of [
      ['new', 3],
      ['old', 2],
    ] as const) {
      cache.held.noteReport(lease.sessionId, [{ ...named, status_until: null, id_token, token_version }]);
    }
    lease.release();
    expect((await acquire()).account.id_token).toBe('new');
  });
});

describe('a turn for which there is no place', () => {
  it('gets the place of a turn that ends here', async () => {
    await pool.add('one', { capacity: 1 });
    const first = await acquire();
    const second = start();
    await settled();
    first.release();
    await settled();
    expect(second.lease?.account.id).toBe('one');
    expect(await pool.waiting()).toBe(0);
  });

  it('gets an account that comes free at the pool', async () => {
    await pool.add('one', { capacity: 1 });
    const giveBack = await pool.lendElsewhere('one', 1);
    const turn = start();
    await clock.advance(3_000);
    expect(turn).toEqual({});
    await giveBack();
    await settled();
    expect(turn.lease?.account.id).toBe('one');
  });

  it('gets an account that was retired here and works again', async () => {
    await pool.add('one', { capacity: 1 });
    const first = await acquire();
    const second = start();
    await settled();
    await pool.setState('one', 'cooldown', 5_000);
    first.release();
    await clock.advance(2_000);
    expect(second).toEqual({});
    await pool.setState('one', 'active');
    await settled();
    expect(second.lease?.account.id).toBe('one');
  });

  it('is told that there is none once its time is up', async () => {
    await pool.add('one', { capacity: 1 });
    await acquire();
    const turn = start();
    await clock.advance(9_900);
    expect(turn).toEqual({});
    await clock.advance(100);
    expect(turn.error).toMatchObject({ code: 'no_account_available', shortage: { matching: 1 } });
    const calls = pool.allocations.length;
    await clock.advance(5_000);
    expect(pool.allocations.length).toBe(calls);
  });

  it('hears that accounts are busy here, and not that there are none', async () => {
    await pool.add('one', { capacity: 1 });
    await pool.add('spent', { state: 'exhausted' });
    await acquire();
    const turn = start();
    await clock.advance(10_000);
    expect(turn.error).toMatchObject({ shortage: { matching: 2, reasons: { leased: 1, exhausted: 1 } } });
  });

  it('is told in time even when the pool answers late', async () => {
    await pool.add('one', { capacity: 1 });
    await acquire();
    const turn = start();
    await settled();
    await pool.remove('one');
    await clock.advance(11_000);
    expect(turn.error).toMatchObject({ code: 'no_account_available' });
  });

  it('waits for a place here when the pool cannot be asked', async () => {
    await pool.add('one', { capacity: 1 });
    const first = await acquire();
    pool.isAway = true;
    const second = start();
    await clock.advance(5_000);
    expect(second).toEqual({});
    first.release();
    await settled();
    expect(second.lease?.account.id).toBe('one');
  });

  it('leaves nothing behind when its client goes', async () => {
    await pool.add('one', { capacity: 1 });
    const giveBack = await pool.lendElsewhere('one', 1);
    const client = new AbortController();
    const turn = start({ signal: client.signal });
    await clock.advance(1_000);
    const timers = clock.waiting - pool.timers;
    const reason = new Error('left');
    client.abort(reason);
    await settled();
    expect(turn.error).toBe(reason);
    expect(await pool.waiting()).toBe(0);
    expect(clock.waiting - pool.timers).toBeLessThan(timers);
    await giveBack();
    await settled();
    expect(await pool.lent()).toBe(0);
  });

  it('leaves nothing behind when its client goes while the pool answers', async () => {
    await pool.add('one');
    const gate = Promise.withResolvers<void>();
    pool.gate = gate.promise;
    const client = new AbortController();
    const turn = start({ signal: client.signal });
    await settled();
    client.abort(new Error('left'));
    await settled();
    expect(turn.error).toMatchObject({ message: 'left' });
    gate.resolve();
    await settled();
    expect(await pool.lent()).toBe(0);
  });

  it('does not take a place it has no use for from one who has', async () => {
    await pool.add('one', { capacity: 1, models: ['small'] });
    await pool.add('two', { capacity: 1, models: ['big'] });
    const small = await acquire({ model: 'small' });
    const big = await acquire({ model: 'big' });
    const waitingForBig = start({ model: 'big' });
    const waitingForSmall = start({ model: 'small' });
    await settled();
    small.release();
    await settled();
    expect(waitingForBig).toEqual({});
    expect(waitingForSmall.lease?.account.id).toBe('one');
    big.release();
    await settled();
    expect(waitingForBig.lease?.account.id).toBe('two');
  });

  it('comes in the order of asking', async () => {
    await pool.add('one', { capacity: 1 });
    let lease = await acquire();
    const order: number[] = [];
    const done = [1, 2, 3].map((number) =>
      acquire().then((given) => {
        order.push(number);
        lease = given;
      }),
    );
    await settled();
    for (const turn of done) {
      lease.release();
      await turn;
    }
    expect(order).toEqual([1, 2, 3]);
  });

  it('shares the places of a busy hour without leaving one unused or using one twice', async () => {
    for (const id of ['one', 'two']) await pool.add(id, { capacity: 3 });
    let running = 0;
    let most = 0;
    const turns = Array.from({ length: 60 }, async () => {
      const lease = await acquire();
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      lease.release();
    });
    await Promise.all(turns);
    expect(most).toBe(6);
    await clock.advance(70_000);
    expect(await pool.lent()).toBe(0);
  });
});

describe('a preferred account', () => {
  it('is borrowed although another one is held with room', async () => {
    await pool.add('one');
    (await acquire()).release();
    await pool.add('two');
    expect((await acquire({ prefer: 'two' })).account.id).toBe('two');
  });

  it('that is full gives way to one that is held, without a borrowed third', async () => {
    await pool.add('one', { capacity: 1 });
    const busy = await acquire();
    await pool.add('two');
    (await acquire({ exclude: new Set(['one']) })).release();
    await pool.add('three');
    expect((await acquire({ prefer: 'one' })).account.id).toBe('two');
    expect(await pool.sessions()).toBe(2);
    busy.release();
  });

  it('that is excluded costs no call: what is held serves', async () => {
    await pool.add('one');
    (await acquire()).release();
    const calls = pool.allocations.length;
    const lease = await acquire({ prefer: 'dead', exclude: new Set(['dead']) });
    expect(lease.account.id).toBe('one');
    expect(pool.allocations.length).toBe(calls);
  });

  it('that is not to be had does not make the gateway hoard accounts', async () => {
    await pool.add('one');
    (await acquire()).release();
    for (const id of ['two', 'three', 'four']) await pool.add(id);
    await pool.add('resting', { state: 'cooldown' });
    for (let turn = 0; turn < 5; turn += 1) (await acquire({ prefer: 'resting' })).release();
    await settled();
    expect(await pool.sessions()).toBe(1);
  });

  it('with the pool away gives way to one that is held', async () => {
    await pool.add('one');
    (await acquire()).release();
    pool.isAway = true;
    expect((await acquire({ prefer: 'other' })).account.id).toBe('one');
  });

  it('that is held and full gives way to another with the pool away', async () => {
    await pool.add('one', { capacity: 2 });
    await acquire();
    await pool.add('two');
    (await acquire({ exclude: new Set(['one']) })).release();
    pool.isAway = true;
    expect((await acquire({ prefer: 'one' })).account.id).toBe('two');
  });
});

describe('a turn in which a free account ran out', () => {
  it('gets no other free one, held or not', async () => {
    await pool.add('free', { free: true });
    (await acquire()).release();
    await pool.add('also-free', { free: true });
    const barred = { isFreeBarred: true, deadline: clock.monotonic() };
    await expect(acquire(barred)).rejects.toMatchObject({ code: 'no_account_available' });
    await pool.remove('free');
    await settled();
    await expect(acquire(barred)).rejects.toMatchObject({ code: 'no_account_available' });
    await settled();
    expect(await pool.slotsOf('also-free')).toBe(0);
  });

  it('leaves none of that provider in the cache', async () => {
    await pool.add('free', { free: true });
    await pool.add('paid');
    const free = await acquire();
    (await acquire({ exclude: new Set(['free']) })).release();
    cache.held.retireFree('warp');
    free.release();
    await settled();
    expect(await pool.slotsOf('free')).toBe(0);
    expect(await pool.slotsOf('paid')).toBe(1);
  });
});

describe('closing', () => {
  it('gives everything back, what is in use and what is just being lent included', async () => {
    await pool.add('one', { capacity: 1 });
    await pool.add('two', { capacity: 1, models: ['big'] });
    await acquire({ model: 'small' });
    const waiting = start({ model: 'small' });
    const gate = Promise.withResolvers<void>();
    await settled();
    pool.gate = gate.promise;
    const asking = start({ model: 'big' });
    await settled();
    const closed = cache.close();
    await settled();
    gate.resolve();
    await closed;
    expect(waiting.error).toMatchObject({ code: 'shutting_down' });
    expect(asking.error).toMatchObject({ code: 'shutting_down' });
    expect(await pool.lent()).toBe(0);
    await expect(acquire()).rejects.toMatchObject({ code: 'shutting_down' });
    expect(clock.waiting - pool.timers).toBe(0);
  });

  it('does not bring a lease back to life that is being renewed', async () => {
    await pool.add('one');
    const lease = await acquire();
    const gate = Promise.withResolvers<void>();
    pool.gate = gate.promise;
    await clock.advance(45_000);
    lease.release();
    const closed = cache.close();
    gate.resolve();
    await closed;
    await settled();
    expect(await pool.lent()).toBe(0);
  });
});

describe('turns that wait for a place', () => {
  /** Two places, both taken. */
  async function bothTaken(): Promise<TurnLease[]> {
    await pool.add('one', { capacity: 2 });
    return [await acquire({ client: 'busy' }), await acquire({ client: 'busy' })];
  }

  it('of one client do not hold up those of another', async () => {
    const running = await bothTaken();
    const many = Array.from({ length: 198 }, () => start({ client: 'busy' }));
    await settled();
    const other = start({ client: 'other' });
    await settled();
    // The first place may go to the client that waited first, the second is the other's.
    for (const lease of running) lease.release();
    await settled();
    expect(other.lease).toBeDefined();
    expect(many.filter(({ lease }) => lease).length).toBe(1);
  });

  it('get places in the order they came where they are one client’s', async () => {
    const [first] = await bothTaken();
    const [second, third] = [start(), start()];
    await settled();
    first?.release();
    await settled();
    expect(second.lease).toBeDefined();
    expect(third.lease).toBeUndefined();
  });

  it('are 500 of one client and 1,000 altogether, and the refusal says whose share is full', async () => {
    await bothTaken();
    const many = Array.from({ length: 501 }, () => start({ client: 'busy' }));
    await settled();
    expect(cache.waiting).toBe(500);
    expect(many[500]?.error).toMatchObject({ code: 'overloaded', isOwnShare: true, retryAfterMs: 2_000 });
    const others = Array.from({ length: 501 }, (_, at) => start({ client: `other ${at}` }));
    await settled();
    expect(cache.waiting).toBe(1_000);
    expect(others[500]?.error).toMatchObject({ code: 'overloaded', isOwnShare: false });
    await clock.advance(11_000);
    expect(cache.waiting).toBe(0);
  });

  it('are not refused for the time that the pool takes to lend what they wait for', async () => {
    await pool.add('one', { capacity: 64 });
    const answersLate = { get: () => new Promise<void>((resolve) => clock.after(2_000, resolve)) };
    Object.defineProperty(pool, 'gate', answersLate);
    const early = Array.from({ length: 50 }, () => start());
    await clock.advance(8_500);
    expect(early.filter(({ lease }) => lease)).toHaveLength(8);
    const late = start();
    await settled();
    expect(late.error).toBeUndefined();
    Object.defineProperty(pool, 'gate', { value: undefined });
    await clock.advance(60_000);
  });

  it('are refused at once where no place can come free in time, with the time it would take', async () => {
    let [lease] = await bothTaken();
    // A place comes free every three seconds.
    for (let at = 0; at < 40; at += 1) {
      const next = start({ client: 'busy' });
      await clock.advance(3_000);
      lease?.release();
      await settled();
      lease = next.lease;
    }
    const waiting = Array.from({ length: 6 }, () => start({ client: 'busy' }));
    await settled();
    const late = start({ client: 'busy' });
    await settled();
    expect(late.error).toMatchObject({ code: 'overloaded', isOwnShare: true });
    expect(late.error).toHaveProperty('retryAfterMs', expect.closeTo(21_000, -3));
    const other = start({ client: 'other' });
    await settled();
    expect(other.error).toBeUndefined();
    expect(waiting.every(({ error }) => error === undefined)).toBe(true);
    lease?.release();
    await clock.advance(60_000);
  });
});

describe('of several accounts that are held', () => {
  const hour = 3_600_000;
  const day = 24 * hour;
  const quota = (remaining: number, resetInMs: number) => ({
    isUnlimited: false,
    limit: 100,
    used: 100 - remaining,
    remaining,
    resetAt: clock.now() + resetInMs,
    checkedAt: clock.now(),
  });

  async function firstOf(accounts: Record<string, object>): Promise<string> {
    for (const [id, settings] of Object.entries(accounts)) await pool.add(id, { capacity: 2, ...settings });
    // Both places of each.
    const leases = await Promise.all(Object.keys(accounts).flatMap(() => [acquire(), acquire()]));
    for (const lease of leases) lease.release();
    return (await acquire()).account.id;
  }

  it('a turn takes one of the lowest tier', async () => {
    expect(await firstOf({ late: { tier: 2 }, early: { tier: 1 } })).toBe('early');
    // Although the other one has fewer turns now.
    expect((await acquire()).account.id).toBe('early');
  });

  it('a turn takes the one whose quota expires unspent sooner', async () => {
    expect(await firstOf({ later: { quota: quota(90, 5 * hour) }, sooner: { quota: quota(20, hour) } })).toBe(
      'sooner',
    );
  });

  it.each([
    ['has little left', 19, hour],
    ['expires in days', 90, day + 1],
    ['has expired', 90, -1],
  ])('a quota that %s is no reason', async (_case, remaining, resetInMs) => {
    expect(
      await firstOf({ later: { quota: quota(90, 5 * hour) }, other: { quota: quota(remaining, resetInMs) } }),
    ).toBe('later');
  });
});

describe('an account that met a limit', () => {
  it('carries one turn at first, and twice as many after each that went well', async () => {
    await pool.add('one', { capacity: 8 });
    const limited = await acquire();
    limited.retire();
    limited.release();
    await settled();
    const waiting = Array.from({ length: 8 }, () => start());
    const running = () => waiting.flatMap(({ lease }) => lease ?? []);
    await settled();
    expect(running()).toHaveLength(1);
    let ended = 0;
    for (const carried of [2, 4]) {
      for (const lease of running().slice(ended, ended + 1)) {
        lease.succeeded();
        lease.release();
        ended += 1;
      }
      await settled();
      expect(running()).toHaveLength(ended + carried);
      expect(await pool.slotsOf('one')).toBe(carried);
    }
    for (const lease of running()) lease.release();
  });

  it('has all its places again after ten minutes without another', async () => {
    await pool.add('one', { capacity: 8 });
    const limited = await acquire();
    limited.retire();
    limited.release();
    await clock.advance(600_001);
    expect(await Promise.all(Array.from({ length: 8 }, () => acquire()))).toHaveLength(8);
  });
});
