import { expect, it, onTestFinished } from 'vitest';
import type { AllocateAnswer } from '../../pool-api/schema.ts';
import type { Caller } from '../base/basics.ts';
import { openMemoryStore } from '../store/open-store.ts';
import { createTestClock, pass, startTestPool, type TestPool } from '../testing/test-pool.ts';

/** The default of SESSION_TIMEOUT_MINUTES. */
const timeout = 30 * 60_000;
const owner: Caller = { role: 'admin', keyId: 'owner', isGateway: false };
const program: Caller = { role: 'borrower', keyId: 'program', isGateway: false };
const gateway: Caller = { role: 'borrower', keyId: 'gateway', isGateway: true };

const clock = createTestClock();

/** With three accounts, and a session `mine` that holds two of them. */
async function startLending(caller = program, change = {}) {
  const kept = openMemoryStore(clock.now(), { auditsLeases: true });
  const store = { ...kept, close: async () => {} };
  const start = () => startTestPool({}, { store, clock });
  const parts = await start();
  onTestFinished(async () => {
    await parts.pool.close();
    await kept.close();
  });
  for (const key of ['one', 'two', 'three']) await parts.pool.add(owner, { provider: 'warp', api_key: key });
  const { answer } = await parts.pool.allocate(caller, { session_id: 'mine', count: 2, ...change });
  return { parts, start, lent: answer };
}

const sessionsOf = async ({ pool }: TestPool) => (await pool.status()).active_sessions;
const heldIn = async ({ pool }: TestPool) => (await pool.status()).pool_stats.in_use;
const reportOf = ({ accounts: [account] }: AllocateAnswer, outcome = 'success') => ({
  report_id: 'r',
  account_id: account?.id,
  fence: account?.fence,
  token_version: account?.token_version,
  outcome,
  at: '2026-01-01T00:00:00Z',
});

it('a session ends with all its accounts when it has been idle for 30 minutes, to the millisecond', async () => {
  const { parts, lent } = await startLending();
  expect(Date.parse(lent.expires_at) - clock.now()).toBe(timeout);
  clock.advance(timeout - 1);
  expect([await sessionsOf(parts), await heldIn(parts)]).toEqual([1, 2]);
  const taking = parts.pool.allocate(program, { session_id: 'other', count: 3 });
  await expect(taking).rejects.toMatchObject({ code: 'no_account_available' });
  clock.advance(1);
  // Before the housekeeper has been here.
  expect(await sessionsOf(parts)).toBe(0);
  const { answer } = await parts.pool.allocate(program, { session_id: 'other', count: 3 });
  expect(answer.accounts).toHaveLength(3);
  const { results } = await parts.pool.report(program, { session_id: 'mine', reports: [reportOf(lent)] });
  expect(results).toMatchObject([{ result: 'stale' }]);
  const releasing = parts.pool.release(program, { session_id: 'mine' });
  await expect(releasing).rejects.toMatchObject({ code: 'session_not_found' });
});

it('the housekeeper takes back what an idle session held', async () => {
  const { parts } = await startLending();
  await pass(clock, timeout + 5_000, 5_000);
  const { accounts } = await parts.pool.list({});
  expect(accounts.map(({ holders }) => holders)).toEqual([0, 0, 0]);
});

it.each<[string, (parts: TestPool, lent: AllocateAnswer) => Promise<unknown>, boolean]>([
  ['a call for what it holds', ({ pool }) => pool.allocate(program, { session_id: 'mine' }), true],
  [
    'a call for more than there is',
    ({ pool }) => pool.allocate(program, { session_id: 'mine', count: 4 }).catch(() => {}),
    true,
  ],
  [
    'a report',
    ({ pool }, lent) => pool.report(program, { session_id: 'mine', reports: [reportOf(lent)] }),
    true,
  ],
  [
    'a report that is stale',
    ({ pool }, lent) =>
      pool.report(program, { session_id: 'mine', reports: [{ ...reportOf(lent), fence: 99 }] }),
    true,
  ],
  ['an empty report', ({ pool }) => pool.report(program, { session_id: 'mine', reports: [] }), true],
  ['a look at the pool', ({ pool }) => pool.status(), false],
  ['a call of another session', ({ pool }) => pool.allocate(program, { session_id: 'other' }), false],
  [
    'a report of another key',
    ({ pool }) => pool.report(gateway, { session_id: 'mine', reports: [] }).catch(() => {}),
    false,
  ],
])('what renews a session: %s', async (_name, touch, isRenewed) => {
  const { parts, lent } = await startLending();
  clock.advance(timeout - 1);
  await touch(parts, lent);
  const isThere = async () => {
    const { sessions } = await parts.pool.listSessions({});
    return sessions.some(({ id }) => id === 'mine');
  };
  clock.advance(1);
  expect(await isThere()).toBe(isRenewed);
  clock.advance(timeout - 2);
  expect(await isThere()).toBe(isRenewed);
  clock.advance(1);
  expect(await isThere()).toBe(false);
});

it('giving some accounts back leaves the others, and their time', async () => {
  const { parts, lent } = await startLending();
  const [first] = lent.accounts;
  clock.advance(timeout - 1);
  await parts.pool.release(program, { session_id: 'mine', leases: [{ id: first?.id, fence: first?.fence }] });
  expect([await sessionsOf(parts), await heldIn(parts)]).toEqual([1, 1]);
  clock.advance(1);
  expect([await sessionsOf(parts), await heldIn(parts)]).toEqual([0, 0]);
});

it("a gateway's session lasts as long as it says, and a restart of the pool neither ends nor prolongs one", async () => {
  const { parts, start } = await startLending(gateway, { ttl_seconds: 120, exclusive: false, slots: 4 });
  await parts.pool.allocate(program, { session_id: 'long' });
  clock.advance(60_000);
  await parts.pool.close();
  const again = await start();
  onTestFinished(() => again.pool.close());
  clock.advance(59_999);
  expect(await sessionsOf(again)).toBe(2);
  clock.advance(1);
  expect(await sessionsOf(again)).toBe(1);
  clock.advance(timeout - 120_001);
  expect(await sessionsOf(again)).toBe(1);
  clock.advance(1);
  expect(await sessionsOf(again)).toBe(0);
});
