import { expect, it } from 'vitest';
import { type DeviceLogins, type DevicePoll, TokenError } from '../../core/provider.ts';
import { pass, settled, startTestPool } from '../testing/test-pool.ts';
import { createDeviceLoginSource } from './device-login.ts';

const owner = { role: 'admin', keyId: 'owner', isGateway: false } as const;
const minute = 60_000;

async function poolOver(minPoolSize: number) {
  const person = { started: 0, answer: { result: 'pending' } as DevicePoll, failure: null as Error | null };
  const logins: DeviceLogins = {
    async start() {
      if (person.failure !== null) throw person.failure;
      person.started += 1;
      return {
        deviceCode: `device-${person.started}`,
        userCode: 'ABCD-EFGH',
        verificationUri: 'https://vendor.example/device',
        expiresInMs: 10 * minute,
        intervalMs: 5000,
      };
    },
    poll: async () => person.answer,
  };
  const parts = await startTestPool(
    { minPoolSize },
    {
      sources: (tools) => {
        const { basics } = tools;
        const warp = basics.providers.get('warp');
        if (warp !== undefined) Object.assign(warp, { logins });
        return [createDeviceLoginSource({ type: 'device_login', name: 'people', provider: 'warp' }, tools)];
      },
    },
  );
  await settled();
  const source = async () => (await parts.pool.status()).sources[1];
  return { ...parts, person, source };
}

it('a person is offered one login while the pool is too small, and what he approves fills it', async () => {
  const parts = await poolOver(1);
  await pass(parts.clock, minute);
  expect(parts.person.started).toBe(1);
  expect(await parts.source()).toMatchObject({
    type: 'device_login',
    login: { user_code: 'ABCD-EFGH', verification_uri: 'https://vendor.example/device', status: 'pending' },
  });
  expect(JSON.stringify(await parts.pool.status())).not.toContain('device-1');
  const grant = { bearer: 'b-1', refreshToken: 'rt-1', lifetimeMs: 60 * minute };
  parts.person.answer = { result: 'granted', grant };
  await pass(parts.clock, minute);
  expect((await parts.pool.status()).pool_stats.available).toBe(1);
  expect(await parts.source()).toMatchObject({ login: null });
  expect(parts.person.started).toBe(1);
  await parts.pool.close();
});

it('logins are offered no more often than every 15 minutes', async () => {
  const parts = await poolOver(1);
  await pass(parts.clock, 14 * minute);
  expect(parts.person.started).toBe(1);
  await parts.pool.replenish(owner, { count: 1 });
  expect(parts.person.started).toBe(1);
  await pass(parts.clock, 2 * minute);
  expect(parts.person.started).toBe(2);
  await pass(parts.clock, 30 * minute);
  expect(parts.person.started).toBe(4);
  await parts.pool.close();
});

it('a vendor that starts no login makes the source back off', async () => {
  const parts = await poolOver(0);
  parts.person.failure = new TokenError('refused', 'The vendor is closed for today.');
  const answer = await parts.pool.replenish(owner, { count: 1 });
  expect(answer.reasons).toEqual(['people: no login could be started: The vendor is closed for today.']);
  expect(await parts.source()).toMatchObject({ state: 'backing_off' });
  await parts.pool.close();
});
