import { expect, it } from 'vitest';
import { capabilitiesOf, isUpstream } from '../../core/provider.ts';
import { openaiEffort } from '../../protocols/shared/openai-models.ts';
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

it.each(['groq', 'together'])('%s takes an effort for the open models of OpenAI alone', async (name) => {
  const { all } = await createProviders({ settings: testSettings, configured: {} }, testContext);
  const provider = all.get(name);
  if (!provider || !isUpstream(provider)) throw new Error('no upstream');
  const takesEffort = (model: string) => capabilitiesOf(provider, model).has('reasoningEffort');
  expect(['openai/gpt-oss-120b', 'llama-3.3-70b'].map(takesEffort)).toEqual([true, false]);
  const efforts = ['minimal', 'medium', 'xhigh'].map((effort) =>
    openaiEffort('openai/gpt-oss-20b', { effort }),
  );
  expect(efforts).toEqual(['low', 'medium', 'high']);
});

it('does not take anything else for a list', async () => {
  for (const answer of [{ models: [] }, { data: {} }, { error: { message: 'no' } }])
    await expect(listOf(answer)).rejects.toMatchObject({ code: 'upstream_protocol' });
});
