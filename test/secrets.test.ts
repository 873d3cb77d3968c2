import { expect, it, onTestFinished } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { servicesForTest, userTurn } from './support/services.ts';

const adminKey = 'ADMINSECRET-1';
const poolKey = 'POOLSECRET-2';
const clientKey = 'CLIENTSECRET-3';
const masterKey = 'ab'.repeat(32);
const apiKeys = {
  good: 'wk-SECRET-good-1',
  revoked: 'wk-REJECTED-1.revoked',
  odd: 'wk-ODD SECRET with spaces',
};

/** Runs both services through a day's work and its mishaps, and collects everything they say. */
async function collectAll(): Promise<{ said: string; secrets: Map<string, string>; lent: string }> {
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const services = await servicesForTest({
    WARP_SERVER_URL: upstream.url,
    WARP_TOKEN_URL: upstream.url,
    WARP_IDENTITY_URL: upstream.url,
    WARP_OAUTH_CLIENT_ID: 'client',
    WARP_FIREBASE_API_KEY: 'K',
    REFRESH_MIN_INTERVAL_MINUTES: '0',
    ADMIN_KEY: adminKey,
    POOL_API_KEY: poolKey,
    API_KEYS: clientKey,
    MASTER_KEY: masterKey,
    LOG_LEVEL: 'DEBUG',
  });
  const said: string[] = [];
  const call = async (url: string, method = 'GET', body?: unknown, key = adminKey): Promise<string> => {
    const answer = await fetch(url, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = `${answer.status} ${JSON.stringify([...answer.headers])} ${await answer.text()}`;
    return text;
  };
  const pool = async (path: string, method = 'GET', body?: unknown, key = adminKey): Promise<string> => {
    const text = await call(`${services.poolUrl}${path}`, method, body, key);
    said.push(text);
    return text;
  };
  const idIn = (text: string): string => /"id":"(acc_[^"]+)"/.exec(text)?.[1] ?? '';
  const accounts = '/api/accounts';

  const { refreshToken } = upstream.tokens.addAccount();
  const good = idIn(await pool(accounts, 'POST', { provider: 'warp', api_key: apiKeys.good, tier: 1 }));
  const tokens = idIn(await pool(accounts, 'POST', { provider: 'warp', refresh_token: refreshToken }));
  await pool(accounts, 'POST', { provider: 'warp', api_key: apiKeys.revoked });
  // Every way of being refused with a secret at hand.
  await pool(accounts, 'POST', { provider: 'warp', api_key: apiKeys.good });
  await pool(accounts, 'POST', { provider: 'warp', api_key: apiKeys.odd });
  await pool(accounts, 'POST', { provider: 'nobody', api_key: apiKeys.good });
  await pool(accounts, 'POST', { provider: 'warp', api_key: apiKeys.good, refresh_token: refreshToken });
  await pool(accounts, 'POST', { provider: 'warp', api_key: [apiKeys.good] });
  await pool(accounts, 'POST', `{"api_key": "${apiKeys.good}" "provider"}`);
  await pool(accounts, 'POST', `${apiKeys.good}`);
  await pool(`${accounts}/${good}`, 'PATCH', { api_key: apiKeys.good });
  await pool(accounts, 'GET', undefined, poolKey);
  await pool(accounts, 'GET', undefined, `${adminKey}x`);

  await pool('/api/accounts/refresh-tokens', 'POST', { id: tokens, force: true });
  upstream.tokens.fail({ kind: '500' });
  await pool('/api/accounts/refresh-tokens', 'POST', { id: tokens, force: true });
  const lease = await call(`${services.poolUrl}/api/accounts/allocate`, 'POST', {
    session_id: 'job',
    count: 2,
  });
  const bearers = [...lease.matchAll(/"id_token":"([^"]+)"/g)].map(([, bearer = '']) => bearer);
  await pool('/api/accounts/allocate', 'POST', { session_id: 'other' }, poolKey);
  const fence = /"fence":(\d+)/.exec(lease)?.[1];
  const report = {
    account_id: idIn(lease),
    fence: Number(fence),
    token_version: 1,
    at: '2026-01-01T00:00:00Z',
  };
  // The holder of a lease is told a newer bearer with its report: that answer is not looked through.
  await call(`${services.poolUrl}/api/accounts/report`, 'POST', {
    session_id: 'job',
    reports: [{ ...report, report_id: 'r', outcome: 'rate_limited', retry_after_ms: 1 }],
  });
  await pool('/api/accounts/release', 'POST', { session_id: 'job' });

  const chat = `${services.gatewayUrl}/v1/chat/completions`;
  said.push(await call(chat, 'POST', userTurn('auto', 'hello'), clientKey));
  said.push(await call(chat, 'POST', userTurn('auto', 'hello', { stream: true }), clientKey));
  // Both accounts are rejected under way; nobody waits for others after that.
  for (const bearer of [apiKeys.good, ...bearers]) upstream.setKeyScenario(bearer, '401');
  said.push(await call(chat, 'POST', userTurn('auto', 'rejected'), clientKey));
  said.push(await call(chat, 'POST', userTurn('auto', 'x'), `${clientKey}x`));
  said.push(await call(chat, 'POST', `{"model": "${clientKey}`, clientKey));

  await pool(`${accounts}/${good}`, 'PATCH', { enabled: false });
  await pool(`${accounts}/${good}`, 'PATCH', { enabled: true, label: 'mine' });
  for (const path of [
    accounts,
    `${accounts}/${good}`,
    `${accounts}/${tokens}`,
    '/api/accounts/status',
    '/api/audit',
  ]) {
    await pool(path);
  }
  for (const path of ['/health', '/metrics', '/openapi.json', '/docs']) {
    await pool(path);
    said.push(await call(`${services.gatewayUrl}${path}`));
  }
  await pool(`${accounts}/${good}`, 'DELETE');
  await services.close();

  const secrets = new Map<string, string>([
    ['the admin key', adminKey],
    ['the key of the pool', poolKey],
    ['the key of a client', clientKey],
    ['the master key', masterKey],
    ['a refresh token', refreshToken],
    ...Object.entries(apiKeys).map(([name, key]) => [`the API key "${name}"`, key] as const),
    ...bearers.map((bearer, number) => [`bearer ${number}`, bearer] as const),
  ]);
  return { said: [services.log(), ...said].join('\n'), secrets, lent: lease };
}

it('no secret is ever logged, answered, counted or documented; only who borrows an account gets its bearer', async () => {
  const { said, secrets, lent } = await collectAll();
  // The session did what it was meant to: otherwise this test would prove little.
  expect(lent).toMatch(/^200 /);
  expect([...secrets.keys()]).toContain('bearer 1');
  expect(said).toMatch(/"result":"refreshed"/);
  expect(said).toMatch(/"level":"debug"/);
  expect(said).toMatch(/upstream_unauthorized|reauth_required/);
  const places = [...secrets].flatMap(([name, secret]) => {
    // Parts count as well; bearers all begin alike.
    const parts = name.startsWith('bearer') ? [secret.slice(-12)] : [secret.slice(0, 12), secret.slice(-12)];
    const found = parts.map((part) => said.indexOf(part)).filter((at) => at >= 0);
    return found.map((at) => `${name}: …${said.slice(Math.max(0, at - 150), at + 20)}`);
  });
  expect(places).toEqual([]);
});
