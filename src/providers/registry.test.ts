import { expect, it } from 'vitest';
import { createProviders } from './registry.ts';
import { testHttp, testTokenHttp } from './testing/test-http.ts';

const options = {
  warpServerUrl: 'https://app.example.test',
  http: testHttp,
  tokenHttp: testTokenHttp,
  userAgent: 'test',
};

it('knows every provider by its name', () => {
  const providers = createProviders({ ...options, sandboxUrl: async () => 'http://127.0.0.1:9' });
  expect([...providers.all.keys()]).toEqual([
    'warp',
    'oz',
    'sandbox',
    'openai',
    'anthropic',
    'gemini',
    'openrouter',
  ]);
  expect([...providers.upstreams.keys()]).toEqual(['warp', 'oz', 'sandbox']);
  for (const [name, provider] of providers.upstreams) {
    expect(provider.name).toBe(name);
    expect(provider.fallbackModels).not.toHaveLength(0);
  }
});

it('has no sandbox when that is switched off', () => {
  expect(createProviders(options).all.has('sandbox')).toBe(false);
});
