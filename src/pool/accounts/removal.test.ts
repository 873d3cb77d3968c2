import { describe, expect, it, vi } from 'vitest';
import type { PoolEvent } from '../../pool-api/schema.ts';
import { startTestPool } from '../testing/test-pool.ts';

const day = 86_400_000;
const owner = { role: 'admin', keyId: 'owner', isGateway: false } as const;

async function poolWithDead(retireAfterMs: number | null) {
  const parts = await startTestPool({ retireAfterMs });
  const add = async (key: string) =>
    (await parts.pool.add(owner, { provider: 'warp', api_key: key })).account.id;
  const events: PoolEvent[] = [];
  parts.pool.events.listen(({ event }) => events.push(event));
  const ids = async () => (await parts.pool.list({})).accounts.map((account) => account.id);
  return { ...parts, add, events, ids };
}

/** Lets the housekeeper do its rounds up to a time. */
async function passTime(parts: Awaited<ReturnType<typeof poolWithDead>>, ms: number): Promise<void> {
  parts.clock.advance(ms - 5000);
  // One round more: a round under way skips the time it took.
  for (let round = 0; round < 2; round += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    parts.clock.advance(2500);
  }
}

describe('accounts beyond use', () => {
  it('are removed after their time with an audit line and an event; others stay', async () => {
    const parts = await poolWithDead(30 * day);
    const [kept, dead] = [await parts.add('kept'), await parts.add('dead')];
    await parts.pool.change(owner, dead, { enabled: false });
    await passTime(parts, 29 * day);
    expect(await parts.ids()).toEqual([kept, dead]);
    await passTime(parts, day + 10_000);
    await vi.waitFor(async () => expect(await parts.ids()).toEqual([kept]));
    expect(parts.events).toContainEqual({ type: 'account-removed', account_id: dead, provider: 'warp' });
    const [entry] = (await parts.pool.trail({})).entries;
    expect(entry).toMatchObject({
      actor: 'housekeeper',
      action: 'account-removed',
      account_id: dead,
      detail: { status: 'disabled' },
    });
    await parts.pool.close();
  });

  it('begin their time anew when they were in service meanwhile', async () => {
    const parts = await poolWithDead(30 * day);
    const id = await parts.add('one');
    await parts.pool.change(owner, id, { enabled: false });
    await passTime(parts, 20 * day);
    await parts.pool.change(owner, id, { enabled: true });
    await parts.pool.change(owner, id, { enabled: false });
    await passTime(parts, 20 * day);
    expect(await parts.ids()).toEqual([id]);
    await parts.pool.close();
  });

  it('are kept for ever when no time is set', async () => {
    const parts = await poolWithDead(null);
    const id = await parts.add('one');
    await parts.pool.change(owner, id, { enabled: false });
    await passTime(parts, 4000 * day);
    expect(await parts.ids()).toEqual([id]);
    await parts.pool.close();
  });
});
