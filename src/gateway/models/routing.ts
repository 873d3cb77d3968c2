import type { ConfiguredRoute } from '../../core/configured-routes.ts';
import type { ProviderModel, UpstreamProvider } from '../../core/provider.ts';
import type { AskedRequest } from '../../core/turn.ts';
import { judge, judgeProvider, type Readiness, type Verdict } from '../../pool-api/readiness.ts';
import type { PoolWatch } from '../leases/pool-watch.ts';
import {
  bareName,
  checkVision,
  chooseEffort,
  exampleNames,
  findAlias,
  hasScenario,
  isBlindModel,
  isFamily,
  isSandboxName,
  plainSandboxModel,
  shownOf,
} from './model-choice.ts';
import type { ModelList, ModelLists } from './model-lists.ts';
import { modelNotFound, modelsUnknown, prefixed } from './model-refusals.ts';

/** Who answers a turn, and as which of its models. */
export interface Route {
  readonly provider: UpstreamProvider;
  readonly model: string;
  /** The request's effort chose the model. */
  readonly isEffortHeard?: boolean;
  /** The model surely sees no images. */
  readonly isBlind?: boolean;
  /** Accounts whose own list lacks the model. */
  readonly barred?: ReadonlySet<string> | undefined;
  /** Its accounts carry one of these; absent: any account. */
  readonly labels?: readonly string[] | undefined;
  readonly firstContentTimeoutMs?: number | undefined;
  /** Tokens; undefined where that is not known. */
  readonly contextWindow?: number | undefined;
}

/** Where a turn may go. */
export interface RoutePlan
  extends Pick<ConfiguredRoute, 'delivery' | 'firstContentTimeoutMs' | 'promptCache'> {
  /** In the order of trial, at least one. */
  readonly candidates: readonly Route[];
}

/** What of a request decides where it goes. */
export type RoutedRequest = Pick<AskedRequest, 'model' | 'messages' | 'reasoning'>;

/** A model as clients see it. */
export interface ListedModel extends ProviderModel {
  readonly provider: string;
  /** The model that a request of this name is answered by. */
  readonly aliasOf?: string;
}

export interface RoutesOptions {
  /** Plain names go to the first that has accounts; `NAME/model` goes to the one of that name. */
  readonly providers: readonly [UpstreamProvider, ...UpstreamProvider[]];
  readonly sandbox: UpstreamProvider;
  readonly models: Pick<ModelLists, 'get' | 'known' | 'getFresh' | 'countUseless'>;
  readonly poolWatch: Pick<PoolWatch, 'isReachable' | 'isSandbox' | 'accounts' | 'hasAccounts' | 'look'>;
  readonly aliases: Readonly<Record<string, string>>;
  /** STRICT_MODELS: no name is answered by another model unless an alias of the owner says so. */
  readonly isStrict: boolean;
}

/** What a name leads to. */
interface Found {
  readonly provider: UpstreamProvider;
  readonly list: ModelList;
  readonly model: string;
  /** An alias with a plain name means that very model, whatever effort a request asks for. */
  readonly isPinned?: boolean;
}

/** Whom a name means, and what it calls the model there. */
interface Address {
  readonly provider: UpstreamProvider;
  readonly model: string;
  /** The name says which provider is meant. */
  readonly isNamed: boolean;
}

const usualPlan = { delivery: 'stream', promptCache: 'auto' } as const;

/** Where the names of models lead. */
export class Routes {
  readonly #options: RoutesOptions;

  constructor(options: RoutesOptions) {
    this.#options = options;
  }

  /**
   * Every candidate for a request: the provider that its model's name means, then others that list that very name. Throws
   * AppError `model_not_found`, or `invalid_request` for images that the model cannot see.
   */
  async plan({ model: name, messages, reasoning }: RoutedRequest): Promise<RoutePlan> {
    const { poolWatch, sandbox } = this.#options;
    await this.#lookForFirstAccount(name);
    if (poolWatch.isSandbox) {
      const model = await this.#sandboxModelOf(name);
      return { candidates: [{ provider: sandbox, model }], ...usualPlan };
    }
    const first = await this.#lookUp(name, reasoning.effort);
    const others = this.#othersWith(name, first.provider);
    const candidates = [first, ...others].map((found) => this.#routeTo(found, reasoning.effort));
    const [{ list, model }] = [first];
    const seeing = candidates.filter(({ isBlind }) => !isBlind);
    if (seeing.length === 0) checkVision(list.models, model, messages);
    return { candidates, ...usualPlan };
  }

  /**
   * Further candidates when no account of those that were `tried` could be had: by now the pool may have accounts of other
   * providers. Throws as `plan` does.
   */
  async after(tried: readonly Route[], request: RoutedRequest): Promise<readonly Route[]> {
    await this.#options.poolWatch.look();
    const { candidates } = await this.plan(request);
    return candidates.filter(({ provider }) => tried.every((route) => route.provider !== provider));
  }

  /**
   * For calls that begin no turn: where unknown names are refused, the first candidate for this one, else undefined. Throws as
   * `plan` does.
   */
  async check(model: string | null | undefined): Promise<Route | undefined> {
    if (!this.#options.isStrict || !model) return undefined;
    const { candidates } = await this.plan({ model, messages: [], reasoning: {} });
    return candidates[0];
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

  /** Every model a client may name: those of the providers with accounts, and the configured aliases. */
  async list(): Promise<readonly ListedModel[]> {
    const { poolWatch, providers, sandbox, models, aliases, isStrict } = this.#options;
    if (poolWatch.isSandbox) {
      const { models: known } = await models.get(sandbox);
      const listed = shownOf(known).map((model) => ({ ...model, provider: sandbox.name }));
      const [plain] = listed;
      const examples = isStrict ? [] : exampleNames;
      return [...listed, ...examples.map((name) => aliasOf(plain, name, plainSandboxModel, sandbox))];
    }
    const present = this.#inService();
    const listed = new Map<string, ListedModel>();
    for (const provider of present.length === 0 ? [providers[0]] : present) {
      for (const model of (await models.get(provider)).models) {
        const id = this.#shownName(provider, model.id);
        listed.set(id, { ...model, id, provider: provider.name });
      }
    }
    for (const [name, target] of Object.entries(aliases)) {
      if (!name.endsWith('*') && !listed.has(name)) {
        const { provider, model } = this.#addressOf(target);
        const shown = this.#shownName(provider, model);
        listed.set(name, aliasOf(listed.get(shown), name, shown, provider));
      }
    }
    return [...listed.values()];
  }

  /** The model of that name: one that is listed, or what a request of that name would get. Throws `model_not_found`. */
  async find(id: string): Promise<ListedModel> {
    const { poolWatch, sandbox, models } = this.#options;
    const listed = await this.list();
    const named = listed.find((model) => model.id === id);
    if (named) return named;
    // A name that would be answered exists, listed or not.
    if (poolWatch.isSandbox) {
      const model = await this.#sandboxModelOf(id);
      const { models: known } = await models.get(sandbox);
      const shown = { id: model, ...known.find((one) => one.id === model), provider: sandbox.name };
      return model === id ? shown : aliasOf(shown, id, model, sandbox);
    }
    const { provider, model } = await this.#lookUp(id);
    const shown = this.#shownName(provider, model);
    if (shown === id) return { id, provider: provider.name };
    const known = listed.find((one) => one.id === shown);
    return aliasOf(known, id, shown, provider);
  }

  /** The first account of all may have come just now. */
  async #lookForFirstAccount(name: string): Promise<void> {
    const { poolWatch } = this.#options;
    const isEmpty = poolWatch.isSandbox ? !isSandboxName(bareName(name)) : this.#inService().length === 0;
    if (isEmpty && poolWatch.isReachable) await poolWatch.look();
  }

  #routeTo({ provider, list, model: found, isPinned }: Found, effort: string | undefined): Route {
    const pinned = isPinned ? list.models.filter(({ id }) => id === found) : [];
    const choices = pinned.length > 0 ? pinned : list.models;
    const { model, isEffortHeard } = chooseEffort(choices, found, effort);
    const isBlind = isBlindModel(list.models, model);
    return { provider, model, isEffortHeard, isBlind, barred: list.barred.get(model) };
  }

  /** Other providers with accounts that list the very name, as far as their lists are known. */
  #othersWith(name: string, first: UpstreamProvider): Found[] {
    const { models } = this.#options;
    if (this.#addressOf(name).isNamed) return [];
    return this.#inService().flatMap((provider) => {
      if (provider === first || !provider.isFoundByList) return [];
      const list = models.known(provider);
      return list.models.some(({ id }) => id === name) ? [{ provider, list, model: name }] : [];
    });
  }

  #inService(): UpstreamProvider[] {
    const { providers, poolWatch } = this.#options;
    return providers.filter(({ name }) => poolWatch.hasAccounts(name) === true);
  }

  /** The name under which a model is listed: without a prefix only where nothing else can be meant. */
  #shownName(provider: UpstreamProvider, model: string): string {
    return provider === this.#options.providers[0] ? model : `${provider.name}/${model}`;
  }

  #addressOf(name: string): Address {
    const { providers } = this.#options;
    const slash = name.indexOf('/');
    const named = slash > 0 && providers.find((provider) => provider.name === name.slice(0, slash));
    if (named) return { provider: named, model: name.slice(slash + 1), isNamed: true };
    return { provider: this.#inService()[0] ?? providers[0], model: name, isNamed: false };
  }

  async #lookUp(name: string, effort?: string): Promise<Found> {
    const { models, aliases, isStrict } = this.#options;
    const address = this.#addressOf(name);
    const { provider, model } = address;
    const list = await models.get(provider);
    const configured = await this.#findConfigured(name, address, list);
    if (configured) return configured;
    const isListed = list.models.some(({ id }) => id === model) || isFamily(list.models, model, effort);
    const elsewhere = address.isNamed || isListed ? undefined : await this.#findByList(name);
    if (elsewhere) return elsewhere;
    const target = this.#modelAt(provider, model, list, effort);
    if (target !== undefined) return { provider, list, model: target };
    const fresh = await models.getFresh(provider);
    const found = this.#modelAt(provider, model, fresh, effort);
    if (found !== undefined) return { provider, list: fresh, model: found };
    if (isStrict && !fresh.isProven && model !== '') throw modelsUnknown(name);
    throw modelNotFound(name, address.isNamed ? prefixed(provider, fresh) : fresh, Object.keys(aliases));
  }

  /** What the owner has said the name stands for, unless it is a model's own. */
  async #findConfigured(
    name: string,
    { provider, model, isNamed }: Address,
    list: ModelList,
  ): Promise<Found | undefined> {
    const { aliases, models } = this.#options;
    const configured = findAlias(aliases, name);
    if (configured === undefined || list.models.some(({ id }) => id === model)) return undefined;
    const isPinned = Object.hasOwn(aliases, name);
    const target = this.#addressOf(configured);
    // A name that says who is meant keeps to it.
    if (!target.isNamed || (isNamed && target.provider !== provider)) {
      return { provider, list, model: configured, isPinned };
    }
    const isSame = target.provider === provider;
    const targetList = isSame ? list : await models.get(target.provider);
    return { provider: target.provider, list: targetList, model: target.model, isPinned };
  }

  /** Another provider than the first that has accounts, which lists the very name. */
  async #findByList(name: string): Promise<Found | undefined> {
    for (const provider of this.#inService().slice(1)) {
      if (!provider.isFoundByList) continue;
      const list = await this.#options.models.get(provider);
      const isListed = list.isProven && list.models.some(({ id }) => id === name);
      if (isListed) return { provider, list, model: name };
    }
    return undefined;
  }

  /** What a name stands for at one provider; undefined when it is not known there. */
  #modelAt(
    { standIns = {} }: UpstreamProvider,
    name: string,
    { models: known, withheld, isProven }: ModelList,
    effort: string | undefined,
  ): string | undefined {
    // Of a name such as `warp/`.
    if (name === '') return undefined;
    const has = (id: string) => known.some((candidate) => candidate.id === id);
    if (has(name)) return name;
    // A model that is withheld is reported as such, and not replaced by another.
    if (withheld.some(({ id }) => id === name)) return undefined;
    if (isFamily(known, name, effort)) return name;
    if (isFamily(withheld, name, effort) || this.#options.isStrict) return undefined;
    const fallback = findAlias(standIns, name);
    if (fallback === undefined) return isProven ? undefined : name;
    if (has(fallback)) return fallback;
    return (known.find((model) => model.isDefault) ?? known[0])?.id ?? fallback;
  }

  /** Its plain model answers to every other name: people who try the service out have no list yet. */
  async #sandboxModelOf(name: string): Promise<string> {
    const { sandbox, models, aliases, isStrict } = this.#options;
    const names = [bareName(name), bareName(findAlias(aliases, bareName(name)) ?? '')];
    if (!isStrict) return names.find(isSandboxName) ?? plainSandboxModel;
    const list = await models.get(sandbox);
    const known = names.find((candidate) => hasScenario(list.models, candidate));
    if (known !== undefined) return known;
    if (!list.isProven) throw modelsUnknown(name);
    const ofScenarios = list.models.filter(({ id }) => isSandboxName(id));
    const useful = Object.keys(aliases).filter((one) =>
      hasScenario(list.models, bareName(aliases[one] ?? '')),
    );
    throw modelNotFound(name, { models: ofScenarios, withheld: [] }, useful);
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

function aliasOf(
  model: ListedModel | undefined,
  name: string,
  target: string,
  provider: UpstreamProvider,
): ListedModel {
  return { provider: provider.name, ...model, id: name, aliasOf: model?.aliasOf ?? target };
}
