import { expect, it } from 'vitest';
import { createSandboxProvider } from './provider.ts';

it('asks for its address each time and leaves keys as they are', async () => {
  let starts = 0;
  const urls: string[] = [];
  const provider = createSandboxProvider({
    url: async () => `http://127.0.0.1:${9000 + starts++}`,
    userAgent: 'test',
    http: async ({ url }) => {
      urls.push(url);
      const info = { isUnlimited: true, requestLimit: 0, requestsUsedSinceLastRefresh: 0 };
      const body = { data: { user: { user: { requestLimitInfo: info } } } };
      return { status: 200, headers: {}, body: Buffer.from(JSON.stringify(body)) };
    },
  });
  expect(provider.name).toBe('sandbox');
  expect(provider.normalizeApiKey(' sandbox-429 ')).toBe('sandbox-429');
  expect(await provider.getQuota({ bearer: 'sandbox-1' })).toEqual({ isUnlimited: true, used: 0 });
  expect(urls.toSorted()).toEqual([
    'http://127.0.0.1:9000/graphql/v2?op=GetRequestLimitInfo',
    'http://127.0.0.1:9001/graphql/v2?op=GetAICreditAvailability',
  ]);
  expect(await provider.baseUrl()).toBe('http://127.0.0.1:9002');
});
