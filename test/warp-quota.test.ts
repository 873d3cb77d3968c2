import { expect, it } from 'vitest';
import { eventually, servicesForTest, userTurn } from './support/services.ts';

async function accountOf(services: Awaited<ReturnType<typeof servicesForTest>>, id: string) {
  return (await services.pool(`/api/accounts/${id}`))['account'] as Record<string, unknown>;
}

it('a denial that the figures do not show exhausts the account, and its reason is shown', async () => {
  const services = await servicesForTest();
  const id = await services.addAccount('wk-1');
  services.upstream.setAvailability('wk-1', {
    available: false,
    denialReason: 'ENTERPRISE_TEAM_SPEND_LIMIT_HIT',
    creditSource: null,
  });
  expect((await services.chat(userTurn('auto', 'Hello'))).status).toBe(429);
  const account = await eventually('it is exhausted', async () => {
    const present = await accountOf(services, id);
    return present['status'] === 'exhausted' && present;
  });
  expect(account).toMatchObject({
    status_reason: 'quota_denied',
    quota: { denial_reason: 'ENTERPRISE_TEAM_SPEND_LIMIT_HIT', remaining: 100_000 },
  });
});

it('an account on overage is not exhausted, though its allowance is spent', async () => {
  const services = await servicesForTest();
  services.upstream.setCredits('wk-1', { limit: 10, used: 10 });
  services.upstream.setAvailability('wk-1', {
    available: true,
    denialReason: 'NONE',
    creditSource: 'OVERAGE',
  });
  const id = await services.addAccount('wk-1');
  expect(await accountOf(services, id)).toMatchObject({ status: 'active', quota: { remaining: 0 } });
  expect((await services.chat(userTurn('auto', 'Hello'))).status).toBe(200);
});

it('the figures alone serve where the other question fails', async () => {
  const services = await servicesForTest();
  services.upstream.tokens.fail({ kind: '503', path: 'GetAICreditAvailability' });
  services.upstream.setCredits('wk-1', { limit: 10, used: 3 });
  const id = await services.addAccount('wk-1');
  expect(await accountOf(services, id)).toMatchObject({
    status: 'active',
    probe: 'proved',
    quota: { remaining: 7, denial_reason: null },
  });
});
