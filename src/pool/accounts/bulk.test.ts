import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { Account, ListAnswer } from '../../pool-api/account-schema.ts';
import type { BulkAnswer, ProvidersAnswer } from '../../pool-api/owner-schema.ts';
import { closeServers, type Running, startServer } from '../testing/test-server.ts';

afterEach(closeServers);

const bulk = async ({ call }: Running, body: object) =>
  (await call<BulkAnswer>('POST', '/api/accounts/bulk', body)).body;
const shown = async ({ call }: Running, id: string) =>
  (await call<{ account: Account }>('GET', `/api/accounts/${id}`)).body.account;

describe('the same to many accounts', () => {
  it('has a result for each, and one that is not there keeps no other from it', async () => {
    const service = await startServer();
    const [one, two] = [await service.add('one'), await service.add('two')];
    await service.call('PATCH', `/api/accounts/${two}`, { enabled: false });
    expect(await bulk(service, { ids: [one, 'acc_none', two, one], action: 'disable' })).toMatchObject({
      done: 1,
      skipped: 1,
      failed: 1,
      results: [
        { id: one, result: 'done', reason: null },
        { id: 'acc_none', result: 'failed', reason: expect.stringContaining('no account') },
        { id: two, result: 'skipped', reason: 'is disabled already' },
      ],
    });
    expect(await shown(service, one)).toMatchObject({ status: 'disabled' });
    const entries = await service.store.auditTrail({ limit: 1, accountId: one });
    expect(entries).toMatchObject([
      { action: 'account-changed', actor: 'local', detail: { enabled: false } },
    ]);
    await bulk(service, { ids: [one, two], action: 'remove' });
    expect((await service.call('GET', '/api/accounts')).body).toMatchObject({ total: 0 });
  });

  it('enables what its provider still takes and says why of the rest', async () => {
    const service = await startServer();
    const [good, bad, active] = [
      await service.add('good'),
      await service.add('bad'),
      await service.add('active'),
    ];
    await bulk(service, { ids: [good, bad], action: 'disable' });
    service.warp.quotas.set('wk-bad', new AppError('upstream_unauthorized', 'no such key'));
    expect((await bulk(service, { ids: [good, bad, active], action: 'enable' })).results).toMatchObject([
      { result: 'done' },
      { result: 'failed', reason: expect.stringContaining('401') },
      { result: 'skipped', reason: 'is active already' },
    ]);
    expect(await shown(service, bad)).toMatchObject({ status: 'reauth_required' });
  });

  it('asks providers what is left now, but not twice within seconds', async () => {
    const service = await startServer();
    const [one, silent] = [await service.add('one'), await service.add('silent')];
    service.clock.advance(60_000);
    service.warp.quotas.set('wk-one', { isUnlimited: false, limit: 100, used: 100, remaining: 0 });
    service.warp.quotas.set('wk-silent', new AppError('upstream_unavailable', 'not now'));
    const ask = () => bulk(service, { ids: [one, silent], action: 'check' });
    expect((await ask()).results).toMatchObject([{ result: 'done' }, { result: 'failed' }]);
    expect(await shown(service, one)).toMatchObject({ status: 'exhausted', quota: { remaining: 0 } });
    const asked = service.warp.asked.length;
    expect((await ask()).results[0]).toMatchObject({ result: 'skipped' });
    expect(service.warp.asked).toHaveLength(asked + 1);
  });

  it('refreshes within the hourly ceiling only', async () => {
    const service = await startServer();
    const { body } = await service.call<{ account: Account }>('POST', '/api/accounts', {
      provider: 'warp',
      refresh_token: 'rt-1',
    });
    const refresh = () => bulk(service, { ids: [body.account.id], action: 'refresh' });
    expect((await refresh()).results).toMatchObject([
      { result: 'skipped', reason: 'refreshed less than the least interval ago' },
    ]);
    expect(service.issuer.asked).toHaveLength(1);
    service.clock.advance(3_599_000);
    await refresh();
    expect(service.issuer.asked.length).toBeLessThanOrEqual(2);
    service.clock.advance(3_601_000);
    await refresh();
    const times = service.issuer.asked.map(({ at }) => at);
    for (const [index, at] of times.slice(1).entries())
      expect(at - (times[index] ?? 0)).toBeGreaterThanOrEqual(3_600_000);
  });

  it('sets settings, and refuses what is neither', async () => {
    const service = await startServer();
    const ids = [await service.add('one'), await service.add('two')];
    await bulk(service, { ids, action: 'set', settings: { label: 'team', tier: 2 } });
    expect(await shown(service, ids[1] ?? '')).toMatchObject({ label: 'team', tier: 2 });
    for (const wrong of [
      { ids: [], action: 'check' },
      { ids, action: 'set' },
      { ids, action: 'check', settings: { tier: 1 } },
      { ids, action: 'set', settings: { api_key: 'wk-x' } },
      { ids: Array.from({ length: 501 }, (_, index) => `acc_${index}`), action: 'check' },
    ]) {
      expect((await service.call('POST', '/api/accounts/bulk', wrong)).status).toBe(400);
    }
  });
});

describe('what the page of accounts needs to know', () => {
  it('says what will end a status, when, and what the owner can do', async () => {
    const service = await startServer();
    const now = service.clock.now();
    service.warp.quotas.set('wk-dead', new AppError('upstream_unauthorized', 'no'));
    const reset = new Date(now + 3_600_000);
    service.warp.quotas.set('wk-spent', { isUnlimited: false, limit: 1, remaining: 0, resetAt: reset });
    service.warp.quotas.set('wk-unsaid', { isUnlimited: false, limit: 1, remaining: 0 });
    const end = async (key: string, change = {}) => {
      const { status_end } = await shown(service, await service.add(key, change));
      return status_end;
    };
    expect(await end('fine')).toBeNull();
    expect(await end('kept', { standby: true })).toEqual({ by: 'replenishing', at: null, action: 'enable' });
    expect(await end('dead')).toEqual({ by: 'owner', at: null, action: 'replace_credential' });
    expect(await end('spent')).toEqual({ by: 'time', at: reset.toISOString(), action: null });
    expect(await end('unsaid')).toEqual({
      by: 'check',
      at: new Date(now + 15 * 60_000).toISOString(),
      action: null,
    });
    const off = await service.add('off');
    await bulk(service, { ids: [off], action: 'disable' });
    expect(await shown(service, off)).toMatchObject({
      status_since: new Date(now).toISOString(),
      status_end: { by: 'owner', at: null, action: 'enable' },
      next_check_at: null,
    });
  });

  it('lists accounts by their ids', async () => {
    const service = await startServer();
    const [one, , three] = [await service.add('one'), await service.add('two'), await service.add('three')];
    const { body } = await service.call<ListAnswer>('GET', `/api/accounts?ids=${three},${one},acc_none`);
    expect(body.accounts.map(({ id }) => id)).toEqual([one, three]);
  });

  it('lists the providers and what each needs', async () => {
    const { call } = await startServer();
    const { body } = await call<ProvidersAnswer>('GET', '/api/accounts/providers');
    const plain = { trial: false, api_key: 'needed', login: false, missing: { login: null } };
    expect(body.providers).toMatchObject([
      { ...plain, name: 'openai', refresh_token: false, teams: false },
      { name: 'sandbox', trial: true },
      { ...plain, name: 'warp', refresh_token: true, teams: true },
    ]);
  });
});
