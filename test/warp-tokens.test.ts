import { expect, it, onTestFinished } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { testContext, testSettings } from '../src/providers/testing/provider-context.ts';
import { createWarpProvider } from '../src/providers/warp/provider.ts';

/** Warp's provider against the sandbox: each was written from the description of the wire, not from the other. */
async function warpAtSandbox() {
  const sandbox = await startSandbox();
  onTestFinished(() => sandbox.close());
  const provider = createWarpProvider(testContext, {
    WARP_SERVER_URL: sandbox.url,
    WARP_OAUTH_CLIENT_ID: 'client',
    WARP_FIREBASE_API_KEY: 'K',
    WARP_IDENTITY_URL: sandbox.url,
    WARP_TOKEN_URL: sandbox.url,
  });
  const { tokens, logins } = provider;
  if (!tokens || !logins) throw new Error('nothing is configured');
  return { sandbox, provider, tokens, logins };
}

it('a refreshed bearer is taken until it lapses, and the refresh token is replaced each time', async () => {
  const { sandbox, provider, tokens } = await warpAtSandbox();
  const { refreshToken, email } = sandbox.tokens.addAccount();
  const first = await tokens.refresh(refreshToken);
  expect(first).toMatchObject({ email, refreshToken: expect.any(String) });
  expect(first.lifetimeMs).toBeGreaterThan(3_590_000);
  expect(await provider.getQuota(first)).toMatchObject({ remaining: 100_000 });
  sandbox.tokens.advance(3_601);
  await expect(provider.getQuota(first)).rejects.toMatchObject({ code: 'upstream_unauthorized' });
  const second = await tokens.refresh(first.refreshToken ?? '');
  expect(await provider.getQuota(second)).toMatchObject({ remaining: 100_000 });
  await expect(tokens.refresh(refreshToken)).rejects.toMatchObject({ failure: 'invalid_grant' });
  expect(sandbox.tokens.stats()).toMatchObject({
    misuse: 1,
    forbiddenHeaders: 0,
    lastUserAgent: 'warp2api/test',
  });
});

it.each([
  ['429', 'refused', 0],
  ['503', 'refused', 0],
  ['500', 'unknown', 0],
  ['reset-before', 'unknown', 0],
  ['reset-after', 'unknown', 1],
  ['garbage', 'unknown', 1],
  ['USER_DISABLED', 'account_gone', 0],
] as const)('the fault %s is the failure %s after one request', async (kind, failure, issued) => {
  const { sandbox, tokens } = await warpAtSandbox();
  const { refreshToken, id } = sandbox.tokens.addAccount();
  sandbox.tokens.fail({ kind });
  await expect(tokens.refresh(refreshToken)).rejects.toMatchObject({ failure });
  expect(sandbox.tokens.account(id)).toMatchObject({ asked: 1, issued });
});

it("Warp's proxy stands in for a token host that is not there", async () => {
  const { sandbox, tokens } = await warpAtSandbox();
  sandbox.tokens.fail({ kind: '404', path: '/v1/token' });
  const { refreshToken, id } = sandbox.tokens.addAccount();
  expect(await tokens.refresh(refreshToken)).toHaveProperty('bearer');
  expect(sandbox.tokens.account(id)).toMatchObject({ asked: 2, issued: 1 });
});

it('a person lets a device in, and the grant is ready for use', async () => {
  const { sandbox, provider, tokens, logins } = await warpAtSandbox();
  const login = await logins.start();
  expect(login).toMatchObject({ expiresInMs: 600_000, intervalMs: 5_000 });
  expect(await logins.poll(login.deviceCode)).toEqual({ result: 'pending' });
  expect(await logins.poll(login.deviceCode)).toEqual({ result: 'slow_down' });
  sandbox.tokens.advance(11);
  sandbox.tokens.decide(login.userCode, 'approve', 'me@example.com');
  const polled = await logins.poll(login.deviceCode);
  if (polled.result !== 'granted') throw new Error(polled.result);
  expect(polled.grant.email).toBe('me@example.com');
  expect(await provider.getQuota(polled.grant)).toMatchObject({ remaining: 100_000 });
  expect(await tokens.refresh(polled.grant.refreshToken)).toHaveProperty('refreshToken');
  await expect(logins.poll(login.deviceCode)).rejects.toMatchObject({ failure: 'invalid_grant' });
});

it('an approved login whose token cannot be exchanged says so', async () => {
  const { sandbox, logins } = await warpAtSandbox();
  const login = await logins.start();
  sandbox.tokens.decide(login.userCode, 'approve');
  sandbox.tokens.fail({ kind: '500', path: '/v1/accounts:signInWithCustomToken' });
  sandbox.tokens.fail({ kind: '500', path: '/proxy/customToken' });
  await expect(logins.poll(login.deviceCode)).rejects.toMatchObject({
    failure: 'invalid_grant',
    message: expect.stringContaining('was approved'),
  });
});

it('what is not configured is said by the name of its setting', () => {
  const bare = createWarpProvider(testContext, testSettings);
  expect(bare.tokens).toBeUndefined();
  expect(bare.missing?.tokens).toContain('WARP_FIREBASE_API_KEY');
  expect(bare.missing?.logins).toContain('WARP_OAUTH_CLIENT_ID');
  const half = createWarpProvider(testContext, { ...testSettings, WARP_FIREBASE_API_KEY: 'K' });
  expect(half.tokens?.isLoopback).toBe(false);
  expect(half.logins).toBeUndefined();
  expect(half.missing).toEqual({ logins: expect.stringContaining('WARP_OAUTH_CLIENT_ID') });
});
