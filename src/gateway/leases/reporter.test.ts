import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Outcome } from '../../core/outcome.ts';
import { type LendingPool, startLendingPool } from '../../pool/testing/lending-pool.ts';
import type { TurnLease } from '../../pool-api/waiting-turns.ts';
import { createManualClock, type ManualClock, settled } from '../testing/manual-clock.ts';
import { Reporter } from './reporter.ts';

let clock: ManualClock;
let pool: LendingPool;
let reporter: Reporter;
let lease: Pick<TurnLease, 'account' | 'sessionId'>;

beforeEach(async () => {
  clock = createManualClock();
  pool = await startLendingPool(clock);
  await pool.add('one');
  reporter = new Reporter(pool, { noteReport() {}, retireFree() {} }, clock, pino({ level: 'silent' }));
  lease = await borrow('session-1');
});

afterEach(() => pool.close());

async function borrow(sessionId: string): Promise<typeof lease> {
  const { accounts } = await pool.allocate({ session_id: sessionId, provider: 'warp', exclusive: false });
  const [account] = accounts;
  if (!account) throw new Error('no account');
  return { account, sessionId };
}

async function reportMany(outcome: Outcome, count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await reporter.report(lease, { outcome });
}

/** Each of another lease, so that they are not added up. */
async function reportOfMany(outcome: Outcome, count: number, first = 1): Promise<void> {
  for (let fence = first; fence < first + count; fence += 1) {
    await reporter.report({ ...lease, account: { ...lease.account, fence } }, { outcome });
  }
}

/** How many turns the reports that the pool has got stand for. */
function turnsReported(): number {
  return pool.reports.reduce((sum, { usage }) => sum + (usage?.turns ?? 1), 0);
}

it('sends successes together, a second after the first', async () => {
  const other = await borrow('session-2');
  void reporter.report(lease, {
    outcome: 'success',
    usage: { inputTokens: 3, outputTokens: 4, credits: 0.5, costCents: 0.25 },
  });
  void reporter.report(lease, { outcome: 'success' });
  void reporter.report(other, { outcome: 'success' });
  await clock.advance(900);
  expect(pool.reports).toEqual([]);
  await clock.advance(200);
  expect(pool.reportCalls).toBe(2);
  expect(pool.reports.length).toBe(2);
  expect(pool.reports[0]).toMatchObject({
    account_id: 'one',
    fence: lease.account.fence,
    token_version: 1,
    usage: { turns: 2, input_tokens: 3, output_tokens: 4, credits: 0.5, cost_cents: 0.25 },
  });
  expect(reporter.pending).toBe(0);
});

it('adds up what leaves an account as it is: one report for a lease, however many turns', async () => {
  const usage = { inputTokens: 3, outputTokens: 4, credits: 0.5 };
  for (let turn = 0; turn < 2_000; turn += 1) {
    void reporter.report(lease, { outcome: 'success', usage });
    void reporter.report(lease, { outcome: 'cancelled' });
  }
  expect(reporter.pending).toBe(4_000);
  await clock.advance(1_100);
  expect(pool.reports).toMatchObject([
    {
      outcome: 'success',
      usage: { turns: 2_000, input_tokens: 6_000, output_tokens: 8_000, credits: 1_000 },
    },
    { outcome: 'cancelled', usage: { turns: 2_000 } },
  ]);
  expect(reporter.pending).toBe(0);
});

it('adds nothing to a report that the pool may have counted already', async () => {
  await reportMany('success', 2);
  pool.isAway = true;
  await clock.advance(1_100);
  await reportMany('success', 3);
  pool.isAway = false;
  await clock.advance(1_100);
  expect(pool.reports).toMatchObject([{ usage: { turns: 2 } }, { usage: { turns: 3 } }]);
});

it('does not add a success to one from before an incident', async () => {
  pool.isAway = true;
  await reportMany('success', 1);
  await reportMany('unavailable', 1);
  await reportMany('success', 2);
  pool.isAway = false;
  await clock.advance(1_100);
  expect(pool.reports.map((item) => item.outcome)).toEqual(['success', 'unavailable', 'success']);
  expect(turnsReported()).toBe(4);
});

it('begins another report where the sum is more than the pool takes', async () => {
  const usage = { inputTokens: 6e8, outputTokens: 0 };
  for (let turn = 0; turn < 3; turn += 1) void reporter.report(lease, { outcome: 'success', usage });
  await clock.advance(1_100);
  expect(pool.reports.map((item) => item.usage?.input_tokens)).toEqual([6e8, 6e8, 6e8]);
});

it('does not wait for the second when there are many', async () => {
  await reportOfMany('success', 200);
  await settled();
  expect(pool.reports.length).toBe(200);
});

it('lets successes that come while others are sent wait for the next batch', async () => {
  await reportMany('success', 1);
  const gate = Promise.withResolvers<void>();
  pool.gate = gate.promise;
  await clock.advance(1_000);
  await reportMany('success', 2);
  gate.resolve();
  await clock.advance(900);
  expect(pool.reportCalls).toBe(1);
  await clock.advance(200);
  expect(pool.reportCalls).toBe(2);
  expect(turnsReported()).toBe(3);
});

it('sends an incident at once and hands back what the pool says', async () => {
  expect(await reporter.report(lease, { outcome: 'rate_limited', retryAfterMs: 1500.4 })).toMatchObject({
    result: 'applied',
    status: 'cooldown',
  });
  expect(pool.reports[0]).toMatchObject({ outcome: 'rate_limited', retry_after_ms: 1500 });
});

it('does not let a slow pool hold up a turn for more than five seconds, and still tells it', async () => {
  const gate = Promise.withResolvers<void>();
  pool.gate = gate.promise;
  let result: unknown = 'waiting';
  void reporter.report(lease, { outcome: 'unavailable' })?.then((given) => {
    result = given;
  });
  await clock.advance(4_900);
  expect(result).toBe('waiting');
  await clock.advance(200);
  expect(result).toBeUndefined();
  pool.isAway = true;
  gate.resolve();
  await settled();
  pool.isAway = false;
  await clock.advance(1_100);
  expect(pool.reports).toMatchObject([{ outcome: 'unavailable' }]);
});

it('sends the reports of a session in order, an incident after what waits, under ids that rise', async () => {
  const gate = Promise.withResolvers<void>();
  pool.gate = gate.promise;
  await reportMany('success', 2);
  await clock.advance(1_100);
  await reportMany('success', 1);
  void reporter.report(lease, { outcome: 'unavailable' });
  await settled();
  expect(pool.reports).toEqual([]);
  gate.resolve();
  await settled();
  expect(pool.reports.map((item) => item.outcome)).toEqual(['success', 'success', 'unavailable']);
  expect(turnsReported()).toBe(4);
  expect(pool.reportCalls).toBe(2);
  const ids = pool.reports.map((item) => /^(seq-\S+)\.(\d+)$/.exec(item.report_id)?.slice(1) ?? []);
  expect(new Set(ids.map(([prefix]) => prefix)).size).toBe(1);
  const numbers = ids.map(([, number]) => Number(number));
  expect(numbers).toEqual([...new Set(numbers)].sort((one, other) => one - other));
});

it('keeps reports while the pool is away and sends them later, the incidents too', async () => {
  pool.isAway = true;
  await reportMany('success', 3);
  await reporter.report(lease, { outcome: 'unavailable' });
  await clock.advance(10_000);
  expect(pool.reports).toEqual([]);
  expect(reporter.pending).toBe(4);
  pool.isAway = false;
  await clock.advance(1_100);
  expect(pool.reports.map((item) => item.outcome)).toEqual(['success', 'unavailable']);
  expect(turnsReported()).toBe(4);
});

it('keeps at most a thousand, dropping successes first', async () => {
  pool.isAway = true;
  await reportOfMany('success', 900);
  await reportMany('unavailable', 300);
  expect(reporter.pending).toBe(1000);
  await clock.advance(5_000);
  expect(reporter.pending).toBe(1000);
  await reportMany('timeout', 900);
  await clock.advance(5_000);
  expect(reporter.pending).toBe(1000);
  pool.isAway = false;
  await clock.advance(1_100);
  const counts = Map.groupBy(pool.reports, (item) => item.outcome);
  expect(counts.has('success')).toBe(false);
  expect(counts.get('timeout')?.length).toBe(900);
});

it('asks a pool that is away once a second, not once a report', async () => {
  pool.isAway = true;
  let calls = 0;
  const { report } = pool;
  pool.report = (request) => {
    calls += 1;
    return report(request);
  };
  await reportOfMany('success', 300);
  await clock.advance(1_100);
  calls = 0;
  await reportOfMany('success', 300);
  await settled();
  expect(calls).toBe(0);
  await clock.advance(3_000);
  expect(calls).toBeLessThanOrEqual(3);
});

it('counts what is under way against the bound', async () => {
  const gate = Promise.withResolvers<void>();
  pool.gate = gate.promise;
  await reportOfMany('success', 800);
  await clock.advance(1_100);
  await reportOfMany('success', 800, 1_000);
  expect(reporter.pending).toBeLessThanOrEqual(1000);
  gate.resolve();
  await clock.advance(3_000);
  expect(reporter.pending).toBe(0);
});

it('brings figures of an upstream into the bounds the pool takes', async () => {
  const usage = { inputTokens: -5, outputTokens: Number.NaN, credits: -1, costCents: -2 };
  const odd = { usage, retryAfterMs: 1e15, resetAt: new Date(Number.NaN) };
  await reporter.report(lease, { outcome: 'rate_limited', ...odd });
  const [item] = pool.reports;
  expect(item?.usage).toEqual({ input_tokens: 0, output_tokens: 0, credits: 0, cost_cents: 0 });
  expect(item?.retry_after_ms).toBe(31 * 86_400_000);
  expect(item).not.toHaveProperty('reset_at');
  const much = { inputTokens: Number.MAX_SAFE_INTEGER, outputTokens: 1e300, credits: Number.MAX_VALUE };
  await reporter.report(lease, { outcome: 'rate_limited', usage: much });
  expect(pool.reports[1]?.usage).toEqual({ input_tokens: 1e9, output_tokens: 1e9, credits: 1e9 });
});

it('sends what is left when it closes, and leaves no timer', async () => {
  await reportMany('success', 2);
  await reportMany('cancelled', 1);
  await reporter.close();
  expect(turnsReported()).toBe(3);
  expect(clock.waiting - pool.timers).toBe(0);
});

it('closes with the pool away', async () => {
  pool.isAway = true;
  await reportMany('success', 2);
  await reporter.close();
  expect(clock.waiting - pool.timers).toBe(0);
});
