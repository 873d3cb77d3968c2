import { describe, expect, it } from 'vitest';
import type { ProviderHttp } from '../../core/provider.ts';
import { createProviders } from '../registry.ts';
import { type FormAnswer, startFormServer } from '../testing/form-server.ts';
import { testContext, testSettings } from '../testing/provider-context.ts';

/** A vendor of that name, asked at a server of the test's instead. */
async function vendorAt(name: string, answer: FormAnswer) {
  const server = await startFormServer(() => answer);
  const { all } = await createProviders(
    { settings: testSettings, configured: { [name]: { type: 'api_key', checkUrl: `${server.url}/check` } } },
    testContext,
  );
  const provider = all.get(name);
  if (!provider) throw new Error('no such provider');
  return { provider, asked: server.asked };
}

describe('a key', () => {
  it.each([
    ['openai', { authorization: 'Bearer k-1' }],
    ['anthropic', { 'x-api-key': 'k-1', 'anthropic-version': '2023-06-01' }],
    ['gemini', { 'x-goog-api-key': 'k-1' }],
    ['openrouter', { authorization: 'Bearer k-1' }],
    ['anything', { authorization: 'Bearer k-1' }],
  ])('of %s travels as its vendor expects', async (name, headers) => {
    const { provider, asked } = await vendorAt(name, [200, { data: [] }]);
    expect(await provider.getQuota({ bearer: 'k-1' })).toEqual({ isUnlimited: false });
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({
      path: '/check',
      headers: { ...headers, 'user-agent': 'warp2api/test' },
    });
    if (!('authorization' in headers)) expect(asked[0]?.headers).not.toHaveProperty('authorization');
  });

  it.each([
    [401, {}, 'upstream_unauthorized'],
    [400, { error: { details: [{ reason: 'API_KEY_INVALID' }] } }, 'upstream_unauthorized'],
    [403, {}, 'upstream_refused'],
    [402, {}, 'upstream_refused'],
    [429, {}, 'upstream_rate_limited'],
    [401, '<html>', 'upstream_unavailable'],
    [403, '<html>', 'upstream_unavailable'],
    [403, 'Forbidden', 'upstream_unavailable'],
    [500, {}, 'upstream_unavailable'],
    [
      401,
      { error: { message: 'You have insufficient permissions for this operation.' } },
      'upstream_protocol',
    ],
    [404, {}, 'upstream_protocol'],
    [302, {}, 'upstream_protocol'],
  ] as const)('answered with %i %j is the error %s', async (status, body, code) => {
    const { provider, asked } = await vendorAt('gemini', [status, body, { location: '/else' }]);
    await expect(provider.getQuota({ bearer: 'k-1' })).rejects.toMatchObject({ code });
    expect(asked).toHaveLength(1);
  });

  const page = { 'content-type': 'text/html' };
  it.each([
    ...[302, 401, 403, 503].map((status) => [status, page, '<!doctype html><title>Blocked</title>'] as const),
    [401, { 'www-authenticate': 'NTLM' }, 'Unauthorized'] as const,
  ])(
    'answered with %i by something on the way (%o) says nothing about the key',
    async (status, headers, body) => {
      const http: ProviderHttp = async () => ({ status, headers, body: Buffer.from(body) });
      const { all } = await createProviders(
        { settings: testSettings, configured: {} },
        { ...testContext, http },
      );
      await expect(all.get('openai')?.getQuota({ bearer: 'k-1' })).rejects.toMatchObject({
        code: 'upstream_unavailable',
        fault: 'network',
      });
    },
  );

  it('is kept unproved where nothing can be asked', async () => {
    const { all } = await createProviders(
      { settings: testSettings, configured: { local: { type: 'api_key', checkUrl: undefined } } },
      testContext,
    );
    await expect(all.get('local')?.getQuota({ bearer: 'k' })).rejects.toThrow('check_url');
    expect(() => all.get('local')?.normalizeApiKey('a b')).toThrow('paste it again');
  });
});

describe('at OpenRouter', () => {
  it('the figures of the key are read', async () => {
    const data = { label: 'x', limit: 20, usage: 7.5, limit_remaining: 12.5 };
    const { provider } = await vendorAt('openrouter', [200, { data }]);
    expect(await provider.getQuota({ bearer: 'k' })).toEqual({
      isUnlimited: false,
      limit: 20,
      used: 7.5,
      remaining: 12.5,
    });
  });

  it('a key without a limit says nothing of what is left', async () => {
    const data = { limit: null, usage: 3, limit_remaining: null };
    const { provider } = await vendorAt('openrouter', [200, { data }]);
    expect(await provider.getQuota({ bearer: 'k' })).toEqual({ isUnlimited: false, used: 3 });
  });
});
