import { expect, it } from 'vitest';
import { capabilitiesOf, isUpstream } from '../../core/provider.ts';
import { plainTurn } from '../../core/testing/plain-turn.ts';
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

const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'];

// By the vendors' references; `-`: nothing is sent, and the effort is named as ignored.
it.each([
  ['groq', 'openai/gpt-oss-120b', 'low low low medium high high high'],
  ['groq', 'qwen/qwen3-32b', 'none default default default default default default'],
  ['groq', 'llama-3.3-70b-versatile', '- - - - - - -'],
  ['together', 'openai/gpt-oss-20b', 'low low low medium high high high'],
  ['together', 'Qwen/Qwen3-235B', '- - - - - - -'],
  ['deepseek', 'deepseek-flash', 'disabled minimal low medium high xhigh max'],
  ['deepseek', 'deepseek-v4-pro', 'disabled minimal low medium high xhigh max'],
  ['deepseek', 'deepseek-chat', '- - - - - - -'],
  ['xai', 'grok-3-mini', 'low low low low high high high'],
  ['xai', 'grok-4.3', 'none none low medium high high high'],
  ['xai', 'grok-4.5', 'low low low medium high high high'],
  ['xai', 'grok-4.20-multi-agent-0309', 'low low low medium high xhigh xhigh'],
  ['xai', 'grok-4.20-0309-reasoning', '- - - - - - -'],
  ['xai', 'grok-code-fast-1', '- - - - - - -'],
  ['openrouter', 'anthropic/claude-opus-4.8', 'none minimal low medium high xhigh max'],
  ['openrouter', 'openai/o3', 'low minimal low medium high xhigh max'],
  ['mistral', 'magistral-medium', '- - - - - - -'],
])('%s gets the effort of %s in its own words', async (name, model, expected) => {
  const { all } = await createProviders({ settings: testSettings, configured: {} }, testContext);
  const provider = all.get(name);
  if (!provider || !isUpstream(provider) || !provider.outbound) throw new Error('no upstream');
  const { outbound } = provider;
  const isTaken = capabilitiesOf(provider, model).has('reasoningEffort');
  const sent = efforts.map((effort) => {
    const { request } = outbound.open({
      request: { ...plainTurn, messages: [], model, reasoning: { effort } },
    });
    const { reasoning_effort: word, thinking } = JSON.parse(Buffer.from(request.body).toString());
    expect(word !== undefined || thinking !== undefined).toBe(isTaken);
    return thinking?.type ?? word ?? '-';
  });
  expect(sent.join(' ')).toBe(expected);
});

it('thinking that a client of Messages switches off is off where the vendor can', async () => {
  const { all } = await createProviders({ settings: testSettings, configured: {} }, testContext);
  const bodyOf = (name: string, model: string) => {
    const provider = all.get(name);
    if (!provider || !isUpstream(provider) || !provider.outbound) throw new Error('no upstream');
    const reasoning = { budgetTokens: 0 };
    const { request } = provider.outbound.open({ request: { ...plainTurn, messages: [], model, reasoning } });
    return JSON.parse(Buffer.from(request.body).toString());
  };
  expect(bodyOf('deepseek', 'deepseek-flash')).toMatchObject({ thinking: { type: 'disabled' } });
  expect(bodyOf('groq', 'qwen/qwen3-32b')).toMatchObject({ reasoning_effort: 'none' });
  // Models that always think refuse it there.
  expect(bodyOf('openrouter', 'google/gemini-3-pro')).not.toHaveProperty('reasoning_effort');
});

it('models of xAI that think get no penalties, which they refuse', async () => {
  const { all } = await createProviders({ settings: testSettings, configured: {} }, testContext);
  const provider = all.get('xai');
  if (!provider || !isUpstream(provider)) throw new Error('no upstream');
  const takes = (model: string) => capabilitiesOf(provider, model).has('presencePenalty');
  expect(['grok-4.5', 'grok-4', 'grok-3-mini', 'grok-3', 'grok-4.20-non-reasoning'].map(takes)).toEqual([
    false,
    false,
    false,
    true,
    true,
  ]);
});

it('does not take anything else for a list', async () => {
  for (const answer of [{ models: [] }, { data: {} }, { error: { message: 'no' } }])
    await expect(listOf(answer)).rejects.toMatchObject({ code: 'upstream_protocol' });
});
