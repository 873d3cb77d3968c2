import { afterEach, describe, expect, it, vi } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { AllocateAnswer } from '../../pool-api/schema.ts';
import { mostWaiting } from '../lending/waiting-room.ts';
import {
  allocate,
  closeServers,
  type Running,
  report,
  reportOf,
  startServer,
} from '../testing/test-server.ts';

/** What a program that holds POOL_API_KEY can do to an account and to others by what it says. */

afterEach(closeServers);

const keys = {
  adminKey: 'the-key-of-the-owner',
  poolApiKey: 'the-key-of-borrowers',
  gatewayKey: 'the-key-of-the-gateway',
};
const shown = (key: string) => ({ authorization: `Bearer ${key}` });
const borrower = shown(keys.poolApiKey);
const gateway = shown(keys.gatewayKey);
const minute = 60_000;
const longestRestMs = 2 * minute;

async function startPool(accounts = 1): Promise<Running & { readonly ids: string[] }> {
  const service = await startServer({}, keys);
  const ids: string[] = [];
  for (let number = 1; number <= accounts; number += 1) {
    const account = { provider: 'warp', api_key: `k${number}` };
    const { body } = await service.call<{ account: { id: string } }>(
      'POST',
      '/api/accounts',
      account,
      shown(keys.adminKey),
    );
    ids.push(body.account.id);
  }
  return { ...service, ids };
}

async function borrow(service: Running, change: object = {}, headers = borrower): Promise<AllocateAnswer> {
  return (await service.call<AllocateAnswer>('POST', allocate, change, headers)).body;
}

const say = (
  service: Running,
  lease: AllocateAnswer,
  outcome: string,
  change: Record<string, unknown> = {},
  headers = borrower,
) => service.call('POST', report, reportOf(lease, outcome, change), headers);

const accountOf = async (service: Running, id = '') => (await service.pool.get(id)).account;

const far = '2099-01-01T00:00:00Z';
const worst: [outcome: string, change: Record<string, unknown>][] = [
  ['refused', {}],
  ['unauthorized', {}],
  ['quota_exhausted', { reset_at: far }],
  ['quota_exhausted', {}],
  ['rate_limited', { retry_after_ms: 31 * 86_400_000, reset_at: far }],
  ['rate_limited', {}],
  ['unavailable', {}],
  ['timeout', {}],
  ['protocol', {}],
];

describe.each([
  ['takes the account', undefined],
  ['does not answer', new AppError('upstream_unavailable', 'down')],
  ['is replaced by a portal', new AppError('upstream_unauthorized', 'log in', { fault: 'network' })],
])('while the provider %s', (_word, answer) => {
  it.each(worst)(
    '%s %o, said for an hour, is a short rest now and then and never more',
    async (outcome, change) => {
      const service = await startPool(2);
      const [id = ''] = service.ids;
      if (answer) service.warp.quotas.set('wk-k1', answer);
      const lease = await borrow(service, { prefer: id });
      const askedBefore = service.warp.asked.length;
      let restingMs = 0;
      const stepMs = 30_000;
      for (let gone = 0; gone < 60 * minute; gone += stepMs) {
        await say(service, lease, outcome, change);
        const { status, status_until } = await accountOf(service, id);
        expect(['active', 'cooldown']).toContain(status);
        if (status === 'cooldown') {
          const restMs = Date.parse(status_until ?? far) - service.clock.now();
          expect(restMs).toBeLessThanOrEqual(longestRestMs);
          restingMs += Math.min(stepMs, restMs);
        }
        service.clock.advance(stepMs);
      }
      expect(restingMs).toBeLessThanOrEqual(32 * minute);
      // Once a minute, and the housekeeper's own looks.
      expect(service.warp.asked.length - askedBefore).toBeLessThanOrEqual(70);
      service.clock.advance(longestRestMs);
      expect((await accountOf(service, id)).status).toBe('active');
    },
  );
});

it('many reports in one call and many calls at a time ask the provider once a minute', async () => {
  const service = await startPool();
  const lease = await borrow(service);
  const before = service.warp.asked.length;
  const item = reportOf(lease, 'unauthorized').reports[0];
  const many = Array.from({ length: 300 }, (_, index) => ({
    ...item,
    report_id: `many-${index}`,
    outcome: ['unauthorized', 'refused', 'quota_exhausted'][index % 3],
  }));
  const body = { session_id: lease.session_id, reports: many };
  await service.call('POST', report, body, borrower);
  const calls = Array.from({ length: 30 }, () => say(service, lease, 'refused'));
  await Promise.all(calls);
  // One about the key, one about the quota.
  expect(service.warp.asked.length - before).toBeLessThanOrEqual(2);
  service.clock.advance(minute);
  await say(service, lease, 'unauthorized');
  expect(service.warp.asked.length - before).toBeLessThanOrEqual(3);
});

it('who holds no lease of an account makes the pool ask nothing about it', async () => {
  const service = await startPool(2);
  const lease = await borrow(service, { prefer: service.ids[0] });
  const before = service.warp.asked.length;
  for (const outcome of ['unauthorized', 'refused', 'quota_exhausted']) {
    await say(service, lease, outcome, { account_id: service.ids[1] });
    await say({ ...service }, { ...lease, session_id: 'none' }, outcome);
  }
  expect(service.warp.asked.length).toBe(before);
});

it('a claim that the provider confirms counts like a report of the gateway', async () => {
  const service = await startPool();
  const [id] = service.ids;
  service.warp.quotas.set('wk-k1', new AppError('upstream_refused', 'blocked'));
  const lease = await borrow(service);
  for (let time = 1; time <= 3; time += 1) {
    await say(service, lease, 'refused');
    const { status, status_evidence } = await accountOf(service, id);
    expect(status).toBe(time < 3 ? 'cooldown' : 'disabled');
    expect(status_evidence).toMatchObject({ in_a_row: time });
    // Said again at once it is no further evidence.
    await say(service, lease, 'refused');
    expect((await accountOf(service, id)).status_evidence).toMatchObject({ in_a_row: time });
    service.clock.advance(16 * minute);
  }
});

it('a claimed quota signal that the figures confirm exhausts until the reset of the figures, not a claimed one', async () => {
  const service = await startPool();
  service.warp.quotas.set('wk-k1', { isUnlimited: false, limit: 100, used: 100, remaining: 0 });
  await say(service, await borrow(service), 'quota_exhausted', { reset_at: far });
  expect(await accountOf(service, service.ids[0])).toMatchObject({ status: 'exhausted', status_until: null });
});

it('a claimed quota signal bars no other free account of the provider', async () => {
  const service = await startServer({}, keys);
  for (const key of ['f1', 'f2'])
    await service.call(
      'POST',
      '/api/accounts',
      { provider: 'warp', api_key: key, free: true },
      shown(keys.adminKey),
    );
  service.warp.quotas.set('wk-f1', new AppError('upstream_unavailable', 'down'));
  service.warp.quotas.set('wk-f2', new AppError('upstream_unavailable', 'down'));
  await say(service, await borrow(service), 'quota_exhausted');
  expect((await service.call('POST', allocate, {}, borrower)).status).toBe(200);
});

describe('a claimed success', () => {
  it('ends no rest that the gateway has caused, and does not clear its counts', async () => {
    const service = await startPool();
    const [id] = service.ids;
    const shared = { exclusive: false };
    const real = await borrow(service, shared, gateway);
    const liar = await borrow(service, shared);
    for (let time = 1; time <= 3; time += 1) {
      await say(service, real, 'refused', {}, gateway);
      await say(service, liar, 'success');
      const { status } = await accountOf(service, id);
      expect(status).toBe(time < 3 ? 'cooldown' : 'disabled');
      service.clock.advance(16 * minute);
      await say(service, liar, 'success');
    }
  });

  it('proves no account', async () => {
    const service = await startServer({}, keys);
    service.warp.quotas.set('wk-new', new AppError('upstream_unavailable', 'down'));
    const { body } = await service.call<{ account: { id: string } }>(
      'POST',
      '/api/accounts',
      { provider: 'warp', api_key: 'new' },
      shown(keys.adminKey),
    );
    const { id } = body.account;
    await say(service, await borrow(service, { exclusive: false }), 'success');
    expect((await accountOf(service, id)).probe).toBe('unproved');
    await say(service, await borrow(service, { exclusive: false }, gateway), 'success', {}, gateway);
    expect((await accountOf(service, id)).probe).toBe('proved');
  });

  it('ends a rest that failures claimed by programs have caused', async () => {
    const service = await startPool(2);
    const [id = ''] = service.ids;
    const lease = await borrow(service, { prefer: id });
    for (let time = 0; time < 3; time += 1) await say(service, lease, 'unavailable');
    expect((await accountOf(service, id)).status).toBe('cooldown');
    await say(service, lease, 'success');
    expect((await accountOf(service, id)).status).toBe('active');
  });
});

it('callers that wait are only so many for each key', async () => {
  const { pool, ids } = await startPool();
  const caller = (keyId: string) => ({ role: 'borrower', keyId, isGateway: false }) as const;
  await pool.allocate(caller('one'), {});
  const codes: string[] = [];
  const wait = (keyId: string) =>
    pool.allocate(caller(keyId), { wait_ms: 60_000, exclude: [`${ids.length}`] }).then(
      () => {},
      (error: { code: string }) => void codes.push(error.code),
    );
  const waits = Array.from({ length: mostWaiting + 10 }, () => wait('one'));
  await vi.waitFor(() => expect(codes).toEqual(Array(10).fill('no_account_available')));
  waits.push(wait('other'));
  pool.stopAccepting();
  await Promise.all(waits);
  expect(codes.slice(10)).toEqual(Array(mostWaiting + 1).fill('shutting_down'));
});

it.each(worst)('%s claimed of all accounts %o leaves the gateway one of them', async (outcome, change) => {
  const service = await startPool(3);
  const lease = await borrow(service, { count: 3, exclusive: false });
  for (let round = 0; round < 4; round += 1) {
    for (const account of lease.accounts) {
      await say(service, { ...lease, accounts: [account] }, outcome, change);
    }
    expect((await borrow(service, { exclusive: false }, gateway)).accounts).toHaveLength(1);
  }
});

it('a success of the gateway ends a rest that was only claimed', async () => {
  const service = await startPool(2);
  const [id] = service.ids;
  const shared = { exclusive: false, prefer: id };
  const real = await borrow(service, shared, gateway);
  await say(service, await borrow(service, shared), 'rate_limited', { retry_after_ms: minute });
  expect((await accountOf(service, id)).status).toBe('cooldown');
  await say(service, real, 'success', {}, gateway);
  expect((await accountOf(service, id)).status).toBe('active');
});

it('the owner is believed, but that a key was rejected is asked for first', async () => {
  const service = await startPool(2);
  const owner = shown(keys.adminKey);
  const [id = '', other = ''] = service.ids;
  const lease = await borrow(service, { prefer: id }, owner);
  await say(service, lease, 'rate_limited', { retry_after_ms: 10 * minute }, owner);
  const { status_until } = await accountOf(service, id);
  expect(Date.parse(status_until ?? '') - service.clock.now()).toBe(10 * minute);

  const second = await borrow(service, { prefer: other }, owner);
  await say(service, second, 'unauthorized', {}, owner);
  expect((await accountOf(service, other)).status).toBe('active');
  service.warp.quotas.set('wk-k2', new AppError('upstream_unauthorized', 'revoked'));
  service.clock.advance(minute);
  await say(service, second, 'unauthorized', {}, owner);
  expect((await accountOf(service, other)).status).toBe('reauth_required');
});
