import { expect, it } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { createNetwork } from '../lib/network/network.ts';
import { lookAtProxies } from './network.ts';

it('says that a proxy for plain http alone reaches no vendor, and asks it for nothing', async () => {
  const proxies = {
    http: { url: 'http://127.0.0.1:1', setting: 'HTTP_PROXY' },
    https: undefined,
    noProxy: [],
  };
  const network = createNetwork({ proxies, clock: systemClock, userAgent: 'warp2api/test' });
  const findings = await lookAtProxies(proxies, network);
  expect(findings).toMatchObject([{ result: 'ok' }]);
  expect(findings[0]?.message).toMatch(/^HTTP_PROXY alone has no effect/);
});
