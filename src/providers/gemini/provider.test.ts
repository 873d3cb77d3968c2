import { expect, it } from 'vitest';
import { isUpstream } from '../../core/provider.ts';
import { createProviders } from '../registry.ts';
import { type FormAnswer, startFormServer } from '../testing/form-server.ts';
import { testContext, testSettings } from '../testing/provider-context.ts';

const model = (id: string, more: object = {}) => ({
  name: `models/${id}`,
  displayName: id.toUpperCase(),
  inputTokenLimit: 1_048_576,
  supportedGenerationMethods: ['generateContent', 'countTokens'],
  ...more,
});

async function geminiAt(...pages: FormAnswer[]) {
  const server = await startFormServer((_asked, index) => pages[index] ?? [500, {}]);
  const configured = { mine: { type: 'gemini', baseUrl: server.url, mayBePrivate: false } };
  const { all } = await createProviders({ settings: testSettings, configured }, testContext);
  const provider = all.get('mine');
  if (!provider || !isUpstream(provider)) throw new Error('no such upstream');
  return { provider, asked: server.asked };
}

it('lists the models of all pages that answer turns or embed, by their plain names', async () => {
  const embedding = model('embedding-001', { supportedGenerationMethods: ['embedContent'] });
  const film = model('veo-3', { supportedGenerationMethods: ['predictLongRunning'] });
  const { provider, asked } = await geminiAt(
    [200, { models: [model('gemini-2.5-pro'), embedding, film], nextPageToken: 'a b' }],
    [200, { models: [model('gemma-3-27b-it', { inputTokenLimit: null })] }],
  );
  expect(await provider.listModels({ bearer: 'k-1' })).toEqual([
    { id: 'gemini-2.5-pro', vendor: 'google', displayName: 'GEMINI-2.5-PRO', contextWindow: 1_048_576 },
    {
      id: 'embedding-001',
      vendor: 'google',
      displayName: 'EMBEDDING-001',
      contextWindow: 1_048_576,
      embeds: true,
    },
    { id: 'gemma-3-27b-it', vendor: 'google', displayName: 'GEMMA-3-27B-IT' },
  ]);
  expect(asked.map(({ path }) => path)).toEqual([
    '/v1beta/models?pageSize=1000',
    '/v1beta/models?pageSize=1000&pageToken=a+b',
  ]);
  expect(asked[0]?.headers).toMatchObject({ 'x-goog-api-key': 'k-1', 'user-agent': 'warp2api/test' });
});

it('takes a list that repeats its page for the last one', async () => {
  const page: FormAnswer = [200, { models: [], nextPageToken: 'again' }];
  const { provider, asked } = await geminiAt(...Array<FormAnswer>(3).fill(page));
  expect(await provider.listModels({ bearer: 'k' })).toEqual([]);
  expect(asked).toHaveLength(2);
});

it('proves a key by a good answer, and sends none where there is none', async () => {
  const bad = { error: { code: 400, details: [{ reason: 'API_KEY_INVALID' }] } };
  const { provider, asked } = await geminiAt([200, {}], [400, bad], [200, 'oops']);
  expect(await provider.getQuota({ bearer: '' })).toEqual({ isUnlimited: false });
  expect(asked[0]?.headers).not.toHaveProperty('x-goog-api-key');
  await expect(provider.getQuota({ bearer: 'k' })).rejects.toMatchObject({ code: 'upstream_unauthorized' });
  await expect(provider.getQuota({ bearer: 'k' })).rejects.toMatchObject({ code: 'upstream_protocol' });
});

it('narrows what a model takes by its name', async () => {
  const { provider } = await geminiAt();
  const has = (name: string) => [...(provider.capabilitiesOf?.(name) ?? [])];
  expect(has('gemini-3.8-flash')).toEqual(expect.arrayContaining(['reasoningEffort', 'jsonSchema']));
  expect(has('gemini-3.8-flash')).not.toContain('maxTokens');
  expect(has('gemini-2.5-flash')).not.toContain('jsonSchema');
  expect(has('gemini-2.0-flash')).toContain('maxTokens');
});
