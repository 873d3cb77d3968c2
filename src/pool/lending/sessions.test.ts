import { request as httpRequest } from 'node:http';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { AllocateAnswer, ErrorAnswer, PoolEvent } from '../../pool-api/schema.ts';
import {
  allocate,
  closeServers,
  type Running,
  report,
  reportOf,
  startServer,
} from '../testing/test-server.ts';

afterEach(closeServers);

describe('lending over HTTP', () => {
  it('lends with an empty body, reports and releases', async () => {
    const service = await startServer();
    await service.add('first');
    const lent = await service.call<AllocateAnswer>('POST', allocate);
    expect(lent.status).toBe(200);
    expect(lent.body).toMatchObject({ success: true, created: true });
    expect(lent.body.accounts[0]).toMatchObject({
      id_token: 'wk-first',
      fence: 1,
      slots: 1,
      status: 'active',
    });
    const reported = await service.call('POST', report, reportOf(lent.body, 'success'));
    expect(reported.body).toMatchObject({ results: [{ result: 'applied', status: 'active' }] });
    const session = { session_id: lent.body.session_id };
    expect((await service.call('POST', '/api/accounts/release', session)).body).toEqual({
      success: true,
      released: 1,
    });
    const again = await service.call('POST', '/api/accounts/release', session);
    expect(again).toMatchObject({ status: 404, body: { error: { code: 'session_not_found' } } });
  });

  it('says why no account is there and when to come back', async () => {
    const service = await startServer();
    await service.add('first');
    await service.call('POST', allocate, { ttl_seconds: 30 });
    const short = await service.call<ErrorAnswer>('POST', allocate, {});
    expect(short.status).toBe(503);
    expect(short.headers['retry-after']).toBe('30');
    expect(short.body.error).toMatchObject({
      code: 'no_account_available',
      shortage: { matching: 1, reasons: { leased: 1 }, holders: { exclusive: 1, shared: 0, gateway: 0 } },
    });
  });

  it('gives a waiting caller the account that another releases', async () => {
    const service = await startServer();
    await service.add('first');
    const first = await service.call<AllocateAnswer>('POST', allocate, {});
    const waiting = service.call<AllocateAnswer>('POST', allocate, { wait_ms: 60_000 });
    await vi.waitFor(async () => expect((await service.pool.status()).active_sessions).toBe(1));
    await service.call('POST', '/api/accounts/release', { session_id: first.body.session_id });
    expect((await waiting).status).toBe(200);
  });

  it('serves those who wait in the order they came', async () => {
    const service = await startServer();
    await service.add('first');
    await service.call('POST', allocate, { session_id: 'holder' });
    const attempts = vi.spyOn(service.store, 'ensureLeases');
    const served: number[] = [];
    const waiting: Promise<unknown>[] = [];
    for (const number of [1, 2, 3]) {
      const turn = service
        .call<AllocateAnswer>('POST', allocate, { wait_ms: 60_000 })
        .then(async (answer) => {
          served.push(number);
          await service.call('POST', '/api/accounts/release', { session_id: answer.body.session_id });
        });
      waiting.push(turn);
      const tried = number;
      await vi.waitFor(() => expect(attempts.mock.calls.length).toBeGreaterThanOrEqual(tried));
    }
    await service.call('POST', '/api/accounts/release', { session_id: 'holder' });
    await Promise.all(waiting);
    expect(served).toEqual([1, 2, 3]);
  });

  it('refuses every waiting caller at its own deadline', async () => {
    const service = await startServer();
    await service.add('first');
    await service.call('POST', allocate, { ttl_seconds: 3600 });
    const attempts = vi.spyOn(service.store, 'ensureLeases');
    const waiting = [1000, 2000].map((wait_ms) => service.call('POST', allocate, { wait_ms }));
    await vi.waitFor(() => expect(attempts.mock.calls.length).toBeGreaterThanOrEqual(2));
    service.clock.advance(1500);
    expect((await Promise.race(waiting)).status).toBe(503);
    service.clock.advance(1000);
    expect((await Promise.all(waiting)).map((answer) => answer.status)).toEqual([503, 503]);
  });

  it('gives a waiting caller the account whose cooldown ends', async () => {
    const service = await startServer();
    await service.add('first');
    const lent = await service.call<AllocateAnswer>('POST', allocate, {});
    await service.call('POST', report, reportOf(lent.body, 'rate_limited', { retry_after_ms: 3000 }));
    await service.call('POST', '/api/accounts/release', { session_id: lent.body.session_id });
    const tooShort = await service.call('POST', allocate, { wait_ms: 2000 });
    expect(tooShort).toMatchObject({ status: 503, headers: { 'retry-after': '3' } });
    const waiting = service.call<AllocateAnswer>('POST', allocate, { wait_ms: 5000 });
    const isSettled = vi.fn();
    waiting.then(isSettled, isSettled);
    await vi.waitFor(() => {
      service.clock.advance(250);
      expect(isSettled).toHaveBeenCalled();
    });
    expect((await waiting).status).toBe(200);
  });

  it('takes back what was lent to a client that had gone', async () => {
    const service = await startServer();
    await service.add('first');
    const first = await service.call<AllocateAnswer>('POST', allocate, { session_id: 'first' });
    expect(first.status).toBe(200);
    const waiting = httpRequest({ host: '127.0.0.1', port: service.port, method: 'POST', path: allocate });
    waiting.on('error', () => {});
    waiting.end(JSON.stringify({ wait_ms: 60_000, session_id: 'gone' }));
    const attempts = vi.spyOn(service.store, 'ensureLeases');
    await vi.waitFor(() => expect(attempts).toHaveBeenCalled());
    waiting.destroy();
    // The server learns of it from the system, and a busy machine takes a moment.
    await new Promise((resolve) => setTimeout(resolve, 250));
    await service.call('POST', '/api/accounts/release', { session_id: 'first' });
    await vi.waitFor(async () => {
      expect((await service.pool.status()).pool_stats).toMatchObject({ in_use: 0, available: 1 });
    });
  });

  it('takes nothing back from a caller that broke off and called again for the same session', async () => {
    const service = await startServer();
    await service.add('first');
    const caller = { role: 'admin', keyId: 'local', isGateway: false } as const;
    const request = { session_id: 'twice' };
    const unheard = await service.pool.allocate(caller, request);
    const again = await service.pool.allocate(caller, request);
    expect(again.answer).toMatchObject({ created: false, accounts: unheard.answer.accounts });
    await unheard.undo();
    expect((await service.pool.status()).pool_stats.in_use).toBe(1);
    await again.undo();
    expect((await service.pool.status()).pool_stats.in_use).toBe(1);
    const last = await service.pool.allocate(caller, { session_id: 'once' }).catch((error) => error.code);
    expect(last).toBe('no_account_available');
  });

  it('asks gateways for idle leases and waits for them', async () => {
    const gatewayKey = 'the-key-of-gateways';
    const service = await startServer({}, { gatewayKey });
    const id = await service.add('first');
    const held = { session_id: 'gateway:1', exclusive: false };
    const gateway = { authorization: `Bearer ${gatewayKey}` };
    await service.call('POST', allocate, held, gateway);
    const events: PoolEvent[] = [];
    service.pool.events.listen(({ event }) => {
      events.push(event);
      if (event.type === 'lease-wanted')
        void service.call('POST', '/api/accounts/release', { session_id: 'gateway:1' }, gateway);
    });
    expect((await service.call('POST', allocate, {})).status).toBe(200);
    expect(events).toContainEqual({ type: 'lease-wanted', account_ids: [id] });
  });

  it('ends waits with 503 when it shuts down', async () => {
    const service = await startServer();
    await service.add('first');
    await service.call('POST', allocate, {});
    const attempts = vi.spyOn(service.store, 'ensureLeases');
    const waiting = service.call('POST', allocate, { wait_ms: 60_000 });
    await vi.waitFor(() => expect(attempts).toHaveBeenCalled());
    service.pool.stopAccepting();
    expect(await waiting).toMatchObject({ status: 503, body: { error: { code: 'shutting_down' } } });
  });
});

describe('what an outcome does', () => {
  const lentTo = async (service: Running) => (await service.call<AllocateAnswer>('POST', allocate, {})).body;

  it('exhausts an account until its reset when the provider says nothing is left', async () => {
    const service = await startServer();
    const id = await service.add('first');
    const resetAt = new Date(service.clock.now() + 3_600_000);
    service.warp.quotas.set('wk-first', { isUnlimited: false, limit: 100, used: 100, remaining: 0, resetAt });
    const answer = await service.call('POST', report, reportOf(await lentTo(service), 'quota_exhausted'));
    expect(answer.body).toMatchObject({
      results: [{ status: 'exhausted', status_until: resetAt.toISOString() }],
    });
    service.warp.quotas.set('wk-first', { isUnlimited: false, limit: 100, used: 0, remaining: 100 });
    for (let minute = 0; minute < 17; minute += 1) {
      service.clock.advance(60_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await vi.waitFor(async () => expect((await service.pool.get(id)).account.status).toBe('active'));
  });

  it('rests an account for 5 s when the provider says something is left', async () => {
    const service = await startServer();
    await service.add('first');
    const answer = await service.call('POST', report, reportOf(await lentTo(service), 'quota_exhausted'));
    const until = new Date(service.clock.now() + 5000).toISOString();
    expect(answer.body).toMatchObject({ results: [{ status: 'cooldown', status_until: until }] });
  });

  it('rests an account and says so when the provider cannot be asked', async () => {
    const service = await startServer();
    const id = await service.add('first');
    service.warp.quotas.set('wk-first', new AppError('upstream_unauthorized', 'no'));
    await service.call('POST', report, reportOf(await lentTo(service), 'quota_exhausted'));
    expect((await service.pool.get(id)).account).toMatchObject({
      status: 'cooldown',
      status_reason: 'quota_unknown',
      status_evidence: { quota_query: { code: 'upstream_unauthorized' } },
    });
  });

  it.each([
    ['takes', undefined],
    ['says nothing about', new AppError('upstream_unavailable', 'down')],
    ['never saw', new AppError('upstream_unauthorized', 'a portal', { fault: 'network' })],
  ])(
    'does not end an account whose key the provider %s, however often it is reported',
    async (_word, answer) => {
      const service = await startServer();
      const id = await service.add('first');
      if (answer) service.warp.quotas.set('wk-first', answer);
      const lent = await lentTo(service);
      for (let time = 0; time < 5; time += 1) {
        await service.call('POST', report, reportOf(lent, 'unauthorized'));
        const { status } = (await service.pool.get(id)).account;
        expect(['active', 'cooldown']).toContain(status);
        service.clock.advance(60_000);
      }
    },
  );

  it('ends an API-key account that the provider no longer accepts', async () => {
    const service = await startServer();
    const id = await service.add('first');
    service.warp.quotas.set('wk-first', new AppError('upstream_unauthorized', 'no'));
    await service.call('POST', report, reportOf(await lentTo(service), 'unauthorized'));
    expect((await service.pool.get(id)).account).toMatchObject({
      status: 'reauth_required',
      status_reason: 'api_key_rejected',
      holders: 0,
    });
  });
});

describe('the built-in sandbox accounts', () => {
  it('answer while there is no account and go for good when one comes', async () => {
    const service = await startServer({ sandbox: true });
    const lent = await service.call<AllocateAnswer>('POST', allocate, { count: 5 });
    expect(lent.body.accounts.map((account) => account.id_token).sort()).toEqual(
      [1, 2, 3, 4, 5].map((number) => `wk-sandbox-${number}`),
    );
    expect((await service.call('GET', '/health')).body).toMatchObject({ sandbox: true });
    expect((await service.call('GET', '/api/accounts/status')).body).toMatchObject({
      sandbox: true,
      health: 'critical',
      pool_stats: { total: 0, available: 0, in_use: 0 },
    });
    await service.call('POST', report, reportOf(lent.body, 'unauthorized'));
    service.clock.advance(5000);
    expect(
      (await service.call('POST', allocate, { session_id: lent.body.session_id, count: 5 })).status,
    ).toBe(200);

    const removed: string[] = [];
    service.pool.events.listen(({ event }) => {
      if (event.type === 'account-removed') removed.push(event.account_id);
    });
    const id = await service.add('real');
    expect(removed).toHaveLength(5);
    expect((await service.call('GET', '/health')).body).toMatchObject({ sandbox: false });
    expect(
      (await service.call('POST', '/api/accounts/release', { session_id: lent.body.session_id })).status,
    ).toBe(404);
    await service.call('DELETE', `/api/accounts/${id}`);
    expect((await service.call('POST', allocate, {})).status).toBe(503);
  });
});
