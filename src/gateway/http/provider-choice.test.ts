import { beforeEach, describe, expect, it } from 'vitest';
import type { ProviderModel } from '../../core/provider.ts';
import type { ModelList, ModelLists } from '../models/model-lists.ts';
import type { Route } from '../models/route.ts';
import { Routes } from '../models/routing.ts';
import { createLineProvider } from '../testing/fake-upstream.ts';

const listOf = (...models: ProviderModel[]): ModelList => ({
  models,
  withheld: [],
  barred: new Map(),
  isProven: true,
});
const lists: Record<string, ModelList> = {
  warp: listOf({ id: 'auto' }, { id: 'both' }, { id: 'warp-only' }),
  oz: listOf({ id: 'auto', isDefault: true }, { id: 'both', contextWindow: 7 }, { id: 'oz-only' }),
  own: listOf({ id: 'both' }, { id: 'own-only' }),
  sandbox: listOf({ id: 'sandbox' }),
};
const models: ModelLists = {
  get: async ({ name }) => lists[name] ?? listOf(),
  known: ({ name }) => lists[name] ?? listOf(),
  getFresh: async ({ name }) => lists[name] ?? listOf(),
  refused() {},
  outdated() {},
  noteTeam() {},
  countUseless: () => 0,
  accountChanged() {},
  accountRemoved() {},
};

let withAccounts: string[] | undefined;
let isSandbox: boolean;
let onLook: () => void;
let routes: Routes;

function open(aliases: Record<string, string> = {}): void {
  routes = new Routes({
    isStrict: false,
    providers: [
      createLineProvider(() => ''),
      createLineProvider(() => '', 'oz'),
      { ...createLineProvider(() => '', 'own'), isFoundByList: true, standIns: {} },
    ],
    sandbox: createLineProvider(() => '', 'sandbox'),
    models,
    poolWatch: {
      isReachable: true,
      get isSandbox() {
        return isSandbox;
      },
      accounts: undefined,
      hasAccounts: (name) => withAccounts?.includes(name),
      look: async () => onLook(),
    },
    routing: { aliases, routes: [], models: {} },
    clock: { monotonic: () => 0 },
  });
}

beforeEach(() => {
  withAccounts = ['warp', 'oz'];
  isSandbox = false;
  onLook = () => {};
  open();
});

const ask = (model: string) => ({ model, messages: [], reasoning: {} });
async function routeOf(model: string): Promise<string> {
  const { candidates } = await routes.plan(ask(model));
  return candidates.map((route) => `${route.provider.name}: ${route.model}`).join(', ');
}

describe('a name that tools have built in', () => {
  it('is refused with the alias to write where the first provider has no stand-in for it', async () => {
    withAccounts = ['own'];
    const alias = 'aliases: {"claude-*": "own/MODEL"} into warp2api.yaml';
    await expect(routes.plan(ask('claude-sonnet-4-5'))).rejects.toMatchObject({
      code: 'model_not_found',
      message: expect.stringContaining(alias),
    });
    await expect(routes.plan(ask('llama'))).rejects.toMatchObject({
      message: expect.not.stringContaining('aliases'),
    });
    open({ 'claude-*': 'own/own-only' });
    expect(await routeOf('claude-sonnet-4-5')).toBe('own: own-only');
  });
});

describe('a plain name', () => {
  it('goes to the first provider that has accounts', async () => {
    expect(await routeOf('both')).toBe('warp: both');
    withAccounts = ['oz'];
    expect(await routeOf('both')).toBe('oz: both');
    expect(await routeOf('gpt-4o')).toBe('oz: auto');
    await expect(routes.plan(ask('warp-only'))).rejects.toMatchObject({ code: 'model_not_found' });
  });

  it('does not wander to another provider because that one has the model', async () => {
    await expect(routes.plan(ask('oz-only'))).rejects.toMatchObject({ code: 'model_not_found' });
  });

  it('goes on to further providers whose lists count and have the very name', async () => {
    withAccounts = ['warp', 'oz', 'own'];
    expect(await routeOf('both')).toBe('warp: both, own: both');
    expect(await routeOf('own-only')).toBe('own: own-only');
    expect(await routeOf('warp/both')).toBe('warp: both');
  });

  it('goes to the first of all while nobody has accounts, or that is not known', async () => {
    withAccounts = [];
    expect(await routeOf('both')).toBe('warp: both');
    withAccounts = undefined;
    expect(await routeOf('both')).toBe('warp: both');
  });
});

describe('a name with a provider in front', () => {
  it('always means that provider', async () => {
    for (const present of [['warp', 'oz'], ['warp'], ['oz']]) {
      withAccounts = present;
      expect(await routeOf('oz/both')).toBe('oz: both');
      expect(await routeOf('warp/both')).toBe('warp: both');
      expect(await routeOf('oz/claude-5')).toBe('oz: auto');
    }
  });

  it('is refused with names near it of that provider', async () => {
    const refusal = routes.plan(ask('oz/oz-onli'));
    await expect(refusal).rejects.toThrow('There is no model "oz/oz-onli"; did you mean "oz/oz-only"');
  });

  it('is a plain name where there is no such provider', async () => {
    await expect(routes.plan(ask('elsewhere/both'))).rejects.toMatchObject({ code: 'model_not_found' });
  });
});

describe('an alias', () => {
  it('may stand for a model of another provider', async () => {
    open({ slow: 'oz/both', 'deep-*': 'oz/auto', 'oz/quick': 'both', fast: 'both', odd: 'warp/both' });
    expect(await routeOf('slow')).toBe('oz: both');
    expect(await routeOf('deep-thought')).toBe('oz: auto');
    expect(await routeOf('oz/quick')).toBe('oz: both');
    expect(await routeOf('fast')).toBe('warp: both');
    withAccounts = ['oz'];
    expect(await routeOf('fast')).toBe('oz: both');
    expect(await routeOf('odd')).toBe('warp: both');
  });
});

describe('the list', () => {
  const ids = async () => (await routes.list()).map(({ id }) => id);

  it('holds the models of the providers that have accounts, those beside the first under their prefix', async () => {
    expect(await ids()).toEqual(['auto', 'both', 'warp-only', 'oz/auto', 'oz/both', 'oz/oz-only']);
    withAccounts = ['warp'];
    expect(await ids()).toEqual(['auto', 'both', 'warp-only']);
    withAccounts = ['oz'];
    expect(await ids()).toEqual(['oz/auto', 'oz/both', 'oz/oz-only']);
    withAccounts = [];
    expect(await ids()).toEqual(['auto', 'both', 'warp-only']);
  });

  it('shows what an alias stands for at its provider', async () => {
    open({ slow: 'oz/both' });
    const shown = { id: 'slow', provider: 'oz', aliasOf: 'oz/both', contextWindow: 7 };
    expect((await routes.list()).at(-1)).toEqual(shown);
    expect(await routes.find('slow')).toEqual(shown);
    expect(await routes.find('oz/both')).toMatchObject({ id: 'oz/both', provider: 'oz' });
    expect(await routes.find('oz/claude-5')).toMatchObject({ id: 'oz/claude-5', aliasOf: 'oz/auto' });
    withAccounts = ['oz'];
    expect(await routes.find('both')).toMatchObject({ id: 'both', aliasOf: 'oz/both' });
  });

  it('is that of the sandbox while it answers', async () => {
    isSandbox = true;
    expect(await ids()).toEqual(['sandbox', 'auto', 'claude-3-5-sonnet-20241022']);
    expect(await routeOf('oz/both')).toBe('sandbox: sandbox');
  });
});

describe('after a refusal by the pool', () => {
  const namesOf = async (model: string, change: () => void) => {
    const tried: Route[] = [];
    let next = (await routes.plan(ask(model))).candidates;
    while (next.length > 0) {
      tried.push(...next);
      change();
      next = await routes.after(tried, ask(model));
    }
    return tried.map((route) => `${route.provider.name}: ${route.model}`);
  };

  it('another provider is the next candidate once the pool has accounts of that one alone', async () => {
    onLook = () => {
      withAccounts = ['oz'];
    };
    expect(await namesOf('both', () => {})).toEqual(['warp: both', 'oz: both']);
  });

  it('there is no other candidate while the same provider would be asked', async () => {
    expect(await namesOf('both', () => {})).toEqual(['warp: both']);
    const onlyWarp = () => {
      withAccounts = ['warp'];
    };
    expect(await namesOf('oz/both', onlyWarp)).toEqual(['oz: both']);
  });
});
