import { expect, it } from 'vitest';
import { servicesForTest, userTurn } from './support/services.ts';

const header = 'x-warp-active-team-uid';

it('turns bill the team of the account, and another team as soon as the owner changes it', async () => {
  const services = await servicesForTest();
  const id = await services.addAccount('wk-1', { team_uid: 'team-1' });
  const path = `/api/accounts/${id}`;
  const teamOfTurn = async () => {
    expect((await services.chat(userTurn('auto', 'Hello'))).status).toBe(200);
    return services.upstream.turns.at(-1)?.headers[header];
  };
  expect(await teamOfTurn()).toBe('team-1');
  await services.pool(path, { team_uid: 'team-2' }, 'PATCH');
  expect(await teamOfTurn()).toBe('team-2');
  await services.pool(path, { team_uid: null }, 'PATCH');
  expect(await teamOfTurn()).toBeUndefined();
});

it('an account of a provider without teams is refused one', async () => {
  const services = await servicesForTest();
  const account = { provider: 'oz', api_key: 'wk-1', team_uid: 'team-1' };
  const answer = await services.pool('/api/accounts', account);
  expect(answer).toMatchObject({ httpStatus: 400, error: { param: 'team_uid' } });
});
