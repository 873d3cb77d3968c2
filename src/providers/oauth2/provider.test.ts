import { describe, expect, it } from 'vitest';
import { TokenError } from '../../core/provider.ts';
import { type FormAnswer, idToken, startFormServer } from '../testing/form-server.ts';
import { testHttp, testTokenHttp } from '../testing/test-http.ts';
import { createOauth2Provider, type Oauth2ProviderOptions } from './provider.ts';

const now = Date.UTC(2026, 0, 15);
const secret = 'rt-very-secret';
const answered = 'bearer-very-secret';

async function corpAt(answer: FormAnswer, change: Partial<Oauth2ProviderOptions> = {}) {
  const server = await startFormServer(() => answer);
  const provider = createOauth2Provider({
    name: 'corp',
    tokenUrl: `${server.url}/token`,
    clientId: 'client',
    clientSecret: undefined,
    deviceAuthorizationUrl: `${server.url}/device`,
    scope: undefined,
    quotaUrl: `${server.url}/quota`,
    http: testHttp,
    tokenHttp: testTokenHttp,
    userAgent: 'warp2api/test',
    now: () => now,
    ...change,
  });
  const { tokens, logins } = provider;
  if (!tokens || !logins) throw new Error('nothing is configured');
  return { provider, tokens, logins, asked: server.asked };
}

async function failureOf(promise: Promise<unknown>): Promise<TokenError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof TokenError)) throw new Error(`no TokenError: ${String(error)}`);
  for (const hidden of [secret, answered, 's3cret']) {
    expect(JSON.stringify([error.message, error.stack, String(error.cause)])).not.toContain(hidden);
  }
  return error;
}

const good = { access_token: answered, token_type: 'Bearer', expires_in: 60, refresh_token: 'rt-2' };

describe('a refresh', () => {
  it('is a form of RFC 6749 under our own name, with the secret where there is one', async () => {
    const { tokens, asked } = await corpAt([200, good], { clientSecret: 's3cret' });
    expect(await tokens.refresh(secret)).toEqual({
      bearer: answered,
      refreshToken: 'rt-2',
      lifetimeMs: 60_000,
    });
    expect(asked[0]).toMatchObject({
      path: '/token',
      headers: { 'user-agent': 'warp2api/test' },
      form: {
        grant_type: 'refresh_token',
        refresh_token: secret,
        client_id: 'client',
        client_secret: 's3cret',
      },
    });
  });

  const odd: [string, FormAnswer, object][] = [
    ['without a new refresh token', [200, { access_token: 'b', token_type: 'bearer', expires_in: 5 }], {}],
    [
      'with everything odd',
      [
        200,
        { access_token: 'b', expires_in: '5', refresh_token: '', scope: ['x'] },
        { 'content-type': 'text/plain' },
      ],
      {},
    ],
    [
      'with an ID token of an issuer nobody knows',
      [
        200,
        {
          access_token: 'b',
          token_type: 'bearer',
          expires_in: 5,
          id_token: idToken({ iss: 'x', email: 'me@example.com' }),
        },
      ],
      { email: 'me@example.com' },
    ],
  ];
  it.each(odd)('loses no token to an answer %s', async (_name, answer, more) => {
    const { tokens } = await corpAt(answer);
    expect(await tokens.refresh(secret)).toEqual({ bearer: 'b', lifetimeMs: 5_000, ...more });
  });

  it.each([
    [400, { error: 'invalid_grant', error_description: secret }, 'invalid_grant'],
    [401, { error: 'invalid_client' }, 'refused'],
    [400, { error: 'invalid_scope' }, 'refused'],
    [429, {}, 'refused'],
    [503, 'down', 'refused'],
    [307, {}, 'refused'],
    [500, { error: 'server_error' }, 'unknown'],
    [502, '<html>', 'unknown'],
    [403, '<html>', 'unsent'],
    [200, 'no JSON', 'unknown'],
    [200, { refresh_token: 'rt-2', token_type: 'bearer' }, 'unknown'],
    [200, { ...good, access_token: 'a\nb' }, 'unknown'],
    [200, { ...good, token_type: 'mac' }, 'unknown'],
  ] as const)('answered with %i %j failed as %s, after one request', async (status, body, failure) => {
    const { tokens, asked } = await corpAt([status, body, { 'retry-after': '9', location: '/else' }]);
    const error = await failureOf(tokens.refresh(secret));
    expect(error.failure).toBe(failure);
    if (status === 429) expect(error.retryAfterMs).toBe(9_000);
    expect(asked).toHaveLength(1);
  });

  it('that a proxy challenges was refused', async () => {
    const { tokens } = await corpAt([401, {}, { 'www-authenticate': 'Bearer realm="x"' }]);
    expect((await failureOf(tokens.refresh(secret))).failure).toBe('refused');
  });

  it('is unsent where nobody listens, and unclear where the connection broke', async () => {
    const nobody = await corpAt([200, good], { tokenUrl: 'http://127.0.0.1:1/token' });
    const error = await failureOf(nobody.tokens.refresh(secret));
    expect(error.failure).toBe('unsent');
    expect(error.message).toContain('providers.corp.token_url');
    const reset = await corpAt((response) => response.socket?.resetAndDestroy());
    expect((await failureOf(reset.tokens.refresh(secret))).failure).toBe('unknown');
  });

  it('may be repeated within the hour only at this machine', async () => {
    expect((await corpAt([200, good])).tokens.isLoopback).toBe(true);
    const far = await corpAt([200, good], { tokenUrl: 'https://issuer.example/token' });
    expect(far.tokens.isLoopback).toBe(false);
  });
});

describe('a device login', () => {
  const begun = {
    device_code: 'dc',
    user_code: 'AB-CD',
    verification_uri: 'https://corp.example/device',
    expires_in: 900,
  };

  it('begins with the scope that is configured', async () => {
    const { logins, asked } = await corpAt([200, begun], { scope: 'offline_access chat' });
    expect(await logins.start()).toEqual({
      deviceCode: 'dc',
      userCode: 'AB-CD',
      verificationUri: 'https://corp.example/device',
      expiresInMs: 900_000,
      intervalMs: 5_000,
    });
    expect(asked[0]).toMatchObject({
      path: '/device',
      form: { client_id: 'client', scope: 'offline_access chat' },
    });
  });

  it('begins with words for people as they are, and with addresses of either name', async () => {
    const { verification_uri: verification_url, ...rest } = begun;
    const complete = 'https://corp.example/device?user_code=AB CD';
    const answer = { ...rest, verification_url, user_code: 'AB CD', verification_uri_complete: complete };
    const { logins } = await corpAt([200, { ...answer, expires_in: '900', interval: '7' }]);
    expect(await logins.start()).toEqual({
      deviceCode: 'dc',
      userCode: 'AB CD',
      verificationUri: 'https://corp.example/device',
      verificationUriComplete: complete,
      expiresInMs: 900_000,
      intervalMs: 7_000,
    });
    const { logins: unfit } = await corpAt([200, { ...answer, user_code: 'AB\u001b[2J' }]);
    expect((await failureOf(unfit.start())).failure).toBe('unknown');
  });

  it('begins nowhere but on a web page', async () => {
    const { logins } = await corpAt([200, { ...begun, verification_uri: 'file:///etc/passwd' }]);
    expect((await failureOf(logins.start())).failure).toBe('refused');
  });

  it.each([
    ['authorization_pending', 'pending'],
    ['slow_down', 'slow_down'],
    ['access_denied', 'denied'],
    ['expired_token', 'expired'],
  ])('%s is %s', async (error, result) => {
    const { logins } = await corpAt([400, { error }]);
    expect(await logins.poll('dc')).toEqual({ result });
  });

  it('takes no word that every object knows for an answer', async () => {
    const { logins } = await corpAt([400, { error: 'constructor' }]);
    expect(await failureOf(logins.poll('dc'))).toMatchObject({ failure: 'refused' });
  });

  it('ends with a grant, or says that the scope brings no refresh token', async () => {
    const { logins, asked } = await corpAt([200, good]);
    const grant = { bearer: answered, refreshToken: 'rt-2', lifetimeMs: 60_000 };
    expect(await logins.poll('dc')).toEqual({ result: 'granted', grant });
    expect(asked[0]?.form).toMatchObject({ device_code: 'dc', client_id: 'client' });
    const { logins: without } = await corpAt([200, { access_token: 'b', token_type: 'bearer' }]);
    const error = await failureOf(without.poll('dc'));
    expect(error).toMatchObject({ failure: 'invalid_grant', message: expect.stringContaining('scope') });
  });

  it('is not there without an address, and says which setting it lacks', async () => {
    const server = await startFormServer(() => [200, good]);
    const provider = createOauth2Provider({
      name: 'corp',
      tokenUrl: server.url,
      clientId: 'client',
      clientSecret: undefined,
      deviceAuthorizationUrl: undefined,
      scope: undefined,
      quotaUrl: undefined,
      http: testHttp,
      tokenHttp: testTokenHttp,
      userAgent: 'test',
      now: () => now,
    });
    expect(provider.logins).toBeUndefined();
    expect(provider.missing?.logins).toContain('providers.corp.device_authorization_url');
    await expect(provider.getQuota({ bearer: 'b' })).rejects.toThrow('quota_url');
  });
});

describe('what is left', () => {
  it('is read from the quota address', async () => {
    const { provider, asked } = await corpAt([
      200,
      { limit: 10, used: 4, remaining: 6, reset_at: '2026-02-01T00:00:00Z' },
    ]);
    expect(await provider.getQuota({ bearer: 'b' })).toEqual({
      isUnlimited: false,
      limit: 10,
      used: 4,
      remaining: 6,
      resetAt: new Date('2026-02-01T00:00:00Z'),
    });
    expect(asked[0]).toMatchObject({ path: '/quota', headers: { authorization: 'Bearer b' } });
  });

  it('is no figure where the answer has none', async () => {
    expect(await (await corpAt([200, 'fine'])).provider.getQuota({ bearer: 'b' })).toEqual({
      isUnlimited: false,
    });
  });
});
