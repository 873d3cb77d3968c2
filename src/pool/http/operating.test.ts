import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { ListAnswer } from '../../pool-api/account-schema.ts';
import type { StatusAnswer } from '../../pool-api/owner-schema.ts';
import type { AllocateAnswer } from '../../pool-api/schema.ts';
import { allocate, closeServers, report, reportOf, startServer } from '../testing/test-server.ts';

afterEach(closeServers);

interface Details {
  account: {
    lendable: { now: boolean; reason: string | null };
    last_skips: { reason: string; session_id: string }[];
  };
}

interface Trail {
  entries: {
    seq: number;
    actor: string;
    action: string;
    account_id: string;
    detail: Record<string, unknown>;
  }[];
  next_before: number | null;
}

describe('an account, as its owner sees it', () => {
  it('says why it was passed over and whether it could be lent now', async () => {
    const { add, call } = await startServer();
    const kept = await add('wk-kept', { lend: 'gateway' });
    const other = await add('wk-other', { tier: 1 });
    const details = async (id: string) => (await call<Details>('GET', `/api/accounts/${id}`)).body.account;
    expect(await details(kept)).toMatchObject({ lendable: { now: true, reason: null }, last_skips: [] });
    await call('POST', allocate, { session_id: 'job-1' });
    await call('POST', allocate, { session_id: 'job-2' });
    expect(await details(kept)).toMatchObject({
      last_skips: [
        { reason: 'lend_gateway_only', session_id: 'job-2' },
        { reason: 'lend_gateway_only', session_id: 'job-1' },
      ],
    });
    expect(await details(other)).toMatchObject({
      lendable: { now: false, reason: 'leased' },
      last_skips: [{ reason: 'leased', session_id: 'job-2' }],
    });
  });

  it('is not lendable while another free account of its provider is spent', async () => {
    const { add, call, warp } = await startServer();
    const spent = await add('wk-spent', { free: true });
    const other = await add('wk-other', { free: true });
    const lease = (await call<AllocateAnswer>('POST', allocate, { prefer: spent })).body;
    warp.quotas.set('wk-spent', { isUnlimited: false, limit: 100, used: 100, remaining: 0 });
    await call('POST', report, reportOf(lease, 'quota_exhausted'));
    const { account } = (await call<Details>('GET', `/api/accounts/${other}`)).body;
    expect(account.lendable).toEqual({ now: false, reason: 'free_quota_spent' });
  });
});

describe('the audit trail', () => {
  it('tells every change and forced action with who did it, the newest first', async () => {
    const { call, warp } = await startServer({}, { adminKey: 'boss', poolApiKey: 'borrow' });
    const boss = { authorization: 'Bearer boss' };
    const made = await call<{ account: { id: string } }>(
      'POST',
      '/api/accounts',
      { provider: 'warp', api_key: 'wk-the-secret' },
      boss,
    );
    const { id } = made.body.account;
    const path = `/api/accounts/${id}`;
    await call('PATCH', path, { capacity: 4, label: 'x' }, boss);
    await call('PATCH', path, { enabled: false }, boss);
    warp.quotas.set('wk-the-secret', { isUnlimited: true });
    await call('PATCH', path, { enabled: true }, boss);
    await call('POST', allocate, { session_id: 'job' }, { authorization: 'Bearer borrow' });
    await call('POST', '/api/accounts/replenish', { count: 1 }, boss);
    await call('POST', '/api/accounts/refresh-tokens', { id, force: true }, boss);
    await call('DELETE', path, undefined, boss);

    const { status, body } = await call<Trail>('GET', '/api/audit', undefined, boss);
    expect(status).toBe(200);
    expect(body.entries.map(({ action, account_id }) => [action, account_id])).toEqual([
      ['account-removed', id],
      ['refresh-forced', id],
      ['replenish', null],
      ['lease', id],
      ['account-changed', id],
      ['account-changed', id],
      ['account-changed', id],
      ['account-added', id],
    ]);
    expect(body.entries.slice(4, 7).map(({ detail }) => detail)).toEqual([
      { enabled: true },
      { enabled: false },
      { capacity: 4, label: 'x' },
    ]);
    const actors = new Set(body.entries.map(({ actor }) => actor));
    expect(actors.size).toBe(2);
    expect(JSON.stringify(body)).not.toMatch(/wk-the-secret|boss|borrow"/);
  });

  it('comes in pages, of one account where asked, and to admins only', async () => {
    const { call } = await startServer({}, { adminKey: 'boss', poolApiKey: 'borrow' });
    const boss = { authorization: 'Bearer boss' };
    const ids: string[] = [];
    for (const key of ['one', 'two', 'three']) {
      const account = { provider: 'warp', api_key: key };
      const made = await call<{ account: { id: string } }>('POST', '/api/accounts', account, boss);
      ids.push(made.body.account.id);
    }
    const trail = async (query: string) =>
      (await call<Trail>('GET', `/api/audit?${query}`, undefined, boss)).body;
    const first = await trail('limit=2');
    expect(first.entries.map((entry) => entry.account_id)).toEqual([ids[2], ids[1]]);
    const second = await trail(`limit=2&before=${first.next_before}`);
    expect(second.entries.map((entry) => entry.account_id)).toEqual([ids[0]]);
    expect(second.next_before).toBeNull();
    expect((await trail(`account_id=${ids[1]}`)).entries).toHaveLength(1);
    const borrower = { authorization: 'Bearer borrow' };
    expect((await call('GET', '/api/audit', undefined, borrower)).status).toBe(403);
    expect((await call('GET', '/api/audit?limit=0', undefined, boss)).status).toBe(400);
  });
});

describe('the forecast', () => {
  it('divides what is left by what the last hour took', async () => {
    const { add, call, clock, warp } = await startServer();
    const resetAt = new Date(clock.now() + 86_400_000);
    warp.quotas.set('wk-metered', { isUnlimited: false, limit: 100, used: 40, remaining: 60, resetAt });
    warp.quotas.set('wk-open', { isUnlimited: true });
    warp.quotas.set('wk-silent', new AppError('upstream_unavailable', 'no figures'));
    await add('wk-metered');
    await add('wk-open', { tier: 1 });
    await add('wk-silent', { tier: 1 });
    type Status = { forecast: Record<string, unknown> };
    const forecast = async () => (await call<Status>('GET', '/api/accounts/status')).body.forecast;
    expect(await forecast()).toMatchObject({
      remaining: 60,
      unmetered_accounts: 2,
      lasts_hours: null,
      empty_at: null,
      next_reset_at: resetAt.toISOString(),
    });
    const lease = (await call<AllocateAnswer>('POST', allocate)).body;
    const usage = { input_tokens: 100, output_tokens: 20, credits: 24, cost_cents: 7.5 };
    await call('POST', report, reportOf(lease, 'success', { usage }));
    expect(await forecast()).toMatchObject({
      remaining: 60,
      spent_last_hour: { turns: 1, input_tokens: 100, output_tokens: 20, credits: 24, cost_cents: 7.5 },
      lasts_hours: 2.5,
      empty_at: new Date(clock.now() + 2.5 * 3_600_000).toISOString(),
    });
    clock.advance(61 * 60_000);
    expect(await forecast()).toMatchObject({ lasts_hours: null });
  });

  it('says when the next account is back, as the account itself does', async () => {
    const { add, call, warp } = await startServer();
    const shown = async () => {
      const { forecast } = (await call<StatusAnswer>('GET', '/api/accounts/status')).body;
      const { accounts } = (await call<ListAnswer>('GET', '/api/accounts')).body;
      const ends = accounts.flatMap(({ status_end: end }) => end?.at ?? []);
      return { forecast: forecast.next_back_at, first: ends.sort()[0] ?? null };
    };
    await add('wk-one');
    expect(await shown()).toEqual({ forecast: null, first: null });
    warp.quotas.set('wk-spent', { isUnlimited: false, limit: 100, used: 100, remaining: 0 });
    await add('wk-spent', { on_refusal: 'keep' });
    const spent = await shown();
    expect(spent.forecast).not.toBeNull();
    expect(spent.forecast).toBe(spent.first);
    const lease = (await call<AllocateAnswer>('POST', allocate)).body;
    await call('POST', report, reportOf(lease, 'rate_limited', { retry_after_ms: 7_000 }));
    const rested = await shown();
    expect(rested.forecast).toBe(rested.first);
    expect(Date.parse(rested.forecast ?? '')).toBeLessThan(Date.parse(spent.forecast ?? ''));
  });
});
