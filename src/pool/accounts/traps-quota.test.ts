import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import type { QuotaAnswer } from '../../core/provider.ts';
import { listAnswer } from '../../pool-api/account-schema.ts';
import type { Caller } from '../base/basics.ts';
import { openStore } from '../store/open-store.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { createTestClock, startTestPool, type TestPool } from '../testing/test-pool.ts';

/** What users of other gateways suffered from, as behaviour that must hold here. */

const admin: Caller = { role: 'admin', keyId: 'key-1', isGateway: false };
/** Has read the provider's answers itself. */
const gateway: Caller = { role: 'borrower', keyId: 'gateway', isGateway: true };
const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

const spent: QuotaAnswer = { isUnlimited: false, limit: 100, used: 100, remaining: 0 };
const plenty: QuotaAnswer = { isUnlimited: false, limit: 100, used: 0, remaining: 100 };

async function add(parts: TestPool, key: string, change: object = {}): Promise<string> {
  return (await parts.pool.add(admin, { provider: 'warp', api_key: key, ...change })).account.id;
}

/** Borrows an account, or that one, and reports what came of it. */
async function turn(parts: TestPool, outcome: string, change: object = {}, prefer?: string): Promise<string> {
  const { answer } = await parts.pool.allocate(gateway, prefer === undefined ? {} : { prefer });
  const account = answer.accounts[0];
  if (account === undefined) throw new Error('no account was lent');
  await parts.pool.report(gateway, {
    session_id: answer.session_id,
    reports: [
      {
        report_id: `r-${parts.clock.now()}-${Math.random()}`,
        account_id: account.id,
        fence: account.fence,
        token_version: account.token_version,
        outcome,
        at: new Date(parts.clock.now()).toISOString(),
        ...change,
      },
    ],
  });
  await settle();
  await parts.pool.release(gateway, { session_id: answer.session_id });
  return account.id;
}

const accountOf = async (parts: TestPool, id: string) => (await parts.pool.get(id)).account;

/** Lets what nobody waits for come to its end. */
async function settle(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves time on in rounds of the housekeeper. */
async function pass(parts: TestPool, ms: number, stepMs = 5 * second): Promise<void> {
  for (let gone = 0; gone < ms; gone += stepMs) {
    parts.clock.advance(stepMs);
    await settle();
  }
}

it('figures and times that no plan has are brought into bounds, and every account can still be shown', async () => {
  const parts = await startTestPool();
  parts.warp.quotas.set('wk-1', {
    isUnlimited: false,
    limit: 1e308,
    used: Number.NaN,
    remaining: Number.POSITIVE_INFINITY,
    resetAt: new Date(8.64e15),
  });
  parts.warp.quotas.set('wk-2', { isUnlimited: false, remaining: 1e308, resetAt: new Date(Number.NaN) });
  for (const key of ['wk-1', 'wk-2']) await add(parts, key);
  const { accounts } = listAnswer.parse(await parts.pool.list({ limit: 10 }));
  expect(accounts.map(({ quota }) => quota?.remaining)).toEqual([1e12, 1e12]);
  expect(accounts.map(({ quota }) => quota?.reset_at)).toEqual([null, null]);
  expect((await parts.pool.status()).pool_stats).toMatchObject({ available: 2 });
});

describe('an exhausted account', () => {
  it('is back when the quota is reset early, without a restart', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    parts.warp.quotas.set('wk-1', { ...spent, resetAt: new Date(parts.clock.now() + 150 * hour) });
    await turn(parts, 'quota_exhausted');
    expect(await accountOf(parts, id)).toMatchObject({ status: 'exhausted' });
    parts.warp.quotas.set('wk-1', plenty);
    await pass(parts, 16 * minute);
    expect(await accountOf(parts, id)).toMatchObject({ status: 'active', quota: { remaining: 100 } });
  });

  it('is back at its reset by itself, even if nobody can be asked', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    parts.warp.quotas.set('wk-1', { ...spent, resetAt: new Date(parts.clock.now() + 2 * hour) });
    await turn(parts, 'quota_exhausted');
    parts.warp.quotas.set('wk-1', new AppError('upstream_unavailable', 'down'));
    await pass(parts, 110 * minute, minute);
    expect(await accountOf(parts, id)).toMatchObject({ status: 'exhausted' });
    await pass(parts, 11 * minute, minute);
    expect(await accountOf(parts, id)).toMatchObject({ status: 'active' });
  });

  it('is not locked for ever where the provider names no reset, and stops answering', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    parts.warp.quotas.set('wk-1', spent);
    await turn(parts, 'quota_exhausted');
    expect(await accountOf(parts, id)).toMatchObject({ status: 'exhausted', status_until: null });
    parts.warp.quotas.set('wk-1', new AppError('upstream_unavailable', 'down'));
    await pass(parts, 16 * minute);
    // On trial: one holder finds out, and nobody else until it has.
    expect(await accountOf(parts, id)).toMatchObject({ status: 'active' });
    const { answer } = await parts.pool.allocate(admin, { exclusive: false });
    await expect(parts.pool.allocate(admin, { exclusive: false })).rejects.toMatchObject({
      code: 'no_account_available',
      shortage: { reasons: { half_open: 1 } },
    });
    await parts.pool.release(admin, { session_id: answer.session_id });
  });

  it('keeps why the provider denies it, and is asked every 15 min where no reset would help', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    const resetAt = new Date(parts.clock.now() + hour);
    parts.warp.quotas.set('wk-1', { ...plenty, resetAt, isAvailable: false, denialReason: 'DELINQUENT' });
    await turn(parts, 'quota_exhausted');
    expect(await accountOf(parts, id)).toMatchObject({
      status: 'exhausted',
      status_reason: 'quota_denied',
      status_until: null,
      status_evidence: { quota_query: { denial_reason: 'DELINQUENT', is_available: false } },
      quota: { remaining: 100, denial_reason: 'DELINQUENT' },
    });
    parts.warp.quotas.set('wk-1', { ...plenty, isAvailable: true });
    await pass(parts, 16 * minute);
    expect(await accountOf(parts, id)).toMatchObject({ status: 'active', quota: { denial_reason: null } });
  });
});

describe('an account whose allowance is spent', () => {
  it('is lent on where the provider lets it in, for it pays as it goes', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    parts.warp.quotas.set('wk-1', { ...spent, isAvailable: true });
    await turn(parts, 'quota_exhausted');
    expect(await accountOf(parts, id)).toMatchObject({ status: 'cooldown', status_reason: 'quota_left' });
    await pass(parts, 10 * second);
    expect(await accountOf(parts, id)).toMatchObject({ status: 'active', quota: { remaining: 0 } });
  });
});

describe('a passing 429', () => {
  it('is a rest of seconds, never an exhausted quota', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    await turn(parts, 'rate_limited');
    const { status, status_reason, status_until } = await accountOf(parts, id);
    expect([status, status_reason]).toEqual(['cooldown', 'rate_limited']);
    expect(Date.parse(status_until ?? '') - parts.clock.now()).toBe(5 * second);
  });

  it('taken for a spent quota by the provider itself is put right by the usage answer', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    parts.warp.quotas.set('wk-1', plenty);
    await turn(parts, 'quota_exhausted', { reset_at: '2026-01-01T05:00:00Z' });
    expect(await accountOf(parts, id)).toMatchObject({ status: 'cooldown', status_reason: 'quota_left' });
  });
});

describe("a request's own fault (400)", () => {
  it('never touches an account', async () => {
    const own: ErrorCode[] = [
      'invalid_request',
      'context_too_long',
      'model_not_found',
      'not_found',
      'too_large',
      'unsupported_media_type',
      'model_unavailable',
    ];
    expect(own.map((code) => new AppError(code, 'x').outcome)).toEqual(own.map(() => undefined));
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    const before = await accountOf(parts, id);
    // Nor is there an outcome by which a borrower could say so.
    await expect(turn(parts, 'invalid_request')).rejects.toMatchObject({ code: 'invalid_request' });
    expect(await accountOf(parts, id)).toMatchObject({ status: before.status, status_reason: null });
  });
});

describe('a cooldown', () => {
  it('survives a restart', async () => {
    const folder = temporaryFolder();
    const clock = createTestClock();
    const open = () => openStore(`sqlite:${join(folder, 'accounts.db')}`, { clock, onLost: () => {} });
    const first = await startTestPool({}, { clock, store: await open() });
    const id = await add(first, 'wk-1');
    await turn(first, 'rate_limited', { retry_after_ms: 30 * minute });
    const before = await accountOf(first, id);
    expect(before.status).toBe('cooldown');
    await first.pool.close();
    const again = await startTestPool({}, { clock, store: await open() });
    const { status, status_reason, status_until, status_evidence } = before;
    expect(await accountOf(again, id)).toMatchObject({
      status,
      status_reason,
      status_until,
      status_evidence,
    });
    await again.pool.close();
  });

  it('is never longer than an hour, whatever Retry-After says', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    await turn(parts, 'rate_limited', { retry_after_ms: 30 * 24 * hour });
    const { status_until } = await accountOf(parts, id);
    expect(Date.parse(status_until ?? '') - parts.clock.now()).toBe(hour);
  });
});

describe('one error', () => {
  it.each(['refused', 'unavailable', 'timeout', 'protocol', 'rate_limited'])(
    '%s disables nothing',
    async (outcome) => {
      const parts = await startTestPool();
      const id = await add(parts, 'wk-1');
      await add(parts, 'wk-2');
      await turn(parts, outcome, {}, id);
      expect(['active', 'cooldown']).toContain((await accountOf(parts, id)).status);
    },
  );

  it('is enough to disable nothing, and what three refusals disabled comes back when it is enabled', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    for (let time = 0; time < 3; time += 1) {
      await turn(parts, 'refused');
      await pass(parts, 16 * minute, minute);
    }
    expect(await accountOf(parts, id)).toMatchObject({
      status: 'disabled',
      status_reason: 'refused_repeatedly',
      status_evidence: { in_a_row: 3 },
    });
    await parts.pool.change(admin, id, { enabled: true });
    expect(await accountOf(parts, id)).toMatchObject({ status: 'active', status_reason: null });
    expect(await turn(parts, 'success')).toBe(id);
  });
});

describe('the breaker', () => {
  it('is really asked: three failures in a row rest an account, and a success clears them', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    const other = await add(parts, 'wk-2');
    for (let time = 0; time < 3; time += 1) await turn(parts, 'unavailable', {}, id);
    expect(await accountOf(parts, id)).toMatchObject({
      status: 'cooldown',
      status_reason: 'upstream_failures',
    });
    expect(await turn(parts, 'success')).toBe(other);
    await pass(parts, 15 * second);
    await turn(parts, 'success', {}, id);
    for (let time = 0; time < 2; time += 1) await turn(parts, 'unavailable', {}, id);
    expect(await accountOf(parts, id)).toMatchObject({ status: 'active' });
  });
});

describe('a burst of failures', () => {
  it('blacks nothing out: the last usable account stays, and all are back within minutes', async () => {
    const parts = await startTestPool();
    const ids = [await add(parts, 'wk-1'), await add(parts, 'wk-2'), await add(parts, 'wk-3')];
    for (let time = 0; time < 30; time += 1) {
      // There is always one to be had.
      await turn(parts, 'unavailable', {}, ids[time % 3]);
    }
    await pass(parts, 2 * minute + 5 * second);
    for (const id of ids) expect((await accountOf(parts, id)).status).toBe('active');
  });
});

describe('a free account', () => {
  it('is found among many that rest', async () => {
    const parts = await startTestPool();
    const ids: string[] = [];
    for (let number = 0; number < 20; number += 1) ids.push(await add(parts, `wk-${number}`));
    const [free, ...others] = ids;
    for (const id of others) await turn(parts, 'rate_limited', { retry_after_ms: 10 * minute }, id);
    expect(await turn(parts, 'success')).toBe(free);
  });
});

describe('why an account was skipped', () => {
  it('can be seen, with the evidence', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    await turn(parts, 'rate_limited', { retry_after_ms: minute });
    const error = await parts.pool.allocate(admin, {}).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ shortage: { reasons: { rate_limited: 1 } } });
    expect(await accountOf(parts, id)).toMatchObject({
      status_reason: 'rate_limited',
      status_evidence: { outcome: 'rate_limited', retry_after_ms: minute },
      last_skips: [{ reason: 'rate_limited' }],
    });
  });
});

describe('the figures of an account in service', () => {
  it('are asked for every 15 min while it is used and ever less often while nothing changes', async () => {
    const parts = await startTestPool();
    await add(parts, 'wk-1');
    const asked = (): number => parts.warp.asked.filter((key) => key === 'wk-1').length;
    const askedWithin = async (ms: number): Promise<number> => {
      const before = asked();
      await pass(parts, ms, minute);
      return asked() - before;
    };
    expect(asked()).toBe(1);
    // Idle: 15, 30, 60, 120 and then 240 min apart, and up to a quarter more.
    expect(await askedWithin(7.5 * hour)).toBe(4);
    await turn(parts, 'success');
    parts.warp.quotas.set('wk-1', { ...plenty, remaining: 98, used: 2 });
    expect(await askedWithin(17 * minute)).toBe(1);
    expect((await parts.pool.list({})).accounts[0]?.quota?.remaining).toBe(98);
  });

  it('take an account out before a turn has to find out, and not for a question that fails', async () => {
    const parts = await startTestPool();
    const id = await add(parts, 'wk-1');
    parts.warp.quotas.set('wk-1', new AppError('upstream_unauthorized', 'a hiccup'));
    await pass(parts, 20 * minute, minute);
    expect((await accountOf(parts, id)).status).toBe('active');
    parts.warp.quotas.set('wk-1', { ...spent, resetAt: new Date(parts.clock.now() + 100 * hour) });
    await pass(parts, 40 * minute, minute);
    expect((await accountOf(parts, id)).status).toBe('exhausted');
  });
});
