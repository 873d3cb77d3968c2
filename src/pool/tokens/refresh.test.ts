import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { TokenError, type TokenGrant } from '../../core/provider.ts';
import { DatabaseError } from '../../db/database.ts';
import type { Caller } from '../base/basics.ts';
import { openMemoryStore } from '../store/open-store.ts';
import { createTestClock, pass, settled, startTestPool, type TestPool } from '../testing/test-pool.ts';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const owner: Caller = { role: 'admin', keyId: 'owner', isGateway: false };
const borrower: Caller = { role: 'borrower', keyId: 'somebody', isGateway: false };

let pools: TestPool[] = [];
afterEach(async () => {
  for (const { pool } of pools) await pool.close();
  pools = [];
});
const start = async (...given: Parameters<typeof startTestPool>): Promise<TestPool> => {
  const parts = await startTestPool(...given);
  pools.push(parts);
  return parts;
};
const add = async ({ pool }: TestPool, refreshToken = 'rt', change = {}) =>
  (await pool.add(owner, { provider: 'warp', refresh_token: refreshToken, ...change })).account;
const view = async ({ pool }: TestPool, id: string) => (await pool.get(id)).account;
const allocate = async ({ pool }: TestPool, sessionId = 'mine', change = {}) =>
  (await pool.allocate(borrower, { session_id: sessionId, ...change })).answer;
const reject = async ({ pool }: TestPool, tokenVersion: number) => {
  const { accounts } = (await pool.allocate(borrower, { session_id: 'mine' })).answer;
  const report = {
    report_id: `r-${Math.random()}`,
    account_id: accounts[0]?.id,
    fence: accounts[0]?.fence,
    token_version: tokenVersion,
    outcome: 'unauthorized',
    at: '2026-01-01T00:00:00Z',
  };
  return (await pool.report(borrower, { session_id: 'mine', reports: [report] })).results[0];
};
const refused = (retryAfterMs?: number) => {
  throw new TokenError('refused', 'too many', retryAfterMs === undefined ? {} : { retryAfterMs });
};
const gaps = ({ issuer }: TestPool): number[] =>
  issuer.asked.slice(1).map((call, index) => call.at - (issuer.asked[index]?.at ?? 0));

describe('the refresher', () => {
  it('gets a new token shortly before the present one lapses, again and again, nobody asking', async () => {
    const parts = await start();
    parts.issuer.lifetimeMs = 2 * hour;
    const { id } = await add(parts);
    await pass(parts.clock, 6 * hour, minute);
    expect(parts.issuer.asked.map((call) => call.refreshToken)).toEqual(['rt', 'rt+1', 'rt+2', 'rt+3']);
    for (const gap of gaps(parts)) expect(gap).toBeCloseTo(115 * minute, -5);
    expect(await view(parts, id)).toMatchObject({
      status: 'active',
      token_version: 5,
      refresh_failure: null,
    });
  });

  it('never asks twice within an hour, however short tokens live and whatever the setting says', async () => {
    const parts = await start({ refreshMinIntervalMs: minute });
    parts.issuer.lifetimeMs = 10 * minute;
    await add(parts);
    await pass(parts.clock, 5 * hour, 30 * second);
    expect(parts.issuer.asked.length).toBeGreaterThan(3);
    for (const gap of gaps(parts)) expect(gap).toBeGreaterThanOrEqual(hour);
  });

  it('asks no sooner while its time follows a clock that was set forward, by any step', async () => {
    const real = createTestClock();
    let aheadMs = 0;
    // As the steady clock does it.
    const clock = { ...real, now: () => Math.round(real.now() + real.monotonic() / 10) + aheadMs };
    const parts = await start({}, { clock });
    const realAt: number[] = [];
    parts.issuer.answer = (refreshToken) => {
      realAt.push(real.monotonic());
      return parts.issuer.grant(refreshToken);
    };
    const { id } = await add(parts);
    await pass(clock, 3 * hour, 30 * second);
    expect(realAt.length).toBeGreaterThanOrEqual(3);
    // As a database's clock does it.
    aheadMs = 3 * hour;
    const skipped = await parts.pool.refreshTokens(owner, { id });
    expect(skipped).toMatchObject({ refreshed: 0, skipped: 1 });
    await pass(clock, 2 * hour, 30 * second);
    expect(realAt.length).toBeGreaterThanOrEqual(5);
    realAt.slice(1).forEach((at, index) => {
      expect(at - (realAt[index] ?? 0)).toBeGreaterThanOrEqual(hour);
    });
    expect((await view(parts, id)).status).toBe('active');
  });

  it('may ask more often where the token host is on this machine', async () => {
    const parts = await start({ refreshMinIntervalMs: minute });
    Object.assign(parts.issuer, { isLoopback: true, lifetimeMs: 10 * minute });
    await add(parts);
    await pass(parts.clock, hour, 30 * second);
    expect(parts.issuer.asked.length).toBeGreaterThan(5);
  });

  it('spends a rotating token once when the timer and many callers ask together', async () => {
    const parts = await start();
    const { id } = await add(parts);
    await pass(parts.clock, hour - second, minute);
    parts.clock.advance(second);
    await Promise.all(Array.from({ length: 10 }, () => parts.pool.refreshTokens(owner, { id })));
    await settled();
    expect(parts.issuer.asked.map((call) => call.refreshToken)).toEqual(['rt', 'rt+1']);
    expect(await view(parts, id)).toMatchObject({ status: 'active', token_version: 3 });
  });

  it('answers those who ask while a refresh is under way with what comes of it', async () => {
    const parts = await start();
    const { id } = await add(parts);
    const force = { id, force: true };
    const answers = await Promise.all([1, 2, 3].map(() => parts.pool.refreshTokens(owner, force)));
    expect(answers.map((answer) => answer.refreshed)).toEqual([1, 1, 1]);
    expect(parts.issuer.asked).toHaveLength(2);
  });

  it('keeps the rotated token when a 401 for the old one arrives, and hands its holder the newer bearer', async () => {
    const parts = await start();
    const { id } = await add(parts);
    const before = (await allocate(parts)).accounts[0];
    await parts.pool.refreshTokens(owner, { id, force: true });
    const result = await reject(parts, before?.token_version ?? 0);
    expect(result).toMatchObject({
      result: 'stale',
      status: 'active',
      id_token: 'bearer-2',
      token_version: 3,
    });
    expect(result?.token_expires_at).toBe((await view(parts, id)).token_expires_at);
    expect(parts.issuer.asked).toHaveLength(2);
    await parts.pool.refreshTokens(owner, { id, force: true });
    expect(parts.issuer.asked.at(-1)?.refreshToken).toBe('rt+2');
  });

  it('refreshes a token that was revoked early at once when the ceiling is open', async () => {
    const parts = await start();
    parts.issuer.lifetimeMs = 10 * hour;
    await add(parts);
    await pass(parts.clock, 2 * hour, minute);
    parts.warp.quotas.set('bearer-1', new AppError('upstream_unauthorized', 'revoked'));
    expect(await reject(parts, 2)).toMatchObject({
      status: 'active',
      id_token: 'bearer-2',
      token_version: 3,
    });
    expect(parts.issuer.asked).toHaveLength(2);
  });

  it('rests an account whose token was revoked early until the ceiling opens, and then refreshes once', async () => {
    const parts = await start();
    parts.issuer.lifetimeMs = 10 * hour;
    const { id } = await add(parts);
    await pass(parts.clock, 10 * minute, minute);
    parts.warp.quotas.set('bearer-1', new AppError('upstream_unauthorized', 'revoked'));
    expect(await reject(parts, 2)).toMatchObject({ status: 'cooldown' });
    expect(await view(parts, id)).toMatchObject({ status_reason: 'token_rejected' });
    await pass(parts.clock, 49 * minute, minute);
    expect(parts.issuer.asked).toHaveLength(1);
    await pass(parts.clock, 2 * minute, minute);
    expect(parts.issuer.asked).toHaveLength(2);
    expect(await view(parts, id)).toMatchObject({ status: 'active', token_version: 3 });
    for (const gap of gaps(parts)) expect(gap).toBeGreaterThanOrEqual(hour);
  });

  it('refreshes nothing for a program that claims that a token was revoked while the provider takes it', async () => {
    const parts = await start();
    parts.issuer.lifetimeMs = 10 * hour;
    const { id } = await add(parts);
    for (let time = 0; time < 5; time += 1) {
      await pass(parts.clock, 65 * minute, minute);
      expect(await reject(parts, 2)).toMatchObject({ status: 'active' });
    }
    expect(parts.issuer.asked).toHaveLength(1);
    expect(await view(parts, id)).toMatchObject({ status: 'active', token_version: 2 });
  });

  it('has the token endpoint tell, as often as it may be asked, where the provider has no query', async () => {
    const parts = await start();
    parts.issuer.lifetimeMs = 10 * hour;
    const { id } = await add(parts);
    const nothingToAsk = new AppError('upstream_protocol', 'nothing can be asked');
    for (const bearer of ['bearer-1', 'bearer-2', 'bearer-3']) parts.warp.quotas.set(bearer, nothingToAsk);
    await pass(parts.clock, 2 * hour, minute);
    expect(await reject(parts, 2)).toMatchObject({
      status: 'active',
      id_token: 'bearer-2',
      token_version: 3,
    });
    for (let time = 0; time < 10; time += 1) {
      await pass(parts.clock, 2 * minute, minute);
      expect(await reject(parts, 3)).toMatchObject({ status: 'active' });
    }
    expect(parts.issuer.asked).toHaveLength(2);
    expect(await view(parts, id)).toMatchObject({ status: 'active', token_version: 3 });
  });

  it('refreshes a token that only the usage query has found to be revoked', async () => {
    const parts = await start();
    Object.assign(parts.issuer, { lifetimeMs: 10 * hour });
    parts.warp.quotas.set('bearer-1', new AppError('upstream_unavailable', 'later'));
    const { id, probe } = await add(parts);
    expect(probe).toBe('unproved');
    parts.warp.quotas.set('bearer-1', new AppError('upstream_unauthorized', 'revoked'));
    await pass(parts.clock, 30 * minute, minute);
    expect(await view(parts, id)).toMatchObject({ status: 'active', token_version: 2 });
    await pass(parts.clock, 35 * minute, minute);
    expect(await view(parts, id)).toMatchObject({ status: 'active', token_version: 3, probe: 'proved' });
  });

  it('goes on while the quota is exhausted, so that the account is alive when it returns', async () => {
    const parts = await start();
    const resetAt = new Date(parts.clock.now() + 5 * hour);
    const { id } = await add(parts);
    for (const bearer of ['bearer-1', 'bearer-2', 'bearer-3', 'bearer-4', 'bearer-5']) {
      parts.warp.quotas.set(bearer, { isUnlimited: false, limit: 1, used: 1, remaining: 0, resetAt });
    }
    const { accounts } = await allocate(parts);
    const item = { report_id: 'r', account_id: id, fence: accounts[0]?.fence, token_version: 2 };
    const at = '2026-01-01T00:00:00Z';
    const reports = [{ ...item, outcome: 'quota_exhausted', at }];
    await parts.pool.report(borrower, { session_id: 'mine', reports });
    await pass(parts.clock, 4 * hour + minute, minute);
    expect(await view(parts, id)).toMatchObject({ status: 'exhausted', token_version: 6 });
    await pass(parts.clock, hour, minute);
    expect((await view(parts, id)).status).toBe('active');
  });

  it('goes on in standby', async () => {
    const parts = await start({ minPoolSize: 0 });
    const { id, status } = await add(parts, 'rt', { standby: true });
    await pass(parts.clock, 2 * hour + minute, minute);
    expect(status).toBe('standby');
    expect(await view(parts, id)).toMatchObject({ status: 'standby', token_version: 4 });
  });

  it('stops for a disabled account and takes it up again when it is enabled', async () => {
    const parts = await start();
    const { id } = await add(parts);
    await parts.pool.change(owner, id, { enabled: false });
    await pass(parts.clock, 5 * hour, minute);
    expect(parts.issuer.asked).toHaveLength(1);
    expect(await view(parts, id)).toMatchObject({ status: 'disabled', next_refresh_at: null });
    const { account } = await parts.pool.change(owner, id, { enabled: true });
    expect(account).toMatchObject({ status: 'active', probe: 'proved', token_version: 3 });
  });

  it('backs off after refusals, doubling, and repeats none of many accounts in a stampede', async () => {
    const parts = await start({}, { random: Math.random });
    for (let number = 0; number < 12; number += 1) await add(parts, `rt-${number}`);
    parts.issuer.answer = () => refused();
    const before = parts.issuer.asked.length;
    await pass(parts.clock, hour + 20 * second);
    expect(parts.issuer.asked.length - before).toBe(12);
    await pass(parts.clock, 5 * minute - 20 * second);
    expect(parts.issuer.asked.length - before).toBe(12);
    await pass(parts.clock, 2 * minute);
    expect(parts.issuer.asked.length - before).toBe(24);
    const times = new Set(parts.issuer.asked.slice(-12).map((call) => call.at));
    expect(times.size).toBeGreaterThan(3);
    const { accounts } = await parts.pool.list({});
    for (const account of accounts) expect(account.refresh_failure).toMatchObject({ in_a_row: 2 });
    await pass(parts.clock, 8 * minute);
    expect(parts.issuer.asked.length - before).toBe(24);
  });

  it('waits as long as a refusal asks for', async () => {
    const parts = await start();
    parts.issuer.answer = () => refused(40 * minute);
    const { id } = await add(parts);
    await pass(parts.clock, 39 * minute, minute);
    expect(parts.issuer.asked).toHaveLength(1);
    await pass(parts.clock, 2 * minute, minute);
    expect(parts.issuer.asked).toHaveLength(2);
    expect(await view(parts, id)).toMatchObject({
      status: 'cooldown',
      status_reason: 'token_pending',
      refresh_failure: { failure: 'refused', message: 'too many', in_a_row: 2 },
    });
  });

  it('tries again soon after a request that never left, and counts it not', async () => {
    const parts = await start();
    parts.issuer.answer = () => {
      throw new TokenError('unsent', 'no network');
    };
    const { id } = await add(parts);
    parts.issuer.answer = (token) => parts.issuer.grant(token);
    await pass(parts.clock, 20 * second);
    expect(await view(parts, id)).toMatchObject({ status: 'active', token_version: 2 });
  });

  it('waits five minutes after the first answer that refuses, however long nothing could be sent before', async () => {
    const parts = await start();
    parts.issuer.answer = () => {
      throw new TokenError('unsent', 'no network');
    };
    const { id } = await add(parts);
    await pass(parts.clock, hour, minute);
    parts.issuer.answer = () => refused();
    await pass(parts.clock, 5 * minute);
    expect((await view(parts, id)).refresh_failure).toMatchObject({ failure: 'refused', in_a_row: 1 });
    parts.issuer.answer = (token) => parts.issuer.grant(token);
    await pass(parts.clock, 6 * minute);
    expect(await view(parts, id)).toMatchObject({ status: 'active', token_version: 2 });
  });

  it('gives an account up when its refresh token is dead, and says why', async () => {
    const parts = await start();
    parts.issuer.lifetimeMs = 2 * hour;
    const { id } = await add(parts);
    await allocate(parts);
    parts.issuer.answer = () => {
      throw new TokenError('invalid_grant', 'Log in again.');
    };
    await pass(parts.clock, 2 * hour, minute);
    expect(await view(parts, id)).toMatchObject({
      status: 'reauth_required',
      status_reason: 'invalid_grant',
      holders: 0,
      next_refresh_at: null,
      refresh_failure: { failure: 'invalid_grant', message: 'Log in again.' },
    });
    await pass(parts.clock, 5 * hour, minute);
    expect(parts.issuer.asked).toHaveLength(2);
  });

  it('gives an account up when its provider has closed it', async () => {
    const parts = await start();
    parts.issuer.answer = () => {
      throw new TokenError('account_gone', 'The account is disabled.');
    };
    expect(await add(parts)).toMatchObject({ status: 'reauth_required', status_reason: 'account_gone' });
  });

  it('gives nothing up after invalid_grant when the credential was replaced meanwhile', async () => {
    const parts = await start();
    const { id } = await add(parts);
    const answer = Promise.withResolvers<TokenGrant>();
    parts.issuer.answer = () => answer.promise;
    const refreshing = parts.pool.refreshTokens(owner, { id, force: true });
    await settled();
    parts.issuer.answer = (token) => parts.issuer.grant(token);
    const replacing = parts.pool.change(owner, id, { refresh_token: 'another' });
    await settled();
    answer.reject(new TokenError('invalid_grant', 'dead'));
    expect((await refreshing).results[0]).toMatchObject({
      result: 'skipped',
      reason: 'the credential was replaced meanwhile',
    });
    await replacing;
    expect(await view(parts, id)).toMatchObject({ status: 'cooldown', status_reason: 'token_pending' });
    await pass(parts.clock, hour + minute, minute);
    expect(parts.issuer.asked.at(-1)?.refreshToken).toBe('another');
    expect((await view(parts, id)).status).toBe('active');
  });

  it('does not lose a rotated token because the store could not write it at once', async () => {
    const store = openMemoryStore(Date.UTC(2026, 0, 1), { auditsLeases: true });
    let failures = 3;
    const flaky = {
      ...store,
      commitRefresh: (...values: Parameters<typeof store.commitRefresh>) =>
        failures-- > 0 ? Promise.reject(new Error('disk full')) : store.commitRefresh(...values),
    };
    const parts = await start({}, { store: flaky });
    const adding = add(parts);
    await settled();
    await pass(parts.clock, 3 * second, second);
    expect(await adding).toMatchObject({ status: 'active', token_version: 2 });
    expect(parts.issuer.asked).toHaveLength(1);
  });

  it('stores a rotated token after an outage that outlasts the attempt', async () => {
    const store = openMemoryStore(Date.UTC(2026, 0, 1), { auditsLeases: true });
    let isAway = true;
    const away = {
      ...store,
      commitRefresh: (...values: Parameters<typeof store.commitRefresh>) =>
        isAway
          ? Promise.reject(new DatabaseError('database_unreachable', 'away'))
          : store.commitRefresh(...values),
    };
    const parts = await start({}, { store: away });
    const adding = add(parts);
    await settled();
    await pass(parts.clock, 30 * minute, 5 * second);
    isAway = false;
    await pass(parts.clock, 10 * second, second);
    expect(await view(parts, (await adding).id)).toMatchObject({ status: 'active', token_version: 2 });
    expect(parts.issuer.asked).toHaveLength(1);
  });

  it('runs no more than four refreshes at a time', async () => {
    const parts = await start();
    const answers: (() => void)[] = [];
    parts.issuer.answer = (token) =>
      new Promise((resolve) => answers.push(() => resolve(parts.issuer.grant(token))));
    const adding = Array.from({ length: 6 }, (_, number) => add(parts, `rt-${number}`));
    await settled();
    expect(answers).toHaveLength(4);
    while (answers.length > 0) {
      answers.shift()?.();
      await settled();
    }
    await Promise.all(adding);
    expect(parts.issuer.asked).toHaveLength(6);
  });

  it('lets a refresh under way end before the pool closes', async () => {
    const store = openMemoryStore(Date.UTC(2026, 0, 1), { auditsLeases: true });
    const parts = await startTestPool({}, { store: { ...store, close: async () => {} } });
    let answer = (): void => {};
    parts.issuer.answer = (token) =>
      new Promise((resolve) => (answer = () => resolve(parts.issuer.grant(token))));
    const adding = add(parts);
    await settled();
    let isClosed = false;
    const closing = parts.pool.close().then(() => {
      isClosed = true;
    });
    await settled();
    expect(isClosed).toBe(false);
    answer();
    await closing;
    await adding;
    const { accounts } = await store.accounts(parts.clock.now(), { limit: 1 });
    expect(accounts[0]).toMatchObject({ tokenVersion: 2 });
    await store.close();
  });

  it('says for each account what came of a refresh that was asked for', async () => {
    const parts = await start();
    const { account: key } = await parts.pool.add(owner, { provider: 'warp', api_key: 'wk-1' });
    const one = await add(parts, 'one', { email: 'one@example.com' });
    parts.issuer.answer = () => refused();
    const two = await add(parts, 'two');
    const answer = await parts.pool.refreshTokens(owner, {});
    expect(answer).toMatchObject({ refreshed: 0, skipped: 3, failed: 0 });
    const opensAt = new Date(parts.clock.now() + hour).toISOString();
    const retryAt = new Date(parts.clock.now() + 5 * minute).toISOString();
    expect(answer.results).toMatchObject([
      { id: key.id, result: 'skipped', reason: 'API key: nothing to refresh', next_at: null },
      { id: one.id, email: 'one@example.com', result: 'skipped', next_at: opensAt },
      { id: two.id, result: 'skipped', reason: 'waiting after the last failure', next_at: retryAt },
    ]);
    expect((await parts.pool.refreshTokens(owner, { id: one.id, force: true })).results).toMatchObject([
      { result: 'failed', reason: 'too many' },
    ]);
    parts.issuer.answer = (token) => parts.issuer.grant(token);
    const byEmail = await parts.pool.refreshTokens(owner, { email: 'ONE@example.com', force: true });
    expect(byEmail.results).toMatchObject([{ id: one.id, result: 'refreshed', reason: null }]);
  });

  it('passes the ceiling for an admin who forces it, for nobody else, and writes that down', async () => {
    const parts = await start();
    const { id } = await add(parts);
    await expect(parts.pool.refreshTokens(borrower, { id, force: true })).rejects.toMatchObject({
      code: 'forbidden',
    });
    await parts.pool.refreshTokens(owner, { id });
    expect(parts.issuer.asked).toHaveLength(1);
    await parts.pool.refreshTokens(owner, { id, force: true });
    expect(parts.issuer.asked).toHaveLength(2);
    const trail = await parts.store.auditTrail({ limit: 2, accountId: id });
    expect(trail).toMatchObject([
      { action: 'ceiling-passed', actor: 'owner' },
      { action: 'refresh-forced', actor: 'owner' },
    ]);
  });
});

describe('a refresh that was interrupted', () => {
  const interrupted = async (step: 'claimed' | 'answered'): Promise<TestPool> => {
    const kept = openMemoryStore(Date.UTC(2026, 0, 1), { auditsLeases: true });
    const store = { ...kept, close: async () => {} };
    const dead = await startTestPool(
      {},
      { store, onRefreshStep: (at) => (at === step ? new Promise(() => {}) : Promise.resolve()) },
    );
    const adding = add(dead);
    await settled();
    const { clock, issuer } = dead;
    clock.advance(10 * second);
    await adding;
    const parts = await start({}, { store, clock, issuer });
    await settled();
    return parts;
  };

  it('is seen at start; the next attempt waits for the ceiling and may still succeed', async () => {
    const parts = await interrupted('claimed');
    const [account] = (await parts.pool.list({})).accounts;
    expect(account).toMatchObject({
      status: 'cooldown',
      status_reason: 'token_pending',
      refresh_failure: { failure: 'interrupted' },
    });
    expect((await parts.store.auditTrail({ limit: 1 }))[0]?.action).toBe('refresh-interrupted');
    await pass(parts.clock, hour - minute, minute);
    expect(parts.issuer.asked).toHaveLength(0);
    await pass(parts.clock, 2 * minute, minute);
    expect(parts.issuer.asked).toHaveLength(1);
    expect((await view(parts, account?.id ?? '')).status).toBe('active');
  });

  it('whose token was lost gives one attempt an hour later, and then the account up with that reason', async () => {
    const parts = await interrupted('answered');
    const [account] = (await parts.pool.list({})).accounts;
    await pass(parts.clock, 3 * hour, minute);
    expect(parts.issuer.asked).toHaveLength(2);
    for (const gap of gaps(parts)) expect(gap).toBeGreaterThanOrEqual(hour);
    expect(await view(parts, account?.id ?? '')).toMatchObject({
      status: 'reauth_required',
      status_reason: 'refresh_interrupted',
    });
  });
});

describe('callers', () => {
  it('wait through the seconds between the lapse of the only token and its refresh, asked to or not', async () => {
    const parts = await start();
    await add(parts);
    await pass(parts.clock, hour - 10 * second);
    const asking = allocate(parts, 'impatient', { wait_ms: 0 });
    await settled();
    expect(parts.issuer.asked).toHaveLength(1);
    await pass(parts.clock, 11 * second, second);
    expect((await asking).accounts[0]).toMatchObject({ id_token: 'bearer-2', token_version: 3 });
  });

  it('wait no longer than that when the refresh brings nothing', async () => {
    const parts = await start();
    await add(parts);
    await pass(parts.clock, hour - 10 * second);
    parts.issuer.answer = () => refused();
    const asking = allocate(parts, 'impatient').then(
      () => 'lent',
      (error) => error.code,
    );
    await pass(parts.clock, 11 * second, second);
    expect(await asking).toBe('no_account_available');
  });

  it('wait no longer than 20 s for a refresh that does not end', async () => {
    const parts = await start();
    await add(parts);
    await pass(parts.clock, hour - 10 * second);
    parts.issuer.answer = () => new Promise(() => {});
    let end = '';
    const asking = allocate(parts, 'impatient').catch((error) => {
      end = error.code;
    });
    await pass(parts.clock, 14 * second, second);
    expect(end).toBe('');
    await pass(parts.clock, 7 * second, second);
    await asking;
    expect(end).toBe('no_account_available');
    pools = [];
  });

  it('are answered at once when more than a refresh stands in the way', async () => {
    const parts = await start();
    parts.issuer.answer = () => refused();
    await add(parts);
    await expect(allocate(parts)).rejects.toMatchObject({ code: 'no_account_available' });
  });
});
