import { pino } from 'pino';
import { systemClock } from '../../lib/clock.ts';
import type { ProviderContext } from '../definition.ts';
import { testHttp, testTokenHttp } from './test-http.ts';

/** What a test's providers are given. */
export const testContext: ProviderContext = {
  http: testHttp,
  tokenHttp: testTokenHttp,
  userAgent: 'warp2api/test',
  clock: systemClock,
  logger: pino({ level: 'silent' }),
  sandboxUrl: async () => 'http://127.0.0.1:9',
};

export const testSettings = {
  WARP_SERVER_URL: 'https://app.example.test',
  WARP_IDENTITY_URL: 'https://identity.example.test',
  WARP_TOKEN_URL: 'https://token.example.test',
};
