import { describe, expect, it } from 'vitest';
import { TokenError, type TokenGrant } from '../../core/provider.ts';
import { type FormAnswer, startFormServer } from '../testing/form-server.ts';
import { testTokenHttp } from '../testing/test-http.ts';
import { createPostForm } from '../tokens.ts';
import { createWarpDeviceLogins } from './oauth.ts';

const grant: TokenGrant = { bearer: 'b', refreshToken: 'r', lifetimeMs: 1 };
const started = { device_code: 'dc', user_code: 'AB-CD', verification_uri: 'https://warp.example/device' };

async function loginsAt(answer: FormAnswer, exchange: () => Promise<TokenGrant> = async () => grant) {
  const server = await startFormServer(() => answer);
  const logins = createWarpDeviceLogins({
    serverUrl: server.url,
    clientId: 'client',
    exchange,
    postForm: createPostForm(testTokenHttp, 'warp2api/test'),
  });
  return { ...logins, asked: server.asked };
}

describe('a device login at Warp', () => {
  it('begins with a form that names the client alone', async () => {
    const complete = 'https://warp.example/device?code=AB-CD';
    const { start, asked } = await loginsAt([
      200,
      { ...started, verification_uri_complete: complete, expires_in: 900, interval: 7 },
    ]);
    expect(await start()).toEqual({
      deviceCode: 'dc',
      userCode: 'AB-CD',
      verificationUri: 'https://warp.example/device',
      verificationUriComplete: complete,
      expiresInMs: 900_000,
      intervalMs: 7_000,
    });
    expect(asked[0]).toMatchObject({ path: '/api/v1/oauth/device/auth', form: { client_id: 'client' } });
    expect(asked[0]?.form).toEqual({ client_id: 'client' });
  });

  it('reads the older name of the address, and spans that are texts', async () => {
    const { verification_uri: verification_url, ...others } = started;
    const { start } = await loginsAt([
      200,
      { ...others, verification_url, expires_in: '900', interval: '7' },
    ]);
    expect(await start()).toMatchObject({
      verificationUri: verification_url,
      expiresInMs: 900_000,
      intervalMs: 7_000,
    });
  });

  it('takes five seconds and ten minutes where Warp names none', async () => {
    const { start } = await loginsAt([200, started]);
    expect(await start()).toMatchObject({ intervalMs: 5_000, expiresInMs: 600_000 });
  });

  it.each([
    ['a refusal', [401, { error: 'invalid_client' }]],
    ['no code', [200, { ...started, user_code: undefined }]],
    ['an address that is no web page', [200, { ...started, verification_uri: 'javascript:alert(1)' }]],
  ] as [string, FormAnswer][])('does not begin with %s', async (_name, answer) => {
    const { start } = await loginsAt(answer);
    await expect(start()).rejects.toThrow(TokenError);
  });

  it.each([
    ['authorization_pending', 'pending'],
    ['slow_down', 'slow_down'],
    ['access_denied', 'denied'],
    ['expired_token', 'expired'],
  ])('%s is %s', async (error, result) => {
    const { poll, asked } = await loginsAt([400, { error }]);
    expect(await poll('dc')).toEqual({ result });
    expect(asked[0]).toMatchObject({
      path: '/api/v1/oauth/token',
      form: {
        grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
        device_code: 'dc',
        client_id: 'client',
      },
    });
  });

  it.each([
    [400, { error: 'invalid_grant' }, 'invalid_grant'],
    [401, { error: 'invalid_client' }, 'invalid_grant'],
    [400, { error: 'unauthorized_client' }, 'invalid_grant'],
    [429, {}, 'refused'],
    [500, {}, 'unknown'],
  ] as const)('%i %j is the failure %s', async (status, body, failure) => {
    const { poll } = await loginsAt([status, body]);
    await expect(poll('dc')).rejects.toMatchObject({ failure });
  });

  it('gives the grant of the exchange, never the custom token', async () => {
    const { poll } = await loginsAt([200, { access_token: 'custom', token_type: 'Bearer' }]);
    expect(await poll('dc')).toEqual({ result: 'granted', grant });
  });

  it.each([
    ['fails', async () => Promise.reject(new TokenError('unknown', 'It broke off.'))],
    ['brings no refresh token', async () => ({ bearer: 'b', lifetimeMs: 1 })],
  ])('says what to do when the login is approved and the exchange %s', async (_name, exchange) => {
    const { poll } = await loginsAt([200, { access_token: 'custom' }], exchange);
    const error = await poll('dc').catch((reason: unknown) => reason);
    expect(error).toMatchObject({ failure: 'invalid_grant' });
    expect(String(error)).toContain('WARP_IDENTITY_URL');
    expect(String(error)).toContain('start it again');
    expect(String(error)).not.toContain('custom');
  });
});
