import { expect, it } from 'vitest';
import { isUpstream } from '../../core/provider.ts';
import { createProviders } from '../registry.ts';
import { type FormAnswer, startFormServer } from '../testing/form-server.ts';
import { testContext, testSettings } from '../testing/provider-context.ts';

async function anthropicAt(...pages: FormAnswer[]) {
  const server = await startFormServer((_asked, index) => pages[index] ?? [500, {}]);
  const configured = { mine: { type: 'anthropic_compatible', baseUrl: server.url, mayBePrivate: false } };
  const { all } = await createProviders({ settings: testSettings, configured }, testContext);
  const [provider, builtIn] = [all.get('mine'), all.get('anthropic')];
  if (!provider || !isUpstream(provider) || !builtIn || !isUpstream(builtIn)) throw new Error('no upstream');
  return { provider, builtIn, asked: server.asked };
}

it('lists the models of all pages', async () => {
  const opus = {
    type: 'model',
    id: 'claude-opus-4-5',
    display_name: 'Claude Opus 4.5',
    max_input_tokens: 200_000,
    capabilities: { image_input: { supported: true } },
  };
  const { provider, asked } = await anthropicAt(
    [200, { data: [opus], has_more: true, last_id: 'claude opus' }],
    [200, { data: [{ id: 'local', capabilities: null }, { id: 7 }], has_more: false, last_id: 'local' }],
  );
  expect(await provider.listModels({ bearer: 'k-1' })).toEqual([
    {
      id: 'claude-opus-4-5',
      displayName: 'Claude Opus 4.5',
      contextWindow: 200_000,
      hasVision: true,
      vendor: 'anthropic',
    },
    { id: 'local' },
  ]);
  expect(asked.map(({ path }) => path)).toEqual([
    '/v1/models?limit=100',
    '/v1/models?limit=100&after_id=claude%20opus',
  ]);
  expect(asked[0]?.headers).toMatchObject({ 'x-api-key': 'k-1', 'anthropic-version': '2023-06-01' });
  expect(asked[0]?.headers).toHaveProperty('authorization', 'Bearer k-1');
});

it('lists the aliases that dated versions are known by', async () => {
  const dated = ['claude-opus-4-5-20251101', 'claude-sonnet-4-20250514', 'claude-3-5-haiku-20241022'];
  const ids = [...dated, 'claude-sonnet-4-6', 'claude-3-5-haiku-20240101', 'claude-sonnet-4-0'];
  const { provider } = await anthropicAt([200, { data: ids.map((id) => ({ id, display_name: id })) }]);
  const listed = await provider.listModels({ bearer: 'k' });
  expect(listed.slice(ids.length)).toEqual([
    { id: 'claude-opus-4-5', displayName: 'claude-opus-4-5-20251101', vendor: 'anthropic' },
    { id: 'claude-3-5-haiku-latest', displayName: 'claude-3-5-haiku-20241022', vendor: 'anthropic' },
  ]);
});

it('takes a list that repeats its page for the last one', async () => {
  const page: FormAnswer = [200, { data: [], has_more: true, last_id: 'again' }];
  const { provider, asked } = await anthropicAt(page, page, page);
  expect(await provider.listModels({ bearer: 'k' })).toEqual([]);
  expect(asked).toHaveLength(2);
});

it('proves a key by a good answer, and sends none where there is none', async () => {
  const bad = { type: 'error', error: { type: 'authentication_error', message: 'invalid x-api-key' } };
  const { provider, builtIn, asked } = await anthropicAt([200, { data: [] }], [401, bad], [200, 'oops']);
  expect(await provider.getQuota({ bearer: '' })).toEqual({ isUnlimited: false });
  expect(asked[0]?.headers).not.toHaveProperty('x-api-key');
  await expect(provider.getQuota({ bearer: 'k' })).rejects.toMatchObject({ code: 'upstream_unauthorized' });
  await expect(provider.getQuota({ bearer: 'k' })).rejects.toMatchObject({ code: 'upstream_protocol' });
  expect([provider.takesNoKey, builtIn.takesNoKey]).toEqual([true, undefined]);
  expect(builtIn.fallbackModels.map(({ id }) => id)).toContain('claude-sonnet-5-5');
});

it('shows Anthropic its keys in one header, and other servers in both that are in use', async () => {
  const { provider, builtIn } = await anthropicAt();
  const team = { type: 'anthropic_compatible', baseUrl: 'https://api.anthropic.com', mayBePrivate: false };
  const { all } = await createProviders({ settings: testSettings, configured: { team } }, testContext);
  const shown = [provider, builtIn, all.get('team')].map((one) => {
    if (!one || !isUpstream(one) || one.caller) throw new Error('no upstream');
    return one.authHeaders({ bearer: 'k' });
  });
  const own = { 'x-api-key': 'k' };
  expect(shown).toEqual([{ ...own, authorization: 'Bearer k' }, own, own]);
});

it('takes API keys alone', async () => {
  const { builtIn } = await anthropicAt();
  expect(builtIn.normalizeApiKey(' sk-ant-api03-x ')).toBe('sk-ant-api03-x');
  expect(() => builtIn.normalizeApiKey('sk-ant-oat01-x')).toThrow(/token of a login/);
});

it('narrows what a model takes by its version', async () => {
  const { provider } = await anthropicAt();
  const lacks = (name: string) => {
    const taken = provider.capabilitiesOf?.(name);
    return ['temperature', 'topK', 'toolChoice', 'jsonSchema', 'strictTools', 'reasoningEffort'].filter(
      (ability) => !taken?.has(ability as never),
    );
  };
  expect(lacks('claude-opus-5-5')).toEqual(['temperature', 'topK', 'toolChoice']);
  expect(lacks('claude-opus-4-6')).toEqual([]);
  expect(lacks('claude-opus-4-20250514')).toEqual(['jsonSchema', 'strictTools']);
  expect(lacks('claude-3-5-haiku-latest')).toEqual(['jsonSchema', 'strictTools', 'reasoningEffort']);
  expect(lacks('kimi-k3')).toEqual(['jsonSchema', 'strictTools']);
});
