import { describe, expect, it } from 'vitest';
import { TokenError } from '../../core/provider.ts';
import { type FormAnswer, idToken, startFormServer } from '../testing/form-server.ts';
import { testTokenHttp } from '../testing/test-http.ts';
import { createPostForm } from '../tokens.ts';
import { createWarpOauth } from './oauth.ts';

const now = Date.UTC(2026, 0, 15);
/** Port 1 of this machine, on which nobody listens. */
const nobody = 'http://127.0.0.1:1';
const secret = 'rt-very-secret';

async function oauthAt(
  answer: (path: string, index: number) => FormAnswer,
  urls: { readonly tokenUrl?: string; readonly identityUrl?: string; readonly serverUrl?: string } = {},
) {
  const server = await startFormServer(({ path }, index) => answer(path, index));
  const oauth = createWarpOauth({
    serverUrl: `${server.url}/base`,
    tokenUrl: server.url,
    identityUrl: server.url,
    firebaseApiKey: 'K',
    postForm: createPostForm(testTokenHttp, 'warp2api/test'),
    now: () => now,
    ...urls,
  });
  return {
    ...oauth,
    asked: server.asked,
    url: server.url,
    paths: () => server.asked.map(({ path }) => path),
  };
}

async function failureOf(promise: Promise<unknown>): Promise<TokenError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof TokenError)) throw new Error(`no TokenError: ${String(error)}`);
  expect(`${error.message} ${error.stack}`).not.toContain(secret);
  return error;
}

const direct = '/v1/token?key=K';
const proxy = '/base/proxy/token?key=K';
const good: FormAnswer = [200, { id_token: 'bearer', refresh_token: 'rt-2', expires_in: '3600' }];
const word = (message: string, code = 400): FormAnswer => [code, { error: { code, message } }];

describe('a refresh', () => {
  it('is one form at the token host, under our own name', async () => {
    const { tokens, asked } = await oauthAt(() => good);
    expect(await tokens.refresh(secret)).toEqual({
      bearer: 'bearer',
      refreshToken: 'rt-2',
      lifetimeMs: 3_600_000,
    });
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({
      path: direct,
      form: { grant_type: 'refresh_token', refresh_token: secret },
      headers: { 'user-agent': 'warp2api/test', 'content-type': 'application/x-www-form-urlencoded' },
    });
    expect(Object.keys(asked[0]?.headers ?? {}).filter((name) => name.startsWith('x-'))).toEqual([]);
  });

  it.each([
    ['snake case, a decimal string', { id_token: 'b', refresh_token: 'r', expires_in: '60' }, 60_000],
    ['camel case, a number', { idToken: 'b', refreshToken: 'r', expiresIn: 90 }, 90_000],
  ])('is understood in %s', async (_name, body, lifetimeMs) => {
    const { tokens } = await oauthAt(() => [200, body]);
    expect(await tokens.refresh(secret)).toEqual({
      bearer: 'b',
      refreshToken: 'r',
      lifetimeMs,
    });
  });

  it('takes the lifetime from the ID token, whatever the issuer takes the time for', async () => {
    const issuedAt = now / 1_000 + 7_200;
    const bearer = idToken({ iat: issuedAt, exp: issuedAt + 600 });
    const { tokens } = await oauthAt(() => [200, { id_token: bearer, refresh_token: 'rt-2' }]);
    expect((await tokens.refresh(secret)).lifetimeMs).toBe(600_000);
  });

  it('takes expiry and e-mail address from the ID token where the answer has none', async () => {
    const bearer = idToken({ exp: now / 1_000 + 120, email: 'me@example.com' });
    const { tokens } = await oauthAt(() => [200, { id_token: bearer }]);
    expect(await tokens.refresh(secret)).toEqual({
      bearer,
      lifetimeMs: 120_000,
      email: 'me@example.com',
    });
  });

  it('uses a token URL with a path as it is', async () => {
    const server = await startFormServer(() => good);
    const { tokens } = await oauthAt(() => good, { tokenUrl: `${server.url}/own/path?a=b` });
    await tokens.refresh(secret);
    expect(server.asked[0]?.path).toBe('/own/path?a=b&key=K');
  });

  it('may be repeated early only where both hosts are on this machine', async () => {
    expect((await oauthAt(() => good)).tokens.isLoopback).toBe(true);
    expect((await oauthAt(() => good, { tokenUrl: 'https://t.example' })).tokens.isLoopback).toBe(false);
    expect((await oauthAt(() => good, { serverUrl: 'https://s.example' })).tokens.isLoopback).toBe(false);
  });
});

describe('a failed refresh', () => {
  it.each([
    ['TOKEN_EXPIRED', 'invalid_grant'],
    ['INVALID_REFRESH_TOKEN', 'invalid_grant'],
    ['MISSING_REFRESH_TOKEN', 'invalid_grant'],
    ['INVALID_REFRESH_TOKEN : with an explanation', 'invalid_grant'],
    ['USER_DISABLED', 'account_gone'],
    ['USER_NOT_FOUND', 'account_gone'],
    ['API key not valid. Please pass a valid API key.', 'refused'],
  ])('%s means %s, and nobody else is asked', async (message, failure) => {
    const { tokens, paths } = await oauthAt(() => word(message));
    expect((await failureOf(tokens.refresh(secret))).failure).toBe(failure);
    expect(paths()).toEqual([direct]);
  });

  it.each([429, 503])('%i is a refusal with its waiting time, and is not taken elsewhere', async (status) => {
    const { tokens, paths } = await oauthAt(() => [status, {}, { 'retry-after': '7' }]);
    expect(await failureOf(tokens.refresh(secret))).toMatchObject({
      failure: 'refused',
      retryAfterMs: 7_000,
    });
    expect(paths()).toEqual([direct]);
  });

  const unclear: [string, FormAnswer][] = [
    ['500', [500, {}]],
    ['a reset', (response) => response.socket?.resetAndDestroy()],
    ['a 200 that is no JSON', [200, '<html>']],
    ['a 200 without a token', [200, { refresh_token: 'r' }]],
    ['a bearer that no header can hold', [200, { id_token: 'a\nb', refresh_token: 'r' }]],
  ];
  it.each(unclear)('%s may have spent the token: it is not sent again', async (_name, answer) => {
    const { tokens, paths } = await oauthAt(() => answer);
    expect((await failureOf(tokens.refresh(secret))).failure).toBe('unknown');
    expect(paths()).toEqual([direct]);
  });

  it('a host that does not answer may have spent the token: it is not sent again', async () => {
    const { tokens, paths } = await oauthAt(() => () => {});
    const error = await failureOf(tokens.refresh(secret));
    expect(error.failure).toBe('unknown');
    expect(error.message).toContain('WARP_TOKEN_URL did not answer in time');
    expect(paths()).toEqual([direct]);
  });

  it('a redirect is not followed', async () => {
    const { tokens, paths } = await oauthAt(() => [307, {}, { location: '/elsewhere' }]);
    expect((await failureOf(tokens.refresh(secret))).failure).toBe('refused');
    expect(paths()).toEqual([direct]);
  });
});

describe("Warp's own proxy", () => {
  it('is asked when nobody could be reached, for then nothing was sent', async () => {
    const { tokens, paths } = await oauthAt(() => good, { tokenUrl: nobody });
    expect(await tokens.refresh(secret)).toMatchObject({ refreshToken: 'rt-2' });
    expect(paths()).toEqual([proxy]);
  });

  it.each([403, 404, 405])('is asked when the host itself answers %i', async (status) => {
    const { tokens, paths } = await oauthAt((path) => (path === direct ? [status, 'no'] : good));
    expect(await tokens.refresh(secret)).toMatchObject({ bearer: 'bearer' });
    expect(paths()).toEqual([direct, proxy]);
  });

  it('is not asked when the 403 is about the account', async () => {
    const { tokens, paths } = await oauthAt(() => word('USER_DISABLED', 403));
    expect((await failureOf(tokens.refresh(secret))).failure).toBe('account_gone');
    expect(paths()).toEqual([direct]);
  });

  it('its own failure counts, unless it says nothing new', async () => {
    const lost = await oauthAt((path) =>
      path === direct ? [404, 'no'] : (r) => r.socket?.resetAndDestroy(),
    );
    expect((await failureOf(lost.tokens.refresh(secret))).failure).toBe('unknown');
    const dead = await oauthAt(() => word('TOKEN_EXPIRED'), { tokenUrl: nobody });
    expect((await failureOf(dead.tokens.refresh(secret))).failure).toBe('invalid_grant');
    const without = await oauthAt(() => [404, 'no'], { tokenUrl: nobody });
    expect((await failureOf(without.tokens.refresh(secret))).failure).toBe('unsent');
    const alone = await oauthAt(() => good, { tokenUrl: nobody, serverUrl: nobody });
    expect((await failureOf(alone.tokens.refresh(secret))).failure).toBe('unsent');
  });
});

describe('the exchange of a custom token', () => {
  const exchanged: FormAnswer = [200, { idToken: 'b', refreshToken: 'r', expiresIn: '3600' }];

  it('is one form at the identity host', async () => {
    const { exchange, asked } = await oauthAt(() => exchanged);
    expect(await exchange('custom')).toEqual({ bearer: 'b', refreshToken: 'r', lifetimeMs: 3_600_000 });
    expect(asked[0]).toMatchObject({
      path: '/v1/accounts:signInWithCustomToken?key=K',
      form: { returnSecureToken: 'true', token: 'custom' },
    });
  });

  it('may be repeated at the proxy after any failure, for it spends nothing', async () => {
    const { exchange, paths } = await oauthAt((path) => (path.startsWith('/v1/') ? [500, {}] : exchanged));
    expect(await exchange('custom')).toMatchObject({ refreshToken: 'r' });
    expect(paths()).toEqual(['/v1/accounts:signInWithCustomToken?key=K', '/base/proxy/customToken?key=K']);
  });

  it('is not repeated for an account that is closed', async () => {
    const { exchange, paths } = await oauthAt(() => word('USER_DISABLED'));
    expect((await failureOf(exchange('custom'))).failure).toBe('account_gone');
    expect(paths()).toHaveLength(1);
  });
});
