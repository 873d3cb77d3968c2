import { beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { ProviderModel } from '../../core/provider.ts';
import type { ManagedKey } from '../keys/client-key.ts';
import { createLineProvider } from '../testing/fake-upstream.ts';
import type { ModelList, ModelLists } from './model-lists.ts';
import { Routes } from './routing.ts';

const picture = { type: 'image', mediaType: 'image/png', data: 'AAAA', param: 'input.0' } as const;
const family = (effort: string): ProviderModel => ({ id: `think-${effort}`, baseName: 'Think', effort });

let list: ModelList;
let anew: ModelList | undefined;
let looks: number;
let routes: Routes;

const lists: ModelLists = {
  get: async () => list,
  known: () => list,
  async getFresh() {
    looks += 1;
    list = anew ?? list;
    return list;
  },
  refused() {},
  outdated() {},
  noteTeam() {},
  countUseless: () => 0,
  accountChanged() {},
  accountRemoved() {},
};

function withModels(
  models: readonly ProviderModel[],
  more: Partial<ModelList> = {},
  aliases: Record<string, string> = {},
  { isStrict = false, isSandbox = false } = {},
): void {
  list = { models, withheld: [], barred: new Map(), isProven: true, ...more };
  routes = new Routes({
    providers: [createLineProvider(() => ''), createLineProvider(() => '', 'oz')],
    sandbox: createLineProvider(() => '', 'sandbox'),
    models: lists,
    poolWatch: {
      isReachable: true,
      isSandbox,
      accounts: undefined,
      hasAccounts: (name) => name === 'warp',
      look: async () => {},
    },
    routing: { aliases, routes: [], models: {} },
    clock: { monotonic: () => 0 },
    isStrict,
  });
}

beforeEach(() => {
  looks = 0;
  anew = undefined;
});

it.each([
  ['auto[1m]', 'auto'],
  ['auto[1M][1m]', 'auto'],
  ['warp/auto[1m]', 'auto'],
  ['kept[1m]', 'other'],
  ['alias[1m]', 'other'],
])(
  "the mark that Claude Code puts behind a large model's name counts for nothing: %s",
  async (name, model) => {
    withModels([{ id: 'auto' }, { id: 'other' }], {}, { 'kept[1m]': 'other', alias: 'other' });
    const request = { model: name, messages: [], reasoning: {} };
    const { candidates } = await routes.plan(request);
    expect(candidates.map((route) => route.model)).toEqual([model]);
    expect(routes.planNow(request)?.candidates[0]?.model ?? model).toBe(model);
    expect(await routes.find(name)).toMatchObject({
      id: expect.stringMatching(/^(warp\/)?(auto|kept|alias)/),
    });
  },
);

it('a name that is the mark alone is none', async () => {
  withModels([{ id: 'auto' }]);
  const request = { model: '[1m]', messages: [], reasoning: {} };
  await expect(routes.plan(request)).rejects.toMatchObject({ code: 'model_not_found' });
});

async function resolve(
  model: string,
  effort?: string,
  messages: Parameters<Routes['plan']>[0]['messages'] = [],
) {
  const { candidates } = await routes.plan({
    model,
    messages,
    reasoning: effort === undefined ? {} : { effort },
  });
  return [candidates[0]?.model, candidates[0]?.isEffortHeard];
}

async function refusalOf(model: string, messages: Parameters<Routes['plan']>[0]['messages'] = []) {
  const error = await routes.plan({ model, messages, reasoning: {} }).catch((thrown: unknown) => thrown);
  if (!(error instanceof AppError)) throw new Error(`no AppError: ${JSON.stringify(error)}`);
  return error;
}

describe('the effort a request asks for', () => {
  beforeEach(() =>
    withModels(
      [
        { id: 'auto' },
        ...['low', 'medium', 'xhigh'].map(family),
        { id: 'other-low', baseName: 'Other', effort: 'low' },
      ],
      {},
      { deep: 'think-xhigh', 'claude-*': 'think-medium' },
    ),
  );

  it('chooses the model of that effort where each effort is a model', async () => {
    expect(await resolve('think-medium', 'low')).toEqual(['think-low', true]);
    expect(await resolve('think-low', 'X-High')).toEqual(['think-xhigh', true]);
    expect(await resolve('think-low', 'low')).toEqual(['think-low', true]);
  });

  it('is not heard where no model of the family has it', async () => {
    expect(await resolve('think-low', 'minimal')).toEqual(['think-low', false]);
    expect(await resolve('auto', 'low')).toEqual(['auto', false]);
    expect(await resolve('other-low', 'medium')).toEqual(['other-low', false]);
  });

  it('does not change what a plain alias means, but what a pattern means', async () => {
    expect(await resolve('deep', 'low')).toEqual(['think-xhigh', false]);
    expect(await resolve('deep', 'xhigh')).toEqual(['think-xhigh', true]);
    expect(await resolve('claude-5', 'low')).toEqual(['think-low', true]);
  });
});

it('what one client has asked for decides nothing for another name, nor for a key of other models', async () => {
  withModels([{ id: 'dear' }, { id: 'mini' }]);
  const found = { ...createLineProvider(() => ''), isFoundByList: true as const };
  const options = { isReachable: true, isSandbox: false, accounts: undefined, hasAccounts: () => true };
  routes = new Routes({
    providers: [found],
    sandbox: createLineProvider(() => '', 'sandbox'),
    models: lists,
    poolWatch: { ...options, look: async () => {} },
    routing: { aliases: {}, routes: [], models: {} },
    clock: { monotonic: () => 0 },
    isStrict: false,
  });
  const managed = {
    name: 'small',
    models: ['mini*'],
    providers: null,
    labels: null,
  } as unknown as ManagedKey;
  const turn = { client: { id: 'c', managed }, affinityKey: undefined, decoded: {} };
  const plan = (model: string, effort: string) =>
    routes.plan({ model, messages: [], reasoning: { effort } }, turn);
  await expect(plan('dear', 'high\nmini')).rejects.toThrow('may not use');
  const { candidates } = await plan('warp/mini\ndear', 'high');
  expect(candidates.map(({ model }) => model)).toEqual(['mini\ndear']);
});

it('keeps nothing of what a client has written in place of an effort', async () => {
  withModels([{ id: 'think', contextWindow: 1 }]);
  const routeFor = async (effort: string) =>
    (await routes.plan({ model: 'think', messages: [], reasoning: { effort } })).candidates[0];
  expect(await routeFor('high')).toBe(await routeFor('high'));
  const long = 'high'.repeat(100);
  expect(await routeFor(long)).not.toBe(await routeFor(long));
});

describe('a family of models whose ids spell their efforts', () => {
  const spelled = ['auto', 'gpt-9-low', 'gpt-9-medium', 'gpt-9-xhigh', 'gpt-9-mini-high', 'big', 'big-high'];
  beforeEach(() => withModels(spelled.map((id) => ({ id }))));

  it('goes to the one of the effort that is asked for, listed itself or not', async () => {
    expect(await resolve('gpt-9', 'low')).toEqual(['gpt-9-low', true]);
    expect(await resolve('gpt-9', 'X-High')).toEqual(['gpt-9-xhigh', true]);
    expect(await resolve('big', 'high')).toEqual(['big-high', true]);
    expect(await resolve('gpt-9-mini', 'high')).toEqual(['gpt-9-mini-high', true]);
    expect(await resolve('gpt-9-low', 'medium')).toEqual(['gpt-9-medium', true]);
    expect(await resolve('gpt-9-low', 'low')).toEqual(['gpt-9-low', true]);
  });

  it('goes to its usual one where no effort is asked for, or one that is not there', async () => {
    expect(await resolve('gpt-9')).toEqual(['gpt-9-medium', false]);
    expect(await resolve('gpt-9', 'max')).toEqual(['gpt-9-medium', false]);
    expect(await resolve('gpt-9-mini')).toEqual(['gpt-9-mini-high', false]);
    expect(await resolve('big', 'low')).toEqual(['big', false]);
    expect(await resolve('gpt-8', 'low')).toEqual(['auto', false]);
  });

  it('takes an effort of any other name where the account lists it, and then only', async () => {
    withModels([{ id: 'auto' }, { id: 'gpt-9-max' }, { id: 'gpt-9-low' }]);
    expect(await resolve('gpt-9', 'max')).toEqual(['gpt-9-max', true]);
    expect(await resolve('gpt-9')).toEqual(['gpt-9-low', false]);
    withModels([{ id: 'auto' }, { id: 'gpt-9-max' }]);
    expect(await resolve('gpt-9')).toEqual(['auto', false]);
  });

  it('is what an alias may stand for, and no accounts are asked that lack the model', async () => {
    const barred = new Map([['gpt-9-low', new Set(['one'])]]);
    withModels(list.models, { barred }, { mine: 'gpt-9' });
    expect(await resolve('mine', 'low')).toEqual(['gpt-9-low', true]);
    const { candidates } = await routes.plan({ model: 'gpt-9', messages: [], reasoning: { effort: 'low' } });
    expect(candidates[0]?.barred).toEqual(new Set(['one']));
  });

  it('gets no stand-in while all of it is kept back', async () => {
    const withheld = [{ id: 'gpt-9-low', withheld: { reason: 'its plan', isPassing: false } }];
    withModels([{ id: 'auto' }], { withheld });
    expect((await refusalOf('gpt-9')).message).toContain('"gpt-9" cannot be used: its plan');
  });
});

describe('a name', () => {
  it('that nobody has is looked for once more, then refused with names near it', async () => {
    withModels([{ id: 'auto' }, { id: 'big-model' }], {}, { 'big-alias': 'auto', 'big-*-x': 'auto' });
    const error = await refusalOf('big-mode');
    expect(error).toMatchObject({ code: 'model_not_found', param: 'model' });
    expect(error.message).toContain('did you mean "big-model"');
    expect(looks).toBe(1);
  });

  it('that says who is meant and no model is refused, list or no list', async () => {
    withModels([], { isProven: false });
    expect(await refusalOf('warp/')).toMatchObject({ code: 'model_not_found' });
  });

  it('that an account has brought meanwhile is found', async () => {
    withModels([{ id: 'auto' }]);
    anew = { ...list, models: [{ id: 'auto' }, { id: 'news' }] };
    expect(await resolve('news')).toEqual(['news', false]);
  });

  it('of a model that is kept back is refused with the reason, and gets no stand-in', async () => {
    const withheld = [{ id: 'gpt-big', withheld: { reason: 'its plan', isPassing: false } }];
    withModels([{ id: 'auto' }, { id: 'gpt-bag' }], { withheld });
    const { code, message } = await refusalOf('gpt-big');
    expect(code).toBe('model_not_found');
    expect(message).toBe('The model "gpt-big" cannot be used: its plan. Near it: "gpt-bag".');
    expect(await resolve('gpt-bigger')).toEqual(['auto', false]);
  });

  it("that tools have built in goes to the provider's own choice", async () => {
    withModels([{ id: 'first' }, { id: 'own', isDefault: true }]);
    expect(await resolve('claude-sonnet')).toEqual(['own', false]);
    withModels([{ id: 'first' }, { id: 'auto' }]);
    expect(await resolve('claude-sonnet')).toEqual(['auto', false]);
  });

  it('is passed on as it is while no list is known', async () => {
    withModels([{ id: 'auto' }], { isProven: false });
    expect(await resolve('anything')).toEqual(['anything', false]);
  });

  it('of a model that not every account has keeps those accounts out', async () => {
    withModels([{ id: 'auto' }], { barred: new Map([['auto', new Set(['one'])]]) });
    const { candidates } = await routes.plan({ model: 'auto', messages: [], reasoning: {} });
    expect(candidates[0]?.barred).toEqual(new Set(['one']));
  });
});

describe('images', () => {
  const seen = [{ role: 'user', parts: [picture] }] as const;
  const returned = [
    {
      role: 'tool',
      parts: [{ type: 'tool-result', callId: 'c', text: '', isError: false, images: [picture] }],
    },
  ] as const;

  it('that were just sent are refused for a model that surely sees none, with one that does', async () => {
    withModels([{ id: 'blind', hasVision: false }, { id: 'unknown' }, { id: 'seer', hasVision: true }]);
    const { code, param, message } = await refusalOf('blind', seen);
    expect([code, param]).toEqual(['invalid_request', 'input.0']);
    expect(message).toBe(
      'The model "blind" takes no images: leave them out, or choose another, such as "seer".',
    );
    expect(await resolve('blind', undefined, returned)).toEqual(['blind', false]);
    expect(await resolve('blind')).toEqual(['blind', false]);
    expect(await resolve('unknown', undefined, seen)).toEqual(['unknown', false]);
    expect(await resolve('seer', undefined, seen)).toEqual(['seer', false]);
  });
});

describe('the list', () => {
  it('shows aliases as what they stand for', async () => {
    withModels([{ id: 'big', contextWindow: 9 }], {}, { fast: 'big', lost: 'nowhere', 'pattern-*': 'big' });
    expect(await routes.list()).toEqual([
      { id: 'big', contextWindow: 9, provider: 'warp' },
      { id: 'fast', contextWindow: 9, provider: 'warp', aliasOf: 'big' },
      { id: 'lost', provider: 'warp', aliasOf: 'nowhere' },
    ]);
    expect(await routes.find('pattern-x')).toEqual({
      id: 'pattern-x',
      contextWindow: 9,
      provider: 'warp',
      aliasOf: 'big',
    });
    await expect(routes.find('bug')).rejects.toMatchObject({ code: 'model_not_found' });
  });
});

describe('STRICT_MODELS', () => {
  const models = ['auto', 'think-low', 'think-medium'].map((id) => ({ id }));
  const aliases = { deep: 'think-medium', 'team-*': 'auto', 'claude-4': 'other-model' };
  const strict = (more: Partial<ModelList> = {}) => withModels(models, more, aliases, { isStrict: true });

  it('takes listed names, families of them, prefixes, and aliases of the owner, patterns too', async () => {
    strict();
    const names = ['auto', 'warp/think-low', 'think', 'deep', 'team-one', 'claude-4'];
    const got = await Promise.all(names.map(async (name) => (await resolve(name))[0]));
    expect(got).toEqual(['auto', 'think-low', 'think-medium', 'think-medium', 'auto', 'other-model']);
  });

  it.each(['claude-3-5-sonnet-20241022', 'gpt-4o', 'Auto', 'warp/gpt-4o', 'sandbox', 'think-lo', ''])(
    'refuses %j, which the default model answers otherwise or nothing does',
    async (name) => {
      strict();
      const error = await refusalOf(name);
      expect([error.code, error.status, error.param]).toEqual(['model_not_found', 404, 'model']);
      await expect(routes.check(name || 'x')).rejects.toThrow('There is no model');
      await expect(routes.find(name)).rejects.toThrow('There is no model');
    },
  );

  it('names models like the unknown one', async () => {
    strict();
    expect((await refusalOf('think-lo')).message).toContain('did you mean "think-low"');
  });

  it('neither knows nor denies a name while no account has told its models', async () => {
    strict({ isProven: false });
    expect(await resolve('auto')).toEqual(['auto', false]);
    const error = await refusalOf('gpt-4o');
    expect([error.code, error.status, error.retryAfterSeconds]).toEqual(['model_unavailable', 503, 5]);
  });

  it('tells the route of a name to calls without a turn, and nothing without the setting', async () => {
    strict();
    expect(await routes.check('deep')).toMatchObject({ model: 'think-medium' });
    expect(await routes.check(undefined)).toBeUndefined();
    withModels(models);
    expect(await routes.check('gpt-4o')).toBeUndefined();
    expect(await resolve('gpt-4o')).toEqual(['auto', false]);
  });
});

describe('the sandbox', () => {
  const scenarios = ['sandbox', 'sandbox-slow', 'sandbox-unicode', 'sandbox-burst', 'auto', 'gpt-5'];
  const models = scenarios.map((id) => ({ id }));
  const aliases = { tryout: 'sandbox-slow', thorough: 'oz/auto' };
  const inSandbox = (isStrict = false) => withModels(models, {}, aliases, { isStrict, isSandbox: true });

  it('answers to any name, and says by which of its models', async () => {
    inSandbox();
    const names = [
      'sandbox-slow',
      'sandbox/sandbox-slow',
      'tryout',
      'gpt-5',
      'claude-3',
      'thorough',
      'sandbox/x',
    ];
    const got = await Promise.all(names.map(async (name) => (await resolve(name))[0]));
    expect(got).toEqual([...Array(3).fill('sandbox-slow'), ...Array(4).fill('sandbox')]);
  });

  it('lists a few of its models and the names of the examples, and shows every one that is asked for', async () => {
    inSandbox();
    const listed = await routes.list();
    expect(listed.map(({ id, aliasOf }) => [id, aliasOf])).toEqual([
      ['sandbox', undefined],
      ['sandbox-slow', undefined],
      ['auto', 'sandbox'],
      ['claude-3-5-sonnet-20241022', 'sandbox'],
    ]);
    expect(await routes.find('sandbox-unicode')).toEqual({ id: 'sandbox-unicode', provider: 'sandbox' });
    expect(await routes.find('gpt-4o')).toMatchObject({ id: 'gpt-4o', aliasOf: 'sandbox' });
  });

  it('answers to its own models alone with STRICT_MODELS', async () => {
    inSandbox(true);
    const names = ['sandbox', 'sandbox/sandbox', 'sandbox-burst-7', 'tryout'];
    const got = await Promise.all(names.map(async (name) => (await resolve(name))[0]));
    expect(got).toEqual(['sandbox', 'sandbox', 'sandbox-burst-7', 'sandbox-slow']);
    for (const name of ['auto', 'gpt-5', 'thorough', 'sandbox-slow-7', 'sandbox-unicod', 'oz/auto'])
      expect((await refusalOf(name)).code).toBe('model_not_found');
    expect((await refusalOf('sandbox-unicod')).message).toContain('did you mean "sandbox-unicode"');
    // An alias that leads elsewhere is no advice here, least of all to itself.
    expect((await refusalOf('thorough')).message).not.toContain('did you mean');
    expect((await routes.list()).map(({ id }) => id)).toEqual(['sandbox', 'sandbox-slow']);
  });
});

it('a conversation goes first where it was answered, for five minutes', async () => {
  let now = 1_000;
  withModels([{ id: 'one' }, { id: 'two' }]);
  const candidate = { provider: 'warp', tier: 1, weight: 1, labels: [], when: {} };
  const usual = new Routes({
    providers: [createLineProvider(() => '')],
    sandbox: createLineProvider(() => '', 'sandbox'),
    models: lists,
    poolWatch: {
      isReachable: true,
      isSandbox: false,
      accounts: undefined,
      hasAccounts: () => true,
      look: async () => {},
    },
    routing: {
      aliases: {},
      models: {},
      routes: [
        {
          model: 'either',
          candidates: [
            { ...candidate, model: 'one' },
            { ...candidate, model: 'two', tier: 2 },
          ],
          delivery: 'stream',
          promptCache: 'auto',
        },
      ],
    },
    clock: { monotonic: () => now },
    isStrict: false,
  });
  const plan = () =>
    usual.plan(
      { model: 'either', messages: [], reasoning: {} },
      { client: { id: 'me' }, affinityKey: 'chat', decoded: {} },
    );
  const first = async () => (await plan()).candidates[0]?.model;
  const given = await plan();
  expect(given.candidates.map(({ model }) => model)).toEqual(['one', 'two']);
  const [, second] = given.candidates;
  if (second) usual.answered(given, second);
  expect(await first()).toBe('two');
  now += 5 * 60_000 - 1;
  expect(await first()).toBe('two');
  now += 2;
  expect(await first()).toBe('one');
});
