import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Sandbox, startSandbox } from './index.ts';
import { graphqlBody } from './raw-client.ts';

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await startSandbox();
});
afterEach(() => sandbox.close());

interface Said {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

async function post(
  path: string,
  form: Record<string, string>,
  headers: Record<string, string> = {},
  signal?: AbortSignal,
): Promise<Said> {
  const answer = await fetch(`${sandbox.url}${path}`, {
    method: 'POST',
    headers,
    body: new URLSearchParams(form),
    ...(signal === undefined ? {} : { signal }),
  });
  const body = (await answer.json()) as Record<string, unknown>;
  return { status: answer.status, headers: answer.headers, body };
}

async function control(method: string, path: string, body?: unknown): Promise<Said> {
  const answer = await fetch(`${sandbox.url}/sandbox${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return {
    status: answer.status,
    headers: answer.headers,
    body: (await answer.json()) as Record<string, unknown>,
  };
}

const refresh = (refreshToken: string, path = '/v1/token?key=K') =>
  post(path, { grant_type: 'refresh_token', refresh_token: refreshToken });

async function usageStatus(bearer: string): Promise<number> {
  const answer = await fetch(`${sandbox.url}/graphql/v2?op=GetRequestLimitInfo`, {
    method: 'POST',
    headers: { authorization: `Bearer ${bearer}` },
    body: graphqlBody('GetRequestLimitInfo', 'user { requestLimitInfo { requestLimit } }'),
  });
  await answer.text();
  return answer.status;
}

const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';

test('a refresh gives a bearer that the other paths take until it expires or is revoked', async () => {
  const { refreshToken, email } = sandbox.tokens.addAccount();
  const { status, body } = await refresh(refreshToken);
  expect(status).toBe(200);
  expect(body).toMatchObject({ expires_in: '3600', token_type: 'Bearer', refresh_token: expect.any(String) });
  const bearer = String(body['id_token']);
  expect(JSON.parse(Buffer.from(bearer.split('.')[1] ?? '', 'base64url').toString())).toMatchObject({
    email,
  });
  expect(await usageStatus(bearer)).toBe(200);
  sandbox.tokens.advance(3_601);
  expect(await usageStatus(bearer)).toBe(401);

  const early = sandbox.tokens.mint(email);
  expect(await usageStatus(early)).toBe(200);
  sandbox.tokens.revoke({ bearer: early });
  expect(await usageStatus(early)).toBe(401);
  expect(await usageStatus('eyJ.made.up')).toBe(401);
  expect(await usageStatus(refreshToken)).toBe(401);
});

test('both token paths need a key and speak the same', async () => {
  const { refreshToken } = sandbox.tokens.addAccount();
  expect((await refresh(refreshToken, '/v1/token')).status).toBe(403);
  sandbox.tokens.set({ apiKey: 'right' });
  expect((await refresh(refreshToken, '/proxy/token?key=wrong')).status).toBe(400);
  expect((await refresh(refreshToken, '/proxy/token?key=right')).body).toHaveProperty('id_token');
});

test.each([
  ['never', 200, 0],
  ['always', 400, 1],
] as const)('with rotation %s an old refresh token answers %i', async (rotation, status, misuse) => {
  sandbox.tokens.set({ rotation });
  const { refreshToken, id } = sandbox.tokens.addAccount();
  const first = await refresh(refreshToken);
  expect(first.body['refresh_token'] === refreshToken).toBe(rotation === 'never');
  const again = await refresh(refreshToken);
  expect(again.status).toBe(status);
  if (status === 400) expect(again.body['error']).toEqual({ code: 400, message: 'INVALID_REFRESH_TOKEN' });
  expect((await refresh(String(first.body['refresh_token']))).status).toBe(200);
  expect(sandbox.tokens.account(id)).toMatchObject({ misuse, asked: 3, issued: misuse === 0 ? 3 : 2 });
});

test('with rotation grace an old refresh token works once more, for a while', async () => {
  sandbox.tokens.set({ rotation: 'grace', graceSeconds: 10 });
  const { refreshToken } = sandbox.tokens.addAccount();
  expect((await refresh(refreshToken)).status).toBe(200);
  expect((await refresh(refreshToken)).status).toBe(200);
  expect((await refresh(refreshToken)).status).toBe(400);
  const late = sandbox.tokens.addAccount();
  await refresh(late.refreshToken);
  sandbox.tokens.advance(11);
  expect((await refresh(late.refreshToken)).status).toBe(400);
  expect(sandbox.tokens.stats().misuse).toBe(2);
});

test('closed, logged out and unknown are told apart', async () => {
  const { refreshToken, id } = sandbox.tokens.addAccount();
  const word = async (token: string) => ((await refresh(token)).body['error'] as { message: string }).message;
  sandbox.tokens.close(id, 'USER_DISABLED');
  expect(await word(refreshToken)).toBe('USER_DISABLED');
  sandbox.tokens.close(id, null);
  sandbox.tokens.revokeRefreshTokens(id);
  expect(await word(refreshToken)).toBe('TOKEN_EXPIRED');
  expect(await word('rt-nobody')).toBe('INVALID_REFRESH_TOKEN');
  expect(await word('')).toBe('MISSING_REFRESH_TOKEN');
  expect(sandbox.tokens.stats()).toMatchObject({ asked: 3, issued: 0, unknown: 1 });
});

test('the most refreshes within one window are remembered', async () => {
  sandbox.tokens.set({ rotation: 'never' });
  const { refreshToken } = sandbox.tokens.addAccount();
  await refresh(refreshToken);
  sandbox.tokens.advance(3_601);
  await refresh(refreshToken);
  expect(sandbox.tokens.stats().maxIssuedPerWindow).toBe(1);
  await refresh(refreshToken);
  expect(sandbox.tokens.stats().maxIssuedPerWindow).toBe(2);
});

test('ordered failures meet the next calls, of one account or path if so asked', async () => {
  const { refreshToken, id } = sandbox.tokens.addAccount();
  const other = sandbox.tokens.addAccount();
  sandbox.tokens.fail({ kind: '429', retryAfterSeconds: 7, account: id, times: 2 });
  expect((await refresh(other.refreshToken)).status).toBe(200);
  const limited = await refresh(refreshToken);
  expect(limited.status).toBe(429);
  expect(limited.headers.get('retry-after')).toBe('7');
  expect((await refresh(refreshToken)).status).toBe(429);
  sandbox.tokens.fail({ kind: '503', path: '/proxy/token' });
  expect((await refresh(refreshToken)).status).toBe(200);
  sandbox.tokens.clearFaults();
  sandbox.tokens.fail({ kind: 'USER_DISABLED' });
  expect((await refresh('rt-x')).body).toEqual({ error: { code: 400, message: 'USER_DISABLED' } });
});

test.each([
  ['hang', 0],
  ['reset-before', 0],
  ['hang-after', 1],
  ['reset-after', 1],
  ['garbage', 1],
] as const)('the fault %s gives the caller nothing and executes %i refreshes', async (kind, issued) => {
  const { refreshToken, id } = sandbox.tokens.addAccount();
  sandbox.tokens.fail({ kind });
  const caller = new AbortController();
  const form = { grant_type: 'refresh_token', refresh_token: refreshToken };
  const nothing = expect(post('/v1/token?key=K', form, {}, caller.signal)).rejects.toThrow();
  await expect.poll(() => sandbox.tokens.account(id)).toMatchObject({ issued, asked: 1 });
  // An answer would have come by now.
  await new Promise((resolve) => setTimeout(resolve, 100));
  caller.abort();
  await nothing;
  expect(sandbox.tokens.account(id)).toMatchObject({ issued, asked: 1 });
});

test('a device is let in at Warp: a custom token, which is exchanged once it is approved', async () => {
  const started = (await post('/api/v1/oauth/device/auth', { client_id: 'c' })).body;
  expect(started).toMatchObject({ expires_in: 600, interval: 5, verification_uri: `${sandbox.url}/device` });
  const deviceCode = String(started['device_code']);
  const poll = () =>
    post('/api/v1/oauth/token', { grant_type: deviceGrant, device_code: deviceCode, client_id: 'c' });
  expect(await poll()).toMatchObject({ status: 400, body: { error: 'authorization_pending' } });
  expect((await poll()).body['error']).toBe('slow_down');
  sandbox.tokens.advance(6);
  // The interval has grown to ten seconds.
  expect((await poll()).body['error']).toBe('slow_down');

  const page = await fetch(String(started['verification_uri_complete']));
  expect(await page.text()).toContain(String(started['user_code']));
  const form = { user_code: String(started['user_code']), action: 'approve', email: 'me@example.com' };
  expect(
    (await fetch(`${sandbox.url}/device`, { method: 'POST', body: new URLSearchParams(form) })).status,
  ).toBe(200);
  sandbox.tokens.advance(20);
  const granted = await poll();
  const custom = String(granted.body['access_token']);
  expect(granted.body).not.toHaveProperty('refresh_token');
  expect((await poll()).body['error']).toBe('invalid_grant');
  expect(await usageStatus(custom)).toBe(401);

  const exchanged = await post('/v1/accounts:signInWithCustomToken?key=K', {
    token: custom,
    returnSecureToken: 'true',
  });
  expect(exchanged.body).toMatchObject({ expiresIn: '3600', refreshToken: expect.any(String) });
  expect(await usageStatus(String(exchanged.body['idToken']))).toBe(200);
  expect((await refresh(String(exchanged.body['refreshToken']))).status).toBe(200);
  expect(sandbox.tokens.account('me@example.com')).toMatchObject({ issued: 1 });
  const unknown = await post('/proxy/customToken?key=K', { token: 'custom-x', returnSecureToken: 'true' });
  expect(unknown.body['error']).toEqual({ code: 400, message: 'INVALID_CUSTOM_TOKEN' });
});

test('a device may be denied, or forgotten', async () => {
  const start = async () => (await post('/oauth/device_authorization', { client_id: 'c' })).body;
  const poll = async (deviceCode: unknown) =>
    (
      await post('/oauth/token', {
        grant_type: deviceGrant,
        device_code: String(deviceCode),
        client_id: 'c',
      })
    ).body['error'];
  const denied = await start();
  expect(sandbox.tokens.decide(String(denied['user_code']).toLowerCase(), 'deny')).toBe(true);
  expect(sandbox.tokens.decide(String(denied['user_code']), 'approve')).toBe(false);
  expect(await poll(denied['device_code'])).toBe('access_denied');
  sandbox.tokens.set({ device: { lifetimeSeconds: 5 } });
  const late = await start();
  sandbox.tokens.advance(6);
  expect(await poll(late['device_code'])).toBe('expired_token');
  expect(await poll('dc-unknown')).toBe('invalid_grant');
});

test('the plain token endpoint speaks RFC 6749 and may ask for a secret, in the form or the header', async () => {
  sandbox.tokens.set({ clientSecret: 's:1', rotation: 'never' });
  const { refreshToken } = sandbox.tokens.addAccount();
  const form = { grant_type: 'refresh_token', refresh_token: refreshToken };
  expect(await post('/oauth/token', { ...form, client_id: 'c' })).toMatchObject({
    status: 401,
    body: { error: 'invalid_client' },
  });
  const inForm = await post('/oauth/token', { ...form, client_id: 'c', client_secret: 's:1' });
  expect(inForm.body).toMatchObject({ token_type: 'Bearer', expires_in: 3600 });
  expect(inForm.body).not.toHaveProperty('refresh_token');
  const basic = `Basic ${Buffer.from('c:s%3A1').toString('base64')}`;
  expect((await post('/oauth/token', form, { authorization: basic })).status).toBe(200);
  sandbox.tokens.set({ rotation: 'always' });
  const rotated = await post('/oauth/token', { ...form, client_id: 'c', client_secret: 's:1' });
  expect(rotated.body['refresh_token']).not.toBe(refreshToken);
});

test('everything can be driven over HTTP', async () => {
  await control('POST', '/tokens', { rotation: 'never', lifetime_seconds: 60, device_interval_seconds: 1 });
  const { body } = await control('POST', '/accounts', { count: 2 });
  const [account] = body['accounts'] as { id: string; refresh_token: string }[];
  expect(body['accounts']).toHaveLength(2);
  await control('POST', '/faults', { kind: '500', account: account?.id });
  expect((await refresh(account?.refresh_token ?? '')).status).toBe(500);
  expect((await refresh(account?.refresh_token ?? '')).body['expires_in']).toBe('60');
  const { body: minted } = await control('POST', '/bearers', { account: account?.id });
  await control('POST', '/clock', { advance_seconds: 61 });
  expect(await usageStatus(String(minted['bearer']))).toBe(401);
  expect((await control('GET', `/tokens?account=${account?.id}`)).body).toMatchObject({
    asked: 2,
    issued: 1,
  });
  expect((await control('GET', '/tokens')).body).toMatchObject({ asked: 2, max_issued_per_window: 1 });
  await control('PATCH', '/accounts', { account: account?.id, closed: 'USER_NOT_FOUND' });
  expect((await refresh(account?.refresh_token ?? '')).status).toBe(400);

  const started = (await post('/api/v1/oauth/device/auth', { client_id: 'c' })).body;
  expect(started['interval']).toBe(1);
  const decision = { user_code: started['user_code'], action: 'deny' };
  expect((await control('POST', '/devices', decision)).status).toBe(200);
  const { devices } = (await control('GET', '/devices')).body as { devices: Record<string, unknown>[] };
  expect(devices[0]).toMatchObject({ state: 'denied', polls: 0 });
  expect(devices[0]).not.toHaveProperty('device_code');
  expect((await control('POST', '/tokens', { rotatoin: 'never' })).status).toBe(400);
  expect((await control('POST', '/nothing', {})).status).toBe(404);
});

test('what is left, and whether a chat is let in, can be set for an account that logs in', async () => {
  const { id, email } = sandbox.tokens.addAccount();
  const bearer = sandbox.tokens.mint(email);
  const fields = {
    requestLimitInfo: 'requestLimit',
    aiCreditAvailability: 'available denialReason',
  };
  const ask = async (op: string, field: keyof typeof fields) => {
    const answer = await fetch(`${sandbox.url}/graphql/v2?op=${op}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${bearer}` },
      body: graphqlBody(op, `user { ${field} { ${fields[field]} } }`),
    });
    return ((await answer.json()) as { data: { user: { user: Record<string, unknown> } } }).data.user.user[
      field
    ];
  };
  const spent = { available: false, denial_reason: 'DELINQUENT', credit_source: null };
  await control('POST', '/credits', { account: id, credits: { limit: 7, used: 7 } });
  expect(await ask('GetRequestLimitInfo', 'requestLimitInfo')).toMatchObject({ requestLimit: 7 });
  expect(await ask('GetAICreditAvailability', 'aiCreditAvailability')).toMatchObject({ available: false });
  await control('POST', '/availability', { account: id, availability: spent });
  expect(await ask('GetAICreditAvailability', 'aiCreditAvailability')).toMatchObject({
    denialReason: 'DELINQUENT',
  });
  sandbox.tokens.fail({ kind: '503', path: 'GetAICreditAvailability', account: id });
  await expect(ask('GetAICreditAvailability', 'aiCreditAvailability')).rejects.toThrow();
  expect(await ask('GetRequestLimitInfo', 'requestLimitInfo')).toMatchObject({ requestLimit: 7 });
});
