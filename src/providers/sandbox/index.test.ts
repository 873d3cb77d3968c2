import { expect, it } from 'vitest';
import type { ExchangingProvider } from '../../core/provider.ts';
import { testContext } from '../testing/provider-context.ts';
import { sandbox } from './index.ts';

it('asks for its address each time and leaves keys as they are', async () => {
  let starts = 0;
  const urls: string[] = [];
  const context = {
    ...testContext,
    sandboxUrl: async () => `http://127.0.0.1:${9000 + starts++}`,
    http: async ({ url }: { readonly url: string }) => {
      urls.push(url);
      const info = { isUnlimited: true, requestLimit: 0, requestsUsedSinceLastRefresh: 0 };
      const body = { data: { user: { user: { requestLimitInfo: info } } } };
      return { status: 200, headers: {}, body: Buffer.from(JSON.stringify(body)) };
    },
  };
  const provider = (await sandbox.load(context, {})) as ExchangingProvider;
  expect(provider.name).toBe('sandbox');
  expect(provider.normalizeApiKey(' sandbox-429 ')).toBe('sandbox-429');
  expect(await provider.getQuota({ bearer: 'sandbox-1' })).toEqual({ isUnlimited: true, used: 0 });
  expect(urls.toSorted()).toEqual([
    'http://127.0.0.1:9000/graphql/v2?op=GetRequestLimitInfo',
    'http://127.0.0.1:9001/graphql/v2?op=GetAICreditAvailability',
  ]);
  expect(await provider.baseUrl()).toBe('http://127.0.0.1:9002');
});
