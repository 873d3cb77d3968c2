import { describe, expect, it, onTestFinished } from 'vitest';
import { createManualClock } from '../gateway/testing/manual-clock.ts';
import { startLendingPool } from '../pool/testing/lending-pool.ts';
import { findBearer, type TokenOptions } from './account-session.ts';
import { PoolError } from './errors.ts';
import { HeldSession, type LeaseLoss } from './held-session.ts';
import type { AllocateRequest } from './schema.ts';

const minute = 60_000;

async function setUp(
  request: AllocateRequest = {},
  ids = ['acc-1', 'acc-2'],
  lifetimes: readonly number[] = [],
) {
  const clock = createManualClock();
  const pool = await startLendingPool(clock);
  for (const [index, id] of ids.entries()) {
    const lifetimeMs = lifetimes[index];
    await pool.add(id, lifetimeMs === undefined ? {} : { expiresAt: clock.now() + lifetimeMs });
  }
  const losses: LeaseLoss[] = [];
  const session = new HeldSession({
    request: { ...request, session_id: 's-1' },
    pool,
    timing: clock,
    isRenewed: true,
  });
  session.onLost((loss) => losses.push(loss));
  onTestFinished(async () => {
    session.end(new PoolError('session_not_found', 'over'));
    await pool.close();
  });
  const bearer = (demand: TokenOptions = {}) =>
    findBearer(session, clock, { validForMs: 10_000, waitMs: 5_000, ...demand });
  return { clock, pool, losses, session, bearer };
}

describe('renewing', () => {
  it('asks the pool after about a third of the ttl, again and again', async () => {
    const { clock, pool, session } = await setUp({ ttl_seconds: 300 });
    await session.ensure();
    await clock.advance(79_000);
    expect(pool.allocations).toHaveLength(1);
    await clock.advance(22_000);
    expect(pool.allocations).toHaveLength(2);
    await clock.advance(1_000_000);
    expect(pool.allocations.length).toBeGreaterThanOrEqual(11);
    expect(session.isLive()).toBe(true);
    expect(pool.allocations[2]).toMatchObject({ session_id: 's-1', count: 1, ttl_seconds: 300 });
  });

  it('goes by the end the pool names where no ttl was asked for', async () => {
    const { clock, pool, session } = await setUp();
    await session.ensure();
    await clock.advance(7 * minute);
    expect(pool.allocations).toHaveLength(1);
    await clock.advance(4 * minute);
    expect(pool.allocations).toHaveLength(2);
  });

  it('stops when the session ends, and leaves no timer behind', async () => {
    const { clock, pool, session } = await setUp();
    await session.ensure();
    session.end(new PoolError('session_not_found', 'over'));
    await clock.advance(60 * minute);
    expect(pool.allocations).toHaveLength(1);
    expect(clock.waiting - pool.timers).toBe(0);
  });

  it('stops when it is told to, while the accounts stay until they lapse', async () => {
    const { clock, pool, session } = await setUp();
    await session.ensure();
    session.stopRenewing();
    await clock.advance(29 * minute);
    expect(session.isLive()).toBe(true);
    await clock.advance(minute);
    expect(session.isLive()).toBe(false);
    expect(clock.waiting - pool.timers).toBe(0);
  });

  it('waits for a pool that is away and goes on when it is back', async () => {
    const { clock, pool, losses, session } = await setUp({ ttl_seconds: 120 });
    await session.ensure();
    pool.isAway = true;
    await clock.advance(100_000);
    const asked = pool.allocations.length;
    expect(asked).toBeGreaterThan(3);
    expect(asked).toBeLessThan(15);
    expect(session.accounts).toHaveLength(1);
    pool.isAway = false;
    await clock.advance(16_000);
    expect(session.isLive()).toBe(true);
    expect(losses).toEqual([]);
  });

  it('picks up a newer bearer', async () => {
    const { clock, pool, session } = await setUp({ ttl_seconds: 120 }, ['acc-1'], [60 * minute]);
    await session.ensure();
    await pool.renewBearer('acc-1', 'newer', clock.now() + 60 * minute);
    await clock.advance(41_000);
    expect(session.accounts[0]).toMatchObject({ id_token: 'newer', token_version: 2 });
  });

  it('tells of a session that expired meanwhile, and borrows nothing in its place', async () => {
    const { clock, pool, losses, session } = await setUp({ ttl_seconds: 120 });
    await session.ensure();
    await pool.end('s-1');
    await clock.advance(41_000);
    expect(losses).toMatchObject([{ reason: 'session_expired', accounts: [{ id: 'acc-1', fence: 1 }] }]);
    expect(session.accounts).toEqual([]);
    expect(await pool.held('s-1')).toEqual([]);
    await clock.advance(10 * minute);
    expect(clock.waiting - pool.timers).toBe(0);
  });

  it('tells of one lease that ended and keeps the others', async () => {
    const { clock, pool, losses, session } = await setUp({ ttl_seconds: 120, count: 2 });
    await session.ensure();
    await pool.remove('acc-1');
    await clock.advance(41_000);
    expect(losses).toMatchObject([{ reason: 'lease_ended', accounts: [{ id: 'acc-1' }] }]);
    expect(session.accounts.map(({ id }) => id)).toEqual(['acc-2']);
  });

  it('tells of a pool that no longer lets it renew', async () => {
    const { clock, pool, losses, session } = await setUp({ ttl_seconds: 120 });
    await session.ensure();
    const error = new PoolError('invalid_key', 'The key was changed.');
    pool.allocate = () => Promise.reject(error);
    await clock.advance(41_000);
    expect(losses).toMatchObject([{ reason: 'refused', error: { code: 'invalid_key' } }]);
    expect(clock.waiting - pool.timers).toBe(0);
  });

  it('keeps an account that was excluded in its books, since it is still lent', async () => {
    const { session } = await setUp();
    await session.ensure();
    await session.ensureAs({ session_id: 's-1', exclude: ['acc-1'] }, undefined, false);
    expect(session.matching.map(({ id }) => id)).toEqual(['acc-2']);
    expect(session.accounts.map(({ id }) => id)).toEqual(['acc-1', 'acc-2']);
  });
});

describe('a bearer', () => {
  it('comes without a call while the last answer is young', async () => {
    const { clock, pool, session, bearer } = await setUp();
    await session.ensure();
    await clock.advance(14_000);
    expect(await bearer()).toMatchObject({
      token: 'bearer-of-acc-1',
      expiresAt: null,
      account: { id: 'acc-1' },
    });
    expect(pool.allocations).toHaveLength(1);
    await clock.advance(2_000);
    await bearer();
    expect(pool.allocations).toHaveLength(2);
  });

  it('is asked for again when it is about to run out', async () => {
    const { pool, clock, session, bearer } = await setUp({}, ['acc-1', 'acc-2'], [12_000]);
    await session.ensure();
    await clock.advance(3_000);
    await pool.renewBearer('acc-1', 'newer', clock.now() + 60 * minute);
    expect(await bearer()).toMatchObject({ token: 'newer' });
  });

  it('comes from another account when the pool has no newer one, and the old account goes back', async () => {
    const { clock, pool, losses, session, bearer } = await setUp({}, ['acc-1', 'acc-2'], [12_000]);
    await session.ensure();
    await clock.advance(3_000);
    expect(await bearer()).toMatchObject({ token: 'bearer-of-acc-2' });
    expect(await pool.held('s-1')).toEqual(['acc-2']);
    expect(losses).toMatchObject([{ reason: 'token_lapsed', accounts: [{ id: 'acc-1' }] }]);
  });

  it('is waited for when there is no other account', async () => {
    const { clock, pool, session, bearer } = await setUp({}, ['acc-1'], [12_000]);
    await session.ensure();
    await clock.advance(3_000);
    const waiting = bearer();
    await clock.advance(3_000);
    await pool.renewBearer('acc-1', 'newer', clock.now() + 60 * minute);
    await clock.advance(2_000);
    expect(await waiting).toMatchObject({ token: 'newer' });
  });

  it.each([{}, { accountId: 'acc-1' }])('is not waited for longer than was said %j', async (demand) => {
    const { clock, session, bearer } = await setUp({}, ['acc-1'], [12_000]);
    await session.ensure();
    await clock.advance(3_000);
    const failing = expect(bearer(demand)).rejects.toMatchObject({ code: 'no_account_available' });
    await clock.advance(5_000);
    await failing;
  });

  it('borrows again for a session that was lost', async () => {
    const { clock, pool, losses, session, bearer } = await setUp({ ttl_seconds: 120 });
    await session.ensure();
    await pool.end('s-1');
    await clock.advance(41_000);
    expect(session.accounts).toEqual([]);
    expect(await bearer()).toMatchObject({ account: { id: 'acc-1' } });
    expect(losses).toHaveLength(1);
    expect(await pool.held('s-1')).toEqual(['acc-1']);
  });

  it('stays good while the pool is away, until the lease lapses', async () => {
    const { clock, pool, session, bearer } = await setUp({ ttl_seconds: 120 });
    await session.ensure();
    pool.isAway = true;
    await clock.advance(100_000);
    expect(await bearer()).toMatchObject({ token: 'bearer-of-acc-1' });
    await clock.advance(20_000);
    await expect(bearer()).rejects.toMatchObject({ code: 'pool_unavailable' });
  });

  it('of an account the session does not hold is an error', async () => {
    const { session, bearer } = await setUp();
    await session.ensure();
    await expect(bearer({ accountId: 'acc-9' })).rejects.toMatchObject({ code: 'account_not_found' });
  });

  it('is not waited for once the signal aborts', async () => {
    const { clock, session, bearer } = await setUp({}, ['acc-1'], [12_000]);
    await session.ensure();
    await clock.advance(3_000);
    const controller = new AbortController();
    const failing = expect(bearer({ accountId: 'acc-1', signal: controller.signal })).rejects.toThrow(
      'enough',
    );
    await clock.advance(500);
    controller.abort(new Error('enough'));
    await failing;
  });
});
