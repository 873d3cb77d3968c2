import { describe, expect, it, onTestFinished } from 'vitest';
import { createManualClock } from '../gateway/testing/manual-clock.ts';
import { startLendingPool } from '../pool/testing/lending-pool.ts';
import { type BlockLease, type BlockOptions, LeaseBlock } from './lease-block.ts';
import type { ReportItem } from './schema.ts';

async function setUp(options: BlockOptions, ids = ['acc-1', 'acc-2', 'acc-3']) {
  const clock = createManualClock();
  const pool = await startLendingPool(clock);
  for (const id of ids) await pool.add(id);
  const reports: ReportItem[] = [];
  const block = new LeaseBlock(options, 'block:test', {
    timing: clock,
    pool,
    reports: { queue: (_sessionId, item) => void reports.push(item), flush: async () => {} },
  });
  onTestFinished(async () => {
    await block.close();
    await pool.close();
  });
  return {
    clock,
    pool,
    reports,
    block,
    tell: pool.emit,
  };
}

const idOf = (lease: BlockLease) => lease.account.id;

describe('a block of leases', () => {
  it.each(['provider', 'model'])('does not take an empty %s for none', async (name) => {
    const { pool, block } = await setUp({ count: 1, [name]: '' });
    await expect(block.take()).rejects.toMatchObject({ code: 'invalid_request', param: name });
    expect(await pool.lent()).toBe(0);
  });

  it('takes only accounts with one of its labels', async () => {
    const { pool, clock, block } = await setUp({ count: 3, labels: ['team-a', 'team-b'] });
    await pool.add('acc-4', { label: 'team-b' });
    await pool.add('acc-5', { label: 'team-c' });
    const lease = await block.take();
    expect(idOf(lease)).toBe('acc-4');
    const failing = expect(block.take({ waitMs: 3_000 })).rejects.toMatchObject({
      code: 'no_account_available',
    });
    await clock.advance(3_000);
    await failing;
    lease.release();
  });

  it('refuses an empty list of labels', async () => {
    const { block } = await setUp({ count: 1, labels: [] });
    await expect(block.take()).rejects.toMatchObject({ code: 'invalid_request', param: 'labels' });
  });

  it('makes one call for many turns that follow each other', async () => {
    const { pool, block } = await setUp({ count: 3 });
    for (let turn = 0; turn < 10; turn += 1) {
      using lease = await block.take();
      expect(lease.token).toBe('bearer-of-acc-1');
    }
    expect(pool.allocations).toHaveLength(1);
    expect(pool.allocations[0]).toMatchObject({
      session_id: 'block:test',
      count: 1,
      exclusive: true,
      ttl_seconds: 120,
    });
  });

  it('borrows more accounts while turns wait, up to its count', async () => {
    const { pool, clock, block } = await setUp({ count: 2 });
    const leases = await Promise.all([block.take(), block.take()]);
    expect(leases.map(idOf).sort()).toEqual(['acc-1', 'acc-2']);
    const failing = expect(block.take({ waitMs: 3_000 })).rejects.toMatchObject({
      code: 'no_account_available',
    });
    await clock.advance(3_000);
    await failing;
    expect(await pool.held('block:test')).toHaveLength(2);
    for (const lease of leases) lease.release();
  });

  it('never runs more turns on an account than it has slots', async () => {
    const { clock, block } = await setUp({ count: 2, slots: 3 });
    let most = 0;
    const running = new Map<string, number>();
    const turns = Array.from({ length: 40 }, async (_, index) => {
      using lease = await block.take();
      const id = idOf(lease);
      running.set(id, (running.get(id) ?? 0) + 1);
      most = Math.max(most, ...running.values());
      await new Promise<void>((resolve) => clock.after(10 + (index % 7), resolve));
      running.set(id, (running.get(id) ?? 0) - 1);
    });
    await clock.advance(5_000);
    await Promise.all(turns);
    expect(most).toBe(3);
    expect(block.turns).toBe(0);
  });

  it('serves those who wait in the order they came', async () => {
    const { clock, block } = await setUp({ count: 1 });
    const first = await block.take();
    const order: number[] = [];
    const waiting = [1, 2, 3, 4].map(async (number) => {
      const lease = await block.take();
      order.push(number);
      await new Promise<void>((resolve) => clock.after(5, resolve));
      lease.release();
    });
    await clock.advance(10);
    expect(block.waiting).toBe(4);
    first.release();
    await clock.advance(100);
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3, 4]);
  });

  it('lets nobody who comes later overtake one who waits', async () => {
    const { clock, block } = await setUp({ count: 1 });
    const first = await block.take();
    const second = block.take();
    await clock.advance(10);
    first.release();
    const third = block.take();
    const lease = await second;
    expect(block.waiting).toBe(1);
    lease.release();
    (await third).release();
  });

  it('does not keep a free place from one who comes later while those before want another account', async () => {
    const { clock, block } = await setUp({ count: 2 }, ['acc-1', 'acc-2']);
    const [one, two] = await Promise.all([block.take(), block.take()]);
    const picky = block.take({ exclude: [idOf(one)] });
    await clock.advance(10);
    one.release();
    await clock.advance(10);
    using free = await block.take({ waitMs: 0 });
    expect(idOf(free)).toBe(idOf(one));
    two.release();
    (await picky).release();
  });

  it('forgets a waiting turn whose signal aborts, and its slot goes to the next', async () => {
    const { clock, block } = await setUp({ count: 1 });
    const first = await block.take();
    const controller = new AbortController();
    const failing = expect(block.take({ signal: controller.signal })).rejects.toThrow('enough');
    const next = block.take();
    controller.abort(new Error('enough'));
    await failing;
    first.release();
    await clock.advance(1);
    (await next).release();
    expect(block.turns).toBe(0);
  });

  it('takes a double release as one', async () => {
    const { block } = await setUp({ count: 1, slots: 2 });
    const lease = await block.take();
    const other = await block.take();
    lease.release();
    lease.release();
    expect(block.turns).toBe(1);
    other.release();
  });

  it('gives back what lies idle, and the session with the last account', async () => {
    const { clock, pool, block } = await setUp({ count: 2, idleMs: 30_000 });
    const [one, two] = await Promise.all([block.take(), block.take()]);
    one.release();
    await clock.advance(31_000);
    expect(await pool.held('block:test')).toEqual([idOf(two)]);
    two.release();
    await clock.advance(31_000);
    expect(await pool.held('block:test')).toEqual([]);
    expect(block.accounts).toEqual([]);
    using again = await block.take();
    expect(again.isHeld).toBe(true);
  });

  it('keeps its minimum although nothing runs', async () => {
    const { clock, pool, block } = await setUp({ count: 3, minimum: 1, idleMs: 30_000 });
    for (const lease of await Promise.all([block.take(), block.take(), block.take()])) lease.release();
    await clock.advance(300_000);
    expect(await pool.held('block:test')).toHaveLength(1);
  });

  it('renews its session while turns run', async () => {
    const { clock, block } = await setUp({ count: 1 });
    const lease = await block.take();
    await clock.advance(600_000);
    expect(lease.isHeld).toBe(true);
    lease.release();
  });

  it('uses another account for a turn that excludes those it has', async () => {
    const { block } = await setUp({ count: 2 });
    const first = await block.take();
    const id = idOf(first);
    first.release();
    using second = await block.take({ exclude: [id] });
    expect(idOf(second)).not.toBe(id);
  });

  it('changes an idle account for another when it may hold no more', async () => {
    const { pool, block } = await setUp({ count: 1 });
    const first = await block.take();
    const id = idOf(first);
    first.release();
    using second = await block.take({ exclude: [id] });
    expect(idOf(second)).not.toBe(id);
    expect(await pool.held('block:test')).toEqual([idOf(second)]);
  });

  it('uses the preferred account where it is free', async () => {
    const { block } = await setUp({ count: 3, slots: 2 });
    const leases = await Promise.all(Array.from({ length: 6 }, () => block.take()));
    for (const lease of leases) lease.release();
    using preferred = await block.take({ prefer: 'acc-3' });
    expect(idOf(preferred)).toBe('acc-3');
  });

  it('starts no turn on an account that was disabled, and gives it back when its last turn ends', async () => {
    const { clock, pool, block, tell } = await setUp({ count: 1, slots: 4 }, ['acc-1', 'acc-2']);
    const running = await block.take();
    const id = idOf(running);
    await pool.setState(id, 'disabled');
    tell({ type: 'account-changed', account_id: id, provider: 'warp', status: 'disabled', free: false });
    const next = block.take();
    await clock.advance(2_000);
    expect(block.waiting).toBe(1);
    running.release();
    await clock.advance(2_000);
    using lease = await next;
    expect(idOf(lease)).not.toBe(id);
    expect(await pool.held('block:test')).toEqual([idOf(lease)]);
  });

  it('gives an idle account back at once when somebody waits for it, and keeps a busy one', async () => {
    const { clock, pool, block, tell } = await setUp({ count: 2 });
    const [busy, idle] = await Promise.all([block.take(), block.take()]);
    idle.release();
    tell({ type: 'lease-wanted', account_ids: [idOf(busy), idOf(idle)] });
    await clock.advance(0);
    expect(await pool.held('block:test')).toEqual([idOf(busy)]);
    busy.release();
  });

  it('goes on with what it has while the pool is away', async () => {
    const { clock, pool, block } = await setUp({ count: 1, slots: 2 });
    (await block.take()).release();
    pool.isAway = true;
    await clock.advance(20_000);
    using lease = await block.take();
    expect(lease.isHeld).toBe(true);
    await clock.advance(110_000);
    expect(lease.isHeld).toBe(false);
    const failing = expect(block.take({ waitMs: 2_000 })).rejects.toMatchObject({ code: 'pool_unavailable' });
    await clock.advance(2_000);
    await failing;
  });

  it('says when the pool took its account back, and borrows again for the next turn', async () => {
    const { clock, pool, block } = await setUp({ count: 1 }, ['acc-1']);
    const lease = await block.take();
    await pool.end('block:test');
    await clock.advance(60_000);
    expect(lease.isHeld).toBe(false);
    lease.release();
    using next = await block.take();
    expect(next.account.fence).toBeGreaterThan(lease.account.fence);
  });

  it('reports with the bearer its turn began with', async () => {
    const { block, reports } = await setUp({ count: 1 });
    using lease = await block.take();
    lease.report('success', { usage: { input_tokens: 5 } });
    expect(reports).toMatchObject([
      { account_id: 'acc-1', fence: 1, token_version: 1, outcome: 'success', usage: { input_tokens: 5 } },
    ]);
    expect(() => lease.report('success', { usage: { input_tokens: -5 } })).toThrow(/usage.input_tokens/);
  });

  it('ends what waits and gives everything back when it is closed', async () => {
    const { clock, pool, block } = await setUp({ count: 1 });
    await block.take();
    const failing = expect(block.take()).rejects.toMatchObject({ code: 'shutting_down' });
    await clock.advance(10);
    await block.close();
    await failing;
    expect(await pool.held('block:test')).toEqual([]);
    await clock.advance(600_000);
    expect(clock.waiting - pool.timers).toBe(0);
    await expect(block.take()).rejects.toMatchObject({ code: 'shutting_down' });
  });

  it.each([
    [{ count: 0 }, 'count'],
    [{ count: 1, slots: 2, exclusive: true }, 'slots'],
    [{ count: 1, minimum: 2 }, 'minimum'],
  ])('refuses %j by naming %s', async (options, param) => {
    await expect(setUp(options)).rejects.toThrow(expect.objectContaining({ code: 'invalid_request', param }));
  });
});
