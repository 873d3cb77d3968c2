import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { createHttpPool } from '../src/pool-api/http-pool.ts';
import { servicesForTest } from './support/services.ts';

async function startServer(location?: string) {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    if (location === undefined) response.end('{}');
    else response.writeHead(307, { location: location + request.url, refresh: `0;url=${location}` }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test('no redirect is followed with a credential, whichever service asks', async () => {
  const elsewhere = await startServer();
  const redirecting = await startServer(elsewhere.url);
  const services = await servicesForTest({
    WARP_SERVER_URL: redirecting.url,
    WARP_TOKEN_URL: redirecting.url,
    WARP_IDENTITY_URL: redirecting.url,
    WARP_OAUTH_CLIENT_ID: 'client',
    WARP_FIREBASE_API_KEY: 'firebase',
  });
  for (const credential of [{ api_key: 'wk-1.key' }, { refresh_token: 'a-refresh-token' }]) {
    await services.pool('/api/accounts', { provider: 'warp', ...credential });
  }
  await services.pool('/api/logins', { provider: 'warp' });
  const turn = await services.chat({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] });
  expect(turn.status).toBeGreaterThanOrEqual(429);

  const pool = createHttpPool({ baseUrl: redirecting.url, apiKey: 'borrower-key' });
  await expect(pool.allocate({ provider: 'warp' })).rejects.toMatchObject({ name: 'PoolError' });
  await pool.close();

  const paths = redirecting.asked.map(({ url = '' }) => url.split('?')[0]);

  expect(paths).toContain('/api/accounts/allocate');
  // The check of the key, the exchange of the refresh token, the login, and the turn.
  expect(new Set(paths).size).toBeGreaterThanOrEqual(5);
  expect(redirecting.asked.some(({ headers }) => headers.authorization === 'Bearer wk-1.key')).toBe(true);
  expect(elsewhere.asked).toEqual([]);
});
