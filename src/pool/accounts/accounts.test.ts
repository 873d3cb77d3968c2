import { afterEach, describe, expect, it, vi } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { QuotaAnswer } from '../../core/provider.ts';
import type { AllocateAnswer } from '../../pool-api/schema.ts';
import { settled } from '../testing/test-pool.ts';
import { allocate, closeServers, report, reportOf, startServer } from '../testing/test-server.ts';

afterEach(closeServers);

describe('accounts over HTTP', () => {
  it('adds, shows, changes, lists and removes an account and never shows its key', async () => {
    const service = await startServer();
    const key = 'wk-a-long-secret-key-abcd';
    const added = await service.call<{ account: { id: string } }>('POST', '/api/accounts', {
      provider: 'warp',
      api_key: key,
      email: 'me@example.com',
    });
    expect(added).toMatchObject({ status: 201, body: { account: { status: 'active', probe: 'proved' } } });
    const path = `/api/accounts/${added.body.account.id}`;
    const shown = await service.call('GET', path);
    expect(shown.body).toMatchObject({ account: { credential_hint: 'abcd', email: 'me@example.com' } });
    expect(JSON.stringify(shown.body)).not.toContain('secret');
    expect(await service.call('POST', '/api/accounts', { provider: 'warp', api_key: key })).toMatchObject({
      status: 409,
      body: { error: { code: 'account_exists' } },
    });
    const changed = await service.call('PATCH', path, { enabled: false, label: 'mine' });
    expect(changed.body).toMatchObject({
      account: { status: 'disabled', status_reason: 'owner', label: 'mine' },
    });
    expect((await service.call('PATCH', path, { enabled: true })).body).toMatchObject({
      account: { status: 'active' },
    });
    expect((await service.call('GET', '/api/accounts?email=ME@example.com&limit=1')).body).toMatchObject({
      total: 1,
      next_after: null,
    });
    expect((await service.call('DELETE', path)).body).toEqual({ success: true });
    expect((await service.call('DELETE', path)).status).toBe(404);
    const trail = await service.store.auditTrail({ limit: 10 });
    expect(trail.map((entry) => entry.action)).toEqual([
      'account-removed',
      'account-changed',
      'account-changed',
      'account-added',
    ]);
    expect(JSON.stringify(trail)).not.toContain('secret');
  });

  it('pages through the list', async () => {
    const service = await startServer();
    for (const key of ['a', 'b', 'c']) await service.add(key);
    const first = await service.call<{ next_after: string }>('GET', '/api/accounts?limit=2');
    expect(first.body).toMatchObject({ total: 3 });
    const rest = await service.call<{ accounts: unknown[] }>(
      'GET',
      `/api/accounts?after=${first.body.next_after}`,
    );
    expect(rest.body.accounts).toHaveLength(1);
  });

  it('probes a new account: rejected, spent, or not to be told', async () => {
    const service = await startServer();
    service.warp.quotas.set('wk-bad', new AppError('upstream_unauthorized', 'no such key'));
    service.warp.quotas.set('wk-spent', { isUnlimited: false, limit: 10, used: 10, remaining: 0 });
    service.warp.quotas.set('wk-odd', new AppError('upstream_unavailable', 'no such query'));
    const stateOf = async (key: string) => (await service.pool.get(await service.add(key))).account;
    expect(await stateOf('bad')).toMatchObject({
      status: 'reauth_required',
      status_reason: 'probe_unauthorized',
    });
    expect(await stateOf('spent')).toMatchObject({
      status: 'exhausted',
      status_until: null,
      probe: 'proved',
    });
    expect(await stateOf('odd')).toMatchObject({ status: 'active', probe: 'unproved' });
  });

  it('tells the provider which team pays, when it probes and when it lends, and shows it', async () => {
    const service = await startServer();
    const id = await service.add('one', { team_uid: 'team-1' });
    expect(service.warp.askedTeams).toEqual(['team-1']);
    expect((await service.pool.get(id)).account).toMatchObject({ team_uid: 'team-1' });
    const lent = await service.call('POST', '/api/accounts/allocate', { provider: 'warp' });
    expect(lent.body).toMatchObject({ accounts: [{ id, team_uid: 'team-1' }] });
  });

  it('probes an account again when another team is to pay, and takes what that one has left', async () => {
    const service = await startServer();
    service.warp.quotas.set('wk-one', { isUnlimited: false, limit: 10, used: 10, remaining: 0 });
    service.warp.quotas.set('wk-one@rich', { isUnlimited: false, limit: 10, used: 1, remaining: 9 });
    const id = await service.add('one');
    const change = async (body: object) => (await service.call('PATCH', `/api/accounts/${id}`, body)).body;
    const quota = { remaining: 9 };
    expect(await change({ team_uid: 'rich' })).toMatchObject({ account: { status: 'active', quota } });
    expect(await change({ label: 'x', team_uid: 'rich' })).toMatchObject({ account: { label: 'x' } });
    expect(service.warp.askedTeams).toEqual([undefined, 'rich']);
    const [entry] = await service.store.auditTrail({ limit: 1 });
    expect(entry?.detail).toEqual({ label: 'x', team_uid: 'rich' });
    expect(await change({ team_uid: null })).toMatchObject({
      account: { status: 'exhausted', team_uid: null },
    });
  });

  it('probes one in standby for its other team and leaves it there, and none that is disabled', async () => {
    const service = await startServer();
    const standby = await service.add('one', { standby: true });
    const disabled = await service.add('two');
    await service.call('PATCH', `/api/accounts/${disabled}`, { enabled: false });
    service.warp.quotas.set('wk-one@rich', { isUnlimited: true });
    for (const id of [standby, disabled]) {
      await service.call('PATCH', `/api/accounts/${id}`, { team_uid: 'rich' });
    }
    expect((await service.pool.get(standby)).account).toMatchObject({
      status: 'standby',
      quota: { is_unlimited: true },
    });
    expect((await service.pool.get(disabled)).account).toMatchObject({ status: 'disabled' });
    expect(service.warp.askedTeams).toEqual([undefined, undefined, 'rich']);
  });

  it('asks a refresh-token account about its other team immediately', async () => {
    const service = await startServer();
    const { body } = await service.call<{ account: { id: string } }>('POST', '/api/accounts', {
      provider: 'warp',
      refresh_token: 'rt-1',
    });
    const path = `/api/accounts/${body.account.id}`;
    const changed = await service.call('PATCH', path, { team_uid: 'rich' });
    expect(changed.body).toMatchObject({ account: { status: 'active', probe: 'proved' } });
    expect(service.warp.askedTeams).toEqual([undefined, 'rich']);
  });

  it('ignores figures of a team that no longer pays', async () => {
    const service = await startServer();
    const id = await service.add('one');
    const late = Promise.withResolvers<QuotaAnswer>();
    const { getQuota } = service.warp;
    const asked = Promise.withResolvers<void>();
    service.warp.getQuota = (account) => {
      if (account.teamUid !== undefined) return getQuota(account);
      asked.resolve();
      return late.promise;
    };
    const lease = await service.call<AllocateAnswer>('POST', allocate, {});
    const reporting = service.call('POST', report, reportOf(lease.body, 'quota_exhausted'));
    await asked.promise;
    await service.call('PATCH', `/api/accounts/${id}`, { team_uid: 'rich' });
    late.resolve({ isUnlimited: false, limit: 10, used: 10, remaining: 0 });
    await reporting;
    await settled();
    expect((await service.pool.get(id)).account).toMatchObject({
      status: 'active',
      quota: { remaining: 99 },
    });
  });

  it.each([
    ['of a provider without teams', { provider: 'openai', team_uid: 'team-1' }, 'have no teams'],
    ['with a line break', { provider: 'warp', team_uid: 'a\r\nx: y' }, 'team_uid'],
    ['that is empty', { provider: 'warp', team_uid: '' }, 'team_uid'],
    ['that is too long', { provider: 'warp', team_uid: 'x'.repeat(129) }, 'team_uid'],
  ])('refuses a team %s', async (_what, account, message) => {
    const service = await startServer();
    const answer = await service.call('POST', '/api/accounts', { ...account, api_key: 'wk-1' });
    expect(answer).toMatchObject({ status: 400, body: { error: { code: 'invalid_request' } } });
    expect(JSON.stringify(answer.body)).toContain(message);
    const other = await service.call<{ account: { id: string } }>('POST', '/api/accounts', {
      provider: account.provider,
      api_key: 'wk-2',
    });
    const path = `/api/accounts/${other.body.account.id}`;
    expect((await service.call('PATCH', path, { team_uid: account.team_uid })).status).toBe(400);
  });

  it('keeps one key as one account and says how to bill another team', async () => {
    const service = await startServer();
    const add = (team_uid: string) =>
      service.call('POST', '/api/accounts', { provider: 'warp', api_key: 'wk-1', team_uid });
    await add('team-1');
    expect(await add('team-2')).toMatchObject({
      status: 409,
      body: { error: { message: expect.stringContaining('Change its team_uid') } },
    });
  });

  it('gives up a probe after 5 s and takes the account unproved', async () => {
    const service = await startServer();
    service.warp.quotas.set('wk-slow', 'never');
    const adding = service.add('slow');
    await vi.waitFor(() => expect(service.warp.asked).toContain('wk-slow'));
    service.clock.advance(5000);
    expect((await service.pool.get(await adding)).account).toMatchObject({
      status: 'active',
      probe: 'unproved',
    });
  });

  it('keeps the account of the environment as its owner left it until the key changes', async () => {
    const { pool } = await startServer();
    const caller = { role: 'admin' as const, keyId: 'local', isGateway: false };
    const made = await pool.ensureEnvAccount('warp', 'one');
    expect(made).toMatchObject({ source: 'env', status: 'active' });
    await pool.change(caller, made?.id ?? '', { enabled: false });
    expect(await pool.ensureEnvAccount('warp', 'one')).toMatchObject({ status: 'disabled' });
    expect(await pool.ensureEnvAccount('warp', 'two')).toMatchObject({
      id: made?.id,
      status: 'active',
      token_version: 2,
    });
    await pool.remove(caller, made?.id ?? '');
    expect(await pool.ensureEnvAccount('warp', 'two')).toBeNull();
    expect(await pool.ensureEnvAccount('warp', 'three')).toMatchObject({ status: 'active' });
  });

  it('answers status, replenish and refresh-tokens', async () => {
    const service = await startServer();
    const id = await service.add('first');
    expect((await service.call('GET', '/api/accounts/status')).body).toMatchObject({
      pool_stats: { total: 1, available: 1, in_use: 0 },
      running: true,
      health: 'healthy',
      sandbox: false,
    });
    expect((await service.call('POST', '/api/accounts/replenish', {})).body).toMatchObject({
      requested: 4,
      added: 0,
      reasons: ['no source configured'],
    });
    expect(
      (await service.call('POST', '/api/accounts/refresh-tokens', { id, force: true })).body,
    ).toMatchObject({
      skipped: 1,
      results: [{ id, result: 'skipped' }],
    });
    const unknown = await service.call('POST', '/api/accounts/refresh-tokens', {
      email: 'nobody@example.com',
    });
    expect(unknown).toMatchObject({ status: 404, body: { error: { code: 'account_not_found' } } });
  });
});
