import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { eventually, servicesForTest, userTurn } from './support/services.ts';

const lifetimeSeconds = 13;
const lentForMs = 3_000;
const intervalMs = 9_000;

/** One account whose token lapses seconds before the ceiling opens. */
async function startWithGap() {
  const login = await startSandbox();
  login.tokens.set({ lifetimeSeconds, windowSeconds: intervalMs / 1000 });
  const { refreshToken, id } = login.tokens.addAccount();
  const environment = {
    WARP_SERVER_URL: login.url,
    WARP_TOKEN_URL: login.url,
    WARP_IDENTITY_URL: login.url,
    WARP_FIREBASE_API_KEY: 'key',
  };
  const services = await servicesForTest(environment, (config) => ({
    ...config,
    pool: { ...config.pool, refreshMinIntervalMs: intervalMs },
  }));
  const addedAt = Date.now();
  const added = await services.pool('/api/accounts', { provider: 'warp', refresh_token: refreshToken });
  expect(added).toMatchObject({ httpStatus: 201, account: { status: 'active', token_version: 2 } });
  /** Answers the version of the token that lapsed: a process that stalls for long may see a later one do so. */
  const untilGap = async (): Promise<number> => {
    await delay(addedAt + lentForMs + 100 - Date.now());
    // The token's time began somewhat after the request did.
    return eventually('the token lapses', async () => {
      const { accounts } = await services.pool('/api/accounts');
      const [account] = accounts as {
        status: string;
        status_reason: string | null;
        token_version: number;
      }[];
      const isGap = account?.status === 'cooldown' && account.status_reason === 'token_expired';
      return isGap && account.token_version;
    });
  };
  return { services, login, id, untilGap };
}

test('callers of the pool wait out the gap between a token and the next, though they asked for no wait', async () => {
  const { services, login, id, untilGap } = await startWithGap();
  const lapsed = await untilGap();
  const answers = await Promise.all(
    ['a', 'b', 'c'].map((session) =>
      services.pool('/api/accounts/allocate', { session_id: session, exclusive: false }),
    ),
  );
  for (const answer of answers) {
    expect(answer).toMatchObject({ httpStatus: 200, accounts: [{ token_version: lapsed + 1 }] });
  }
  expect(login.tokens.account(id)).toMatchObject({ issued: lapsed, maxIssuedPerWindow: 1, misuse: 0 });
  await login.close();
});

test('a chat turn in the gap is answered, later', async () => {
  const { services, login, id, untilGap } = await startWithGap();
  const lapsed = await untilGap();
  const answer = await services.chat(userTurn('auto', 'Hello'));
  expect([answer.status, await answer.text()]).toMatchObject([200, expect.stringContaining('content')]);
  expect(login.tokens.account(id)).toMatchObject({ issued: lapsed, misuse: 0 });
  await login.close();
});

test('a token revoked early costs a turn no more than one refresh', async () => {
  const { services, login, id } = await startWithGap();
  await delay(intervalMs);
  await eventually('the second token', () => login.tokens.account(id)?.issued === 2);
  login.tokens.set({ lifetimeSeconds: 3600 });
  await eventually('the third token', () => login.tokens.account(id)?.issued === 3);
  await delay(intervalMs);
  expect((await services.chat(userTurn('auto', 'Hello'))).status).toBe(200);
  login.tokens.revoke({ account: id });
  expect((await services.chat(userTurn('auto', 'Hello again'))).status).toBe(200);
  expect(login.tokens.account(id)).toMatchObject({ issued: 4, misuse: 0 });
  await login.close();
});
