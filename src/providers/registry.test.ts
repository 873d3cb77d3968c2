import { expect, it } from 'vitest';
import { answering } from '../core/provider.ts';
import { answeringNames, createProviders } from './registry.ts';
import { testContext, testSettings } from './testing/provider-context.ts';

const load = () => createProviders({ settings: testSettings, configured: {} }, testContext);

it('knows every provider by its name', async () => {
  const { all, upstreams, trial } = await load();
  const vendors = ['openai', 'openrouter', 'groq', 'mistral', 'deepseek', 'xai', 'together', 'fireworks'];
  const local = ['ollama', 'lmstudio', 'vllm', 'llamacpp'];
  expect([...all.keys()]).toEqual(['warp', 'oz', 'sandbox', ...vendors, ...local, 'anthropic', 'gemini']);
  expect(upstreams.map(({ name }) => name)).toEqual([
    'warp',
    'oz',
    ...vendors,
    ...local,
    'anthropic',
    'gemini',
  ]);
  expect(trial.name).toBe('sandbox');
});

it('says of a provider whether it answers turns without loading it', async () => {
  const { all } = await load();
  expect(answeringNames({})).toEqual(answering(all.values()).map(({ name }) => name));
});

it('takes a compatible server for one of no known vendor, whatever it is called', async () => {
  const configured = { constructor: { type: 'openai_compatible', baseUrl: 'http://127.0.0.1:9/v1' } };
  const { all } = await createProviders({ settings: testSettings, configured }, testContext);
  expect(all.get('constructor')?.takesNoKey).toBe(true);
});
