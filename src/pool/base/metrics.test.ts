import { afterEach, describe, expect, it, vi } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { AllocateAnswer } from '../../pool-api/schema.ts';
import { allocate, closeServers, report, reportOf, startServer } from '../testing/test-server.ts';
import { createPoolMetrics } from './metrics.ts';

afterEach(closeServers);

/** The figures of one name, by their labels. */
async function figures(port: number, name: string, key?: string): Promise<Record<string, number>> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { headers });
  expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  const lines = (await answer.text())
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(name.length, at), Number(line.slice(at + 1))];
    }),
  );
}

describe('GET /metrics', () => {
  it('counts accounts, allocations, refusals, reports and questions to providers', async () => {
    const { add, call, clock, port, warp } = await startServer();
    await add('one');
    await add('two', { lend: 'gateway' });
    warp.quotas.set('wk-three', new AppError('upstream_unauthorized', 'no'));
    await add('three');
    const lease = (await call<AllocateAnswer>('POST', allocate)).body;
    const refused = call('POST', allocate, { wait_ms: 1000 });
    await vi.waitFor(async () => {
      expect(await figures(port, 'warp2api_pool_waiting')).toEqual({ '': 1 });
    });
    clock.advance(1000);
    await refused;
    const usage = { input_tokens: 10, output_tokens: 4 };
    await call('POST', report, reportOf(lease, 'success', { report_id: 'r', usage }));
    await call('POST', report, reportOf(lease, 'success', { report_id: 'r', usage }));

    const of = (name: string) => figures(port, `warp2api_pool_${name}`);
    expect(await of('accounts')).toMatchObject({
      '{provider="warp",state="active"}': 2,
      '{provider="warp",state="reauth_required"}': 1,
      '{provider="warp",state="cooldown"}': 0,
    });
    expect(await of('accounts_in_use')).toEqual({ '{provider="warp"}': 1 });
    expect(await of('sessions')).toEqual({ '': 1 });
    expect(await of('allocation_seconds_count')).toEqual({
      '{result="granted"}': 1,
      '{result="no_account_available"}': 1,
    });
    expect(await of('allocations_willing_to_wait_total')).toEqual({ '': 1 });
    expect(await of('refusals_total')).toEqual({
      '{reason="leased"}': 1,
      '{reason="lend_gateway_only"}': 1,
      '{reason="reauth_required"}': 1,
    });
    expect(await of('reports_total')).toEqual({
      '{outcome="success",result="applied"}': 1,
      '{outcome="success",result="duplicate"}': 1,
    });
    expect(await of('reported_tokens_total')).toEqual({
      '{direction="input"}': 10,
      '{direction="output"}': 4,
    });
    expect(await of('quota_checks_total')).toEqual({
      '{cause="probe",result="answer"}': 2,
      '{cause="probe",result="upstream_unauthorized"}': 1,
    });
    expect((await of('store_verb_seconds_count'))['{verb="ensureLeases",result="done"}']).toBe(3);
    expect(await of('store_up')).toEqual({ '': 1 });
    expect(await figures(port, 'process_cpu_seconds_total')).toHaveProperty(['']);
  });

  it('says nothing of whose accounts they are, and is for admins where there is a key', async () => {
    const { call, port } = await startServer({}, { adminKey: 'boss', poolApiKey: 'borrow' });
    const boss = { authorization: 'Bearer boss' };
    const account = { provider: 'warp', api_key: 'wk-secret', email: 'me@example.com', label: 'mine' };
    const made = await call<{ account: { id: string } }>('POST', '/api/accounts', account, boss);
    await call('POST', allocate, { session_id: 'my-session' }, boss);
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`, { headers: boss })).text();
    expect(text).toContain('warp2api_pool_accounts');
    for (const secret of [
      'wk-secret',
      'me@example.com',
      'mine',
      'my-session',
      'boss',
      made.body.account.id,
    ]) {
      expect(text).not.toContain(secret);
    }
    expect((await call('GET', '/metrics')).status).toBe(401);
    expect((await call('GET', '/metrics', undefined, { authorization: 'Bearer borrow' })).status).toBe(403);
  });

  it('says that the store is gone instead of failing, and that a disk is nearly full', async () => {
    const figures = { stats: null, sessions: 0, waiting: 0, eventReaders: 2, isDiskLow: true };
    const text = await createPoolMetrics().text(figures);
    expect(text).toContain('warp2api_pool_store_up 0');
    expect(text).toContain('warp2api_pool_disk_low 1');
    expect(text).toContain('warp2api_pool_event_readers 2');
  });
});
