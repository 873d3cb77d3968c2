import { expect, it } from 'vitest';
import { isUpstream } from '../../core/provider.ts';
import { createProviders } from '../registry.ts';
import { startFormServer } from '../testing/form-server.ts';
import { testContext, testSettings } from '../testing/provider-context.ts';

async function listOf(answer: object): Promise<unknown> {
  const server = await startFormServer(() => [200, answer]);
  const configured = {
    mine: { type: 'openai_compatible', baseUrl: server.url, mayBePrivate: false, protocols: ['chat'] },
  };
  const { all } = await createProviders({ settings: testSettings, configured }, testContext);
  const provider = all.get('mine');
  if (!provider || !isUpstream(provider)) throw new Error('no upstream');
  return provider.listModels({ bearer: 'k' });
}

it('lists models also where nothing is around the list, as at Together', async () => {
  const one = { id: 'meta-llama/Llama-3.3-70B', object: 'model', type: 'chat', context_length: 131_072 };
  const listed = [{ id: one.id, contextWindow: 131_072 }];
  expect(await listOf([one])).toEqual(listed);
  expect(await listOf({ object: 'list', data: [one] })).toEqual(listed);
});

it('leaves out entries that cannot be read, and keeps the others', async () => {
  const data = [{ id: 'a' }, { id: '' }, { id: 42 }, {}, null, { id: 'b', context_length: 'long' }];
  expect(await listOf({ data })).toEqual([{ id: 'a' }, { id: 'b' }]);
});

it('does not take anything else for a list', async () => {
  for (const answer of [{ models: [] }, { data: {} }, { error: { message: 'no' } }])
    await expect(listOf(answer)).rejects.toMatchObject({ code: 'upstream_protocol' });
});
