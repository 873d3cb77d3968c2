import type { ConfiguredRoute, RoutingSettings } from '../../core/configured-routes.ts';
import type { Dialect } from '../../core/protocol.ts';
import { type ProviderModel, relayingOutbound, type UpstreamProvider } from '../../core/provider.ts';
import type { ShownModel, ShownModels, ShownRoutes } from '../../core/shown-models.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Pool } from '../../pool-api/pool.ts';
import { judge, judgeProvider, type Readiness, type Verdict } from '../../pool-api/readiness.ts';
import type { ClientKey } from '../keys/client-key.ts';
import type { AccountLimits } from '../leases/account-limits.ts';
import type { PoolWatch } from '../leases/pool-watch.ts';
import { Catalogue } from './catalogue.ts';
import { ConfiguredPlans, type Match } from './configured-plans.ts';
import { type KeyReach, reachOf } from './key-reach.ts';
import {
  bareName,
  checkVision,
  exampleNames,
  findAlias,
  isSandboxName,
  plainSandboxModel,
  shownOf,
} from './model-choice.ts';
import type { ModelLists } from './model-lists.ts';
import { type Found, ModelNames, type ModelNamesOptions } from './model-names.ts';
import { type Route, type RoutedRequest, type RoutedTurn, type RoutePlan, routeTo } from './route.ts';
import { NamesOfModels, shownModel, shownRoute } from './shown-models.ts';

export interface RoutesOptions extends ModelNamesOptions {
  readonly routing: RoutingSettings;
  readonly models: Pick<ModelLists, 'get' | 'known' | 'getFresh' | 'countUseless'>;
  readonly poolWatch: Pick<PoolWatch, 'isReachable' | 'isSandbox' | 'accounts' | 'hasAccounts' | 'look'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly random?: () => number;
}

/** A model as clients see it. */
export interface ListedModel extends ProviderModel {
  readonly provider: string;
  /** Tokens of an answer, at most. */
  readonly maxOutput?: number;
  /** The model that a request of this name is answered by. */
  readonly aliasOf?: string;
}

/** How a name leads where it leads. */
interface Way {
  readonly kind: 'route' | 'alias' | 'named' | 'listed' | 'effort' | 'stand_in' | 'sandbox' | 'none';
  /** Of a configured route: its name or pattern. */
  readonly route?: string;
  readonly alias?: string | undefined;
}

const usualPlan = { delivery: 'stream', promptCache: 'auto' } as const;

/** Where the names of models lead. */
export class Routes {
  readonly #options: RoutesOptions;
  readonly #names: ModelNames;
  readonly #configured: ConfiguredPlans;
  #catalogue: Catalogue;

  constructor(options: RoutesOptions) {
    const { routing } = options;
    this.#options = options;
    this.#names = new ModelNames(options, routing.aliases);
    this.#catalogue = new Catalogue(routing.models);
    this.#configured = new ConfiguredPlans(options, this.#names, this.#catalogue);
  }

  /** Turns that are planned from now on go by these. */
  configure({ aliases, routes, models }: RoutingSettings): void {
    this.#names.aliases = aliases;
    this.#catalogue = new Catalogue(models);
    this.#configured.configure(routes, this.#catalogue);
  }

  /**
   * Every candidate for a request: those of a configured route, else the provider that its model's name means, then others that
   * list that very name. Throws AppError `model_not_found`, or `invalid_request` for what no candidate takes.
   */
  async plan(asked: RoutedRequest, turn?: RoutedTurn, random?: () => number): Promise<RoutePlan> {
    const { poolWatch, sandbox } = this.#options;
    const request = this.#meant(asked);
    const { model: name, reasoning } = request;
    const reach = reachOf(turn?.client);
    if (poolWatch.isReachable && this.#isWithoutAccount(name)) await poolWatch.look();
    if (poolWatch.isSandbox) {
      const route = { provider: sandbox, model: await this.#names.sandboxModelOf(name) };
      const candidates = reach?.narrowed(route, [name]) ?? [route];
      if (reach && candidates.length === 0) throw reach.refusal(name);
      return { candidates, ...usualPlan };
    }
    const configured = this.#configured.find(name);
    if (configured) return this.#configured.plan(configured, request, turn, random);
    return this.#planFrom(await this.#names.lookUp(name, reasoning.effort, reach), request, reach);
  }

  /** The same where there is nothing to wait for, as mostly; else undefined. */
  planNow(asked: RoutedRequest, turn?: RoutedTurn): RoutePlan | undefined {
    const { poolWatch } = this.#options;
    const request = this.#meant(asked);
    const { model: name } = request;
    if (poolWatch.isSandbox || (poolWatch.isReachable && this.#isWithoutAccount(name))) return undefined;
    if (this.#configured.find(name)) return undefined;
    const reach = reachOf(turn?.client);
    const first = this.#names.listed(name, reach);
    return first && this.#planFrom(first, request, reach);
  }

  /** Claude Code marks models of a large context window so, for itself, and does not always take the mark off. */
  #meant<Named extends { readonly model: string }>(request: Named): Named {
    const { model } = request;
    if (!model.endsWith(']')) return request;
    const plain = model.replace(/(?:\[1m\])+$/i, '');
    const isConfigured =
      this.#configured.table.exact(model) !== undefined || Object.hasOwn(this.#names.aliases, model);
    return plain === '' || isConfigured ? request : { ...request, model: plain };
  }

  #planFrom(
    first: Found,
    { model: name, messages, reasoning }: RoutedRequest,
    reach: KeyReach | undefined,
  ): RoutePlan {
    const candidates: Route[] = [];
    for (const found of [first, ...this.#names.othersWith(name, first.provider)]) {
      const route = routeTo(found, reasoning.effort, this.#catalogue);
      if (reach)
        candidates.push(...reach.narrowed(route, found.isAlias ? [found.model, name] : [found.model]));
      else candidates.push(route);
    }
    if (reach && candidates.length === 0) throw reach.refusal(name);
    if (candidates.every(({ isBlind }) => isBlind)) checkVision(first.list.models, first.model, messages);
    return { candidates, ...usualPlan };
  }

  /**
   * Further candidates when no account of those that were `tried` could be had: by now the pool may have accounts of other
   * providers. Throws as `plan` does.
   */
  async after(tried: readonly Route[], request: RoutedRequest, turn?: RoutedTurn): Promise<readonly Route[]> {
    await this.#options.poolWatch.look();
    const { candidates } = await this.plan(request, turn);
    return candidates.filter(({ provider }) => tried.every((route) => route.provider !== provider));
  }

  /** How a name leads to where its plan leads, and which candidates of its route the plan leaves out. Undefined: there is none. */
  async explain(asked: RoutedRequest, turn: RoutedTurn | undefined, plan: RoutePlan | undefined) {
    const request = this.#meant(asked);
    const { model: name } = request;
    const { poolWatch } = this.#options;
    const match = poolWatch.isSandbox ? undefined : this.#configured.find(name);
    const passedOver = match ? await this.#configured.passedOver(match, request, turn, plan) : [];
    return { ...this.#wayOf(name, match, plan?.candidates[0]), passedOver };
  }

  #wayOf(name: string, match: Match | undefined, first: Route | undefined): Way {
    const { sandbox } = this.#options;
    if (match) {
      const alias = match.name === name ? undefined : match.name;
      return { kind: 'route', route: match.route.model, alias };
    }
    if (!first) return { kind: 'none' };
    if (first.provider === sandbox) return { kind: 'sandbox' };
    const { model, isNamed } = this.#names.addressOf(name);
    const alias = findAlias(this.#names.aliases, name);
    if (alias !== undefined && first.model !== model) return { kind: 'alias', alias };
    if (isNamed && first.model === model) return { kind: 'named' };
    if (first.model === model) return { kind: 'listed' };
    return { kind: first.isEffortHeard ? 'effort' : 'stand_in' };
  }

  /** The conversation's next turn goes there first while its prompt is cached there. */
  answered(plan: RoutePlan, route: Route): void {
    this.#configured.answered(plan, route);
  }

  /**
   * For calls that begin no turn: where unknown names are refused, or others than those of the client's key, the first candidate
   * for this one, else undefined. Throws as `plan` does.
   */
  async check(model: string | null | undefined, client?: ClientKey): Promise<Route | undefined> {
    if (!model || !(this.#options.isStrict || reachOf(client))) return undefined;
    const { candidates } = await this.plan(...namedOnly(model, client));
    return candidates[0];
  }

  /** Names of the providers with accounts that take requests of this dialect as they are. */
  serving(dialect: Dialect): string[] {
    const { providers, poolWatch } = this.#options;
    return providers
      .filter(
        (provider) =>
          poolWatch.hasAccounts(provider.name) === true && relayingOutbound(provider, { dialect }),
      )
      .map(({ name }) => name);
  }

  /** How many accounts of it may be lent, as far as the pool has reported. */
  openAccounts({ name }: UpstreamProvider): number {
    return this.#options.poolWatch.accounts?.[name]?.['open'] ?? 0;
  }

  /** Whether some account can answer any turn at all, and then a turn to this provider; undefined while that is not known. */
  judge(provider?: UpstreamProvider): Verdict | undefined {
    const { poolWatch, providers } = this.#options;
    if (poolWatch.accounts === undefined) return undefined;
    const accounts = this.#withUselessLimits(poolWatch.accounts);
    const names = providers.map(({ name }) => name);
    const verdict = judge(accounts, names);
    return verdict.isReady && provider ? judgeProvider(accounts, provider.name) : verdict;
  }

  /** Every model a client may name: those of the providers with accounts, configured routes and aliases. */
  async list(client?: ClientKey): Promise<readonly ListedModel[]> {
    const { poolWatch, providers, sandbox, models, isStrict } = this.#options;
    const reach = reachOf(client);
    if (poolWatch.isSandbox) {
      const { models: known } = await models.get(sandbox);
      const listed = shownOf(known).map((model) => ({ ...model, provider: sandbox.name }));
      const [plain] = listed;
      const examples = isStrict ? [] : exampleNames;
      const all = [
        ...listed,
        ...examples.map((name) => aliasOf(plain, name, plainSandboxModel, sandbox.name)),
      ];
      return reach ? all.filter(({ id }) => reach.allows(sandbox.name, [id])) : all;
    }
    const present = this.#names.inService();
    const listed = new Map<string, ListedModel>();
    for (const provider of present.length === 0 ? [providers[0]] : present) {
      if (reach?.mayAsk(provider.name) === false) continue;
      for (const model of (await models.get(provider)).models) {
        const shown = this.#shown(provider, model);
        const isOpen = reach?.allows(provider.name, [model.id, `${provider.name}/${model.id}`]) ?? true;
        if (isOpen) listed.set(shown.id, shown);
      }
    }
    for (const route of this.#configured.table.named) {
      if (reach?.mayTake(route) === false) continue;
      const lead = this.#leadOf(route, route.model);
      listed.set(route.model, aliasOf(listed.get(lead.id) ?? lead, route.model, lead.id, lead.provider));
    }
    for (const [name, target] of Object.entries(this.#names.aliases)) {
      if (!name.endsWith('*') && !listed.has(name)) {
        const { provider, model } = this.#names.addressOf(target, reach);
        const names = [name, model, `${provider.name}/${model}`];
        if (reach?.allows(provider.name, names) === false) continue;
        const shown = this.#names.shownName(provider, model);
        listed.set(name, aliasOf(listed.get(shown), name, shown, provider.name));
      }
    }
    return [...listed.values()];
  }

  /** Every model of the providers with accounts, with what is known of it and of its accounts. */
  async table(limits: Pick<AccountLimits, 'spentFor'>, pool: Pick<Pool, 'eligible'>): Promise<ShownModels> {
    const { poolWatch, sandbox, models, providers } = this.#options;
    const present = poolWatch.isSandbox ? [sandbox] : this.#names.inService();
    const aliases = Object.entries(this.#names.aliases).map(([name, target]) => {
      const { provider, model } = this.#names.addressOf(target);
      return { name, place: `${provider.name}/${model}` };
    });
    const names = new NamesOfModels(this.#configured.table.all, aliases);
    const rows: ShownModel[] = [];
    for (const provider of present) {
      const list = await models.get(provider);
      const accounts = poolWatch.accounts?.[provider.name] ?? {};
      const standing = {
        counts: accounts,
        spentFor: (model: string) =>
          new Set<string>(limits.spentFor(provider.name, provider.outbound, model)?.keys() ?? []),
        limited: accounts['open_for_models'] ? await limitedAccounts(pool, provider.name) : [],
      };
      for (const listed of list.models) {
        const { id } = listed;
        const facts = this.#catalogue.factsOf(provider, id, listed);
        const name = this.#names.shownName(provider, id);
        rows.push({
          ...shownModel(name, provider, listed, list, facts, standing),
          ...names.of(provider.name, id),
        });
      }
    }
    return {
      models: rows,
      providers: [sandbox, ...providers]
        .filter((provider) => present.includes(provider))
        .map(({ name }) => ({ name, accounts: { ...poolWatch.accounts?.[name] } })),
      sandbox: poolWatch.isSandbox,
    };
  }

  /** What the configuration file says of names. */
  configuredNames(): Pick<ShownRoutes, 'routes' | 'aliases'> {
    return {
      routes: this.#configured.table.all.map(shownRoute),
      aliases: Object.entries(this.#names.aliases).map(([name, target]) => ({ name, target })),
    };
  }

  /** The model of that name: one that is listed, or what a request of that name would get. Throws `model_not_found`. */
  async find(asked: string, client?: ClientKey): Promise<ListedModel> {
    const { poolWatch, sandbox, models } = this.#options;
    const { model: id } = this.#meant({ model: asked });
    const listed = await this.list(client);
    const named = listed.find((model) => model.id === id);
    if (named) return named;
    const reach = reachOf(client);
    if (reach) await this.plan(...namedOnly(id, client));
    // A name that would be answered exists, listed or not.
    if (poolWatch.isSandbox) {
      const model = await this.#names.sandboxModelOf(id);
      const { models: known } = await models.get(sandbox);
      const shown = { id: model, ...known.find((one) => one.id === model), provider: sandbox.name };
      return model === id ? shown : aliasOf(shown, id, model, sandbox.name);
    }
    const configured = this.#configured.find(id);
    if (configured) {
      const lead = this.#leadOf(configured.route, configured.name);
      return aliasOf(listed.find((one) => one.id === lead.id) ?? lead, id, lead.id, lead.provider);
    }
    const { provider, model } = await this.#names.lookUp(id, undefined, reach);
    const shown = this.#names.shownName(provider, model);
    if (shown === id) return { id, provider: provider.name };
    const known = listed.find((one) => one.id === shown);
    return aliasOf(known, id, shown, provider.name);
  }

  /** The first account of all may have come just now. */
  #isWithoutAccount(name: string): boolean {
    return this.#options.poolWatch.isSandbox ? !isSandboxName(bareName(name)) : !this.#names.isServed(name);
  }

  /** A model as clients see it, with what is known of it. */
  #shown(provider: UpstreamProvider, model: ProviderModel): ListedModel {
    const { contextWindow, maxOutput, vision } = this.#catalogue.profileOf(provider, model.id, model);
    return {
      ...model,
      id: this.#names.shownName(provider, model.id),
      provider: provider.name,
      ...(contextWindow !== undefined && { contextWindow }),
      ...(maxOutput !== undefined && { maxOutput }),
      ...(vision !== undefined && { hasVision: vision }),
    };
  }

  /** What a route leads to first, as clients see it. */
  #leadOf({ candidates }: ConfiguredRoute, name: string): ListedModel {
    const { providers } = this.#options;
    const lead = candidates.reduce((first, one) => (one.tier < first.tier ? one : first));
    const provider = providers.find((one) => one.name === lead.provider) ?? providers[0];
    return this.#shown(provider, { id: lead.model === '*' ? name : lead.model });
  }

  /** Where every open account is limited to some models, with those that have none of these counted as what they are. */
  #withUselessLimits(known: Readiness): Readiness {
    const { providers, models } = this.#options;
    const accounts = { ...known };
    for (const provider of providers) {
      const { open = 0, open_for_models: limited = 0, ...others } = known[provider.name] ?? {};
      if (open > 0 || limited === 0) continue;
      // Asks for the list only when it is due, and not at every call.
      void models.get(provider);
      const useless = models.countUseless(provider);
      if (useless >= limited) accounts[provider.name] = { ...others, useless_models: limited };
    }
    return accounts;
  }
}

/** The models of each account that its owner keeps for some; none where the pool does not say. */
async function limitedAccounts(pool: Pick<Pool, 'eligible'>, provider: string) {
  const answer = await pool.eligible({ provider }).catch(() => undefined);
  return (answer?.accounts ?? []).filter(({ standing, models }) => standing === 'open' && models !== null);
}

/** A request that only names a model. */
function namedOnly(model: string, client: ClientKey | undefined): [RoutedRequest, RoutedTurn | undefined] {
  const request = { model, messages: [], reasoning: {} };
  return [request, client && { client, affinityKey: undefined, decoded: {} }];
}

function aliasOf(
  model: ListedModel | undefined,
  name: string,
  target: string,
  provider: string,
): ListedModel {
  return { provider, ...model, id: name, aliasOf: model?.aliasOf ?? target };
}
