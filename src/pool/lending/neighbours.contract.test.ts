import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { openPostgres } from '../../db/postgres.ts';
import { systemClock } from '../../lib/clock.ts';
import type { PoolEvent } from '../../pool-api/schema.ts';
import type { PoolService } from '../create-pool.ts';
import { openPostgresStore } from '../store/postgres/postgres-store.ts';
import { freshDatabase } from '../store/testing/postgres-database.ts';
import { startTestPool } from '../testing/test-pool.ts';

const admin = { role: 'admin', keyId: 'local', isGateway: false } as const;
/** Real time: what is waited for here is another connection. */
const clock = { ...systemClock, advance: () => {} };
const gateway = { role: 'borrower', keyId: 'gateway', isGateway: true } as const;

/** Two pools in two processes, as far as they can tell. */
async function startNeighbours(time = clock): Promise<{
  url: string;
  one: PoolService;
  other: PoolService;
  heard: PoolEvent[];
}> {
  const url = await freshDatabase();
  const start = async (): Promise<PoolService> => {
    const store = await openPostgresStore(url, { auditsLeases: true });
    const { pool } = await startTestPool({}, { store, clock: time });
    onTestFinished(() => pool.close());
    return pool;
  };
  const one = await start();
  const other = await start();
  const heard: PoolEvent[] = [];
  other.events.listen(({ event }) => heard.push(event));
  return { url, one, other, heard };
}

describe('two pools on one PostgreSQL database', () => {
  it('hear of an account that the other adds, disables and removes, within a second', async () => {
    const { one, heard } = await startNeighbours();
    const { account } = await one.add(admin, { provider: 'warp', api_key: 'wk-1' });
    await vi.waitFor(() => expect(heard).toContainEqual(changed(account.id, 'active')));
    await one.change(admin, account.id, { enabled: false });
    await vi.waitFor(() => expect(heard).toContainEqual(changed(account.id, 'disabled')));
    await one.remove(admin, account.id);
    const removed = { type: 'account-removed', account_id: account.id, provider: 'warp' };
    await vi.waitFor(() => expect(heard).toContainEqual(removed));
  });

  it('take no notice of what other programs send to their channel', async () => {
    const { url, one, heard } = await startNeighbours();
    const db = await openPostgres(url);
    const stranger = { from: 'me' };
    const messages = [
      '',
      'x',
      '[',
      '['.repeat(7_000),
      'null',
      '{}',
      JSON.stringify(stranger),
      JSON.stringify({ ...stranger, news: null }),
      JSON.stringify({ ...stranger, news: { type: 'changes' } }),
      JSON.stringify({ ...stranger, news: { type: 'changes', changes: { accounts: [{}], hasFreed: true } } }),
      JSON.stringify({ ...stranger, news: { type: 'wanted', accountIds: [{}] } }),
    ];
    await db.writing.run("SELECT pg_notify('warp2api_pool', text) FROM unnest($1::text[]) AS text", messages);
    await db.close();
    const { account } = await one.add(admin, { provider: 'warp', api_key: 'wk-1' });
    await vi.waitFor(() => expect(heard).toContainEqual(changed(account.id, 'active')));
    expect(heard).toHaveLength(1);
  });

  it('give a place that comes free at the one to who waits for it at the other', async () => {
    // No timer has its turn: the other looks when it hears of the place.
    const { one, other } = await startNeighbours({ ...clock, after: () => () => {} });
    await one.add(admin, { provider: 'warp', api_key: 'wk-1' });
    const held = await one.allocate(admin, {});
    const waiting = other.allocate(admin, { wait_ms: 9000 });
    await vi.waitFor(async () => expect(await other.metrics()).toContain('warp2api_pool_waiting 1\n'));
    await one.release(admin, { session_id: held.answer.session_id });
    expect((await waiting).answer.accounts).toHaveLength(1);
  });

  it('ask each other’s gateways for leases that stand in the way', async () => {
    const { one, other, heard } = await startNeighbours();
    const { account } = await one.add(admin, { provider: 'warp', api_key: 'wk-1' });
    const held = await other.allocate(gateway, { exclusive: false });
    const waiting = one.allocate(admin, { wait_ms: 5000 });
    await vi.waitFor(() => expect(heard).toContainEqual({ type: 'lease-wanted', account_ids: [account.id] }));
    await other.release(gateway, { session_id: held.answer.session_id });
    expect((await waiting).answer.accounts).toMatchObject([{ id: account.id }]);
  });

  it('offer no sandbox account once the other has a real one', async () => {
    const url = await freshDatabase();
    const open = () => openPostgresStore(url, { auditsLeases: true });
    const { pool: one } = await startTestPool({ sandbox: true }, { store: await open(), clock });
    const { pool: other } = await startTestPool({}, { store: await open(), clock });
    onTestFinished(async () => {
      await one.close();
      await other.close();
    });
    expect((await one.health()).isSandbox).toBe(true);
    await other.add(admin, { provider: 'warp', api_key: 'wk-1' });
    await vi.waitFor(async () => expect((await one.health()).isSandbox).toBe(false));
  });
});

function changed(id: string, status: string): object {
  return expect.objectContaining({ type: 'account-changed', account_id: id, status });
}
