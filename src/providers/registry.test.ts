import { expect, it } from 'vitest';
import { answering } from '../core/provider.ts';
import { answeringNames, createProviders } from './registry.ts';
import { testContext, testSettings } from './testing/provider-context.ts';

const load = () => createProviders({ settings: testSettings, configured: {} }, testContext);

it('knows every provider by its name', async () => {
  const { all, upstreams, trial } = await load();
  expect([...all.keys()]).toEqual(['warp', 'oz', 'sandbox', 'openai', 'anthropic', 'gemini', 'openrouter']);
  expect(upstreams.map(({ name }) => name)).toEqual(['warp', 'oz']);
  expect(trial.name).toBe('sandbox');
});

it('says of a provider whether it answers turns without loading it', async () => {
  const { all } = await load();
  expect(answeringNames({})).toEqual(answering(all.values()).map(({ name }) => name));
});
