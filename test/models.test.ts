import Anthropic from '@anthropic-ai/sdk';
import { describe, expect, test } from 'vitest';
import type { SandboxModel } from '../sandbox/models.ts';
import { eventually, servicesForTest, type TestServices, userTurn } from './support/services.ts';

const think = (level: string): SandboxModel => ({
  id: `think-${level}`,
  displayName: `Think (${level})`,
  baseModelName: 'Think',
  reasoningLevel: level,
  provider: 'ANTHROPIC',
  contextWindow: 300_000,
  creditMultiplier: 2,
});

const list: SandboxModel[] = [
  { id: 'auto', displayName: 'auto' },
  think('low'),
  think('high'),
  { id: 'blind', visionSupported: false },
  { id: 'off', disableReason: 'ADMIN_DISABLED' },
];

/** Two accounts whose plans differ: the second has one model more. */
async function twoPlans(aliases: Record<string, string> = {}): Promise<TestServices> {
  const services = await servicesForTest({}, (config) => ({ ...config, aliases }));
  services.upstream.setModels(list);
  services.upstream.setModels([...list, { id: 'team/only' }], 'wk-2');
  await services.addAccount('wk-1');
  await services.addAccount('wk-2');
  await eventually('both lists are known', async () => {
    const { data } = await get(services, '/v1/models');
    return data.some(({ id }: { id: string }) => id === 'team/only');
  });
  return services;
}

// biome-ignore lint/suspicious/noExplicitAny: answers are checked by what they hold
async function get(services: TestServices, path: string): Promise<any> {
  return await (await fetch(`${services.gatewayUrl}${path}`)).json();
}

const modelsSent = (services: TestServices) => services.upstream.turns.map(({ model }) => model);

describe('accounts of different plans', () => {
  test('offer the union of their models, and a turn goes to an account that has the model', async () => {
    const services = await twoPlans();
    for (let count = 0; count < 6; count += 1) {
      const answer = await services.chat(userTurn('team/only', `Hello ${count}`));
      expect(answer.status).toBe(200);
    }
    expect(new Set(services.upstream.turns.map(({ bearer }) => bearer))).toEqual(new Set(['wk-2']));
  });

  test('show what a model is, with slashes and aliases in names', async () => {
    const services = await twoPlans({ deep: 'think-high' });
    expect(await get(services, '/v1/models/think-high')).toEqual({
      id: 'think-high',
      object: 'model',
      created: 0,
      owned_by: 'anthropic',
      display_name: 'Think (high)',
      context_window: 300_000,
      max_model_len: 300_000,
      input_modalities: ['text', 'image'],
      reasoning_effort: 'high',
      reasoning_efforts: ['low', 'high'],
      credit_multiplier: 2,
    });
    expect(await get(services, '/v1/models/deep')).toMatchObject({
      id: 'deep',
      alias_of: 'think-high',
      reasoning_efforts: ['high'],
    });
    expect(await get(services, '/v1/models/team/only')).toMatchObject({ id: 'team/only', owned_by: 'warp' });
    const { data } = await get(services, '/v1/models');
    expect(data.map(({ id }: { id: string }) => id).sort()).toEqual(
      ['auto', 'blind', 'deep', 'team/only', 'think-high', 'think-low'].sort(),
    );
  });
});

test('an effort chooses the model that stands for it, in every dialect, and is named where none does', async () => {
  const services = await twoPlans();
  const post = async (path: string, body: Record<string, unknown>) => {
    const answer = await fetch(`${services.gatewayUrl}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'think-low', ...body }),
    });
    await answer.text();
    return [answer.status, answer.headers.get('x-warp2api-ignored')];
  };
  const messages = [{ role: 'user', content: 'Hello' }];
  const heard = [200, null];
  expect(await post('/v1/chat/completions', { messages, reasoning_effort: 'high' })).toEqual(heard);
  expect(await post('/v1/responses', { input: 'Hello', reasoning: { effort: 'high' } })).toEqual(heard);
  const effort = { max_tokens: 100, messages, output_config: { effort: 'high' } };
  expect(await post('/v1/messages', effort)).toEqual(heard);
  expect(modelsSent(services)).toEqual(['think-high', 'think-high', 'think-high']);
  const unheard = await post('/v1/chat/completions', { messages, reasoning_effort: 'minimal' });
  expect(unheard).toEqual([200, 'reasoning_effort']);
  expect(modelsSent(services).at(-1)).toBe('think-low');
});

test('a name nobody has, a model that is switched off and an image nobody can see are refused in each dialect', async () => {
  const services = await twoPlans();
  const image = {
    role: 'user',
    content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } }],
  };
  const blind = await services.chat({ model: 'blind', messages: [image] });
  expect([blind.status, await blind.json()]).toMatchObject([
    400,
    {
      error: {
        param: 'messages.0.content.0.image_url.url',
        message: expect.stringContaining('"blind" takes no images'),
      },
    },
  ]);
  const off = await services.chat(userTurn('off', 'Hello'));
  expect([off.status, await off.json()]).toMatchObject([
    404,
    {
      error: {
        code: 'model_not_found',
        message: expect.stringContaining('administrator has switched it off'),
      },
    },
  ]);
  const anthropic = new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
  await expect(
    anthropic.messages.create({
      model: 'think-hihg',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'Hello' }],
    }),
  ).rejects.toThrow(/did you mean \\?"think-high/);
  await expect(services.openai().responses.create({ model: 'think-hihg', input: 'Hello' })).rejects.toThrow(
    /did you mean "think-high"/,
  );
  expect(services.upstream.turns).toEqual([]);
});

test("Anthropic's client turns the pages of the list and sees what each model can do", async () => {
  const services = await twoPlans();
  const client = new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
  const whole: string[] = [];
  for await (const model of client.models.list({ limit: 2 })) whole.push(model.id);
  expect(whole.toSorted()).toEqual(['auto', 'blind', 'team/only', 'think-high', 'think-low']);
  const page = await client.models.list({ limit: 2, before_id: whole[3] ?? '' });
  expect(page.data.map(({ id }) => id)).toEqual(whole.slice(1, 3));
  expect(page.has_more).toBe(true);

  const model = await client.models.retrieve('think-low');
  expect(model).toMatchObject({ display_name: 'Think (low)', max_input_tokens: 300_000, max_tokens: null });
  expect(model.capabilities).toMatchObject({
    image_input: { supported: true },
    effort: {
      supported: true,
      low: { supported: true },
      medium: { supported: false },
      high: { supported: true },
    },
  });
  await expect(client.models.list({ limit: 0 })).rejects.toThrow(/limit: /);
  await expect(client.models.list({ after_id: 'nowhere' })).rejects.toThrow(/after_id: no model/);
});
