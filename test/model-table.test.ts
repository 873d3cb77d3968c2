import { expect, it } from 'vitest';
import { type ShownModels, shownModels, shownRoutes } from '../src/core/shown-models.ts';
import { eventually, servicesForTest } from './support/services.ts';
import { withUpstreams } from './support/upstreams.ts';

async function tableOf(url: string): Promise<ShownModels> {
  return shownModels.parse(await (await fetch(`${url}/api/models`)).json());
}

const yaml = `aliases: { quick: one/chat-text }
models:
  one/chat-text: { context_window: 12345, tools: false, price: { input: 1, output: 2 } }
routes:
  - model: chat-tier
    candidates:
      - { provider: one, model: chat-text, tier: 1, weight: 3, labels: [team-a], when: { tools: false } }
      - { provider: two, model: claude-text, tier: 1 }
  - model: "chat-*"
    candidates: [{ provider: one, model: "*", first_content_timeout_seconds: 4 }]
`;

it('the table of models says who can serve each, and where its facts come from', async () => {
  const services = await withUpstreams(
    {
      one: { protocol: 'chat', keys: ['sk-a-1234567890', 'sk-b-1234567890'] },
      two: { protocol: 'messages' },
    },
    yaml,
  );
  const row = async () => {
    const { models } = await tableOf(services.gatewayUrl);
    return models.find(({ provider, model }) => provider === 'one' && model === 'chat-text');
  };
  const found = await eventually('the lists are known', async () => {
    const one = await row();
    return one?.is_proven ? one : undefined;
  });
  expect(found).toMatchObject({
    name: 'one/chat-text',
    accounts: { open: 2, without: 0, spent: 0 },
    context_window: 12345,
    context_window_from: 'own',
    price: { input: 1, output: 2, cache_read: null },
    price_from: 'own',
    abilities: { tools: false, vision: null },
    aliases: ['quick'],
    routes: ['chat-tier', 'chat-*'],
  });
  const { accounts } = (await services.pool('/api/accounts?provider=one')) as unknown as {
    accounts: { id: string }[];
  };
  await services.pool(`/api/accounts/${accounts[0]?.id}`, { models: ['chat-long'] }, 'PATCH');
  await eventually('one is kept for another model', async () => (await row())?.accounts.open === 1);
  await services.pool(`/api/accounts/${accounts[1]?.id}`, { enabled: false }, 'PATCH');
  await eventually('the other is disabled', async () => (await row())?.accounts.open === 0);
  const { providers } = await tableOf(services.gatewayUrl);
  expect(providers.map(({ name }) => name).sort()).toEqual(['one', 'two']);
});

it('configured names are shown with shares, and with how their file stands', async () => {
  const services = await withUpstreams({ one: { protocol: 'chat' }, two: { protocol: 'messages' } }, yaml);
  const shown = shownRoutes.parse(await (await fetch(`${services.gatewayUrl}/api/routes`)).json());
  expect(shown.aliases).toEqual([{ name: 'quick', target: 'one/chat-text' }]);
  expect(shown.config).toMatchObject({ status: 'ok' });
  expect(shown.routes).toMatchObject([
    {
      model: 'chat-tier',
      candidates: [
        { tier: 1, rank: 1, share: 0.75, labels: ['team-a'], when: { tools: false, images: null } },
        { tier: 1, rank: 1, share: 0.25 },
      ],
    },
    {
      model: 'chat-*',
      candidates: [{ tier: null, rank: 1, model: '*', share: 1, first_content_timeout_ms: 4000 }],
    },
  ]);
});

it('without an account the table is the sandbox, and there are no routes', async () => {
  const { gatewayUrl } = await servicesForTest();
  const { sandbox, models, providers } = await tableOf(gatewayUrl);
  expect([sandbox, providers.map(({ name }) => name)]).toEqual([true, ['sandbox']]);
  expect(models.map(({ model }) => model)).toContain('sandbox-slow');
  const shown = shownRoutes.parse(await (await fetch(`${gatewayUrl}/api/routes`)).json());
  expect(shown).toEqual({ routes: [], aliases: [], config: null });
});
