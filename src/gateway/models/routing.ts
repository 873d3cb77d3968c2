import { AppError } from '../../core/errors.ts';
import { nearNames } from '../../core/near-names.ts';
import type { Dialect } from '../../core/protocol.ts';
import { canRelay, type ProviderModel, type UpstreamProvider } from '../../core/provider.ts';
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
import type { ModelUnion } from './model-union.ts';

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
}

/** What of a request decides where it goes. */
export type RoutedRequest = Pick<AskedRequest, 'model' | 'messages' | 'reasoning'>;

/** A model as clients see it. */
export interface ListedModel extends ProviderModel {
  readonly provider: string;
  /** The model that a request of this name is answered by. */
  readonly aliasOf?: string;
}

export interface Routes {
  /** Throws AppError `model_not_found`, or `invalid_request` for images the model cannot see. */
  resolve(request: RoutedRequest): Promise<Route>;
  /**
   * For calls that begin no turn: where unknown names are refused, the route of this one, else undefined. Throws as
   * `resolve` does.
   */
  check(model: string | null | undefined): Promise<Route | undefined>;
  /** Whether an upstream answers the name that speaks this dialect itself. */
  relays(model: string, dialect: Dialect): Promise<boolean>;
  /**
   * Where a turn may go, in order. The next one is asked for when no account of the one before could be had. The first throws as
   * `resolve` does.
   */
  candidates(request: RoutedRequest): AsyncGenerator<Route, undefined>;
  /** Whether some account can answer any turn at all, and then a turn to this provider; undefined while that is not known. */
  judge(provider?: UpstreamProvider): Verdict | undefined;
  /** Every model a client may name: those of the providers with accounts, and the configured aliases. */
  list(): Promise<readonly ListedModel[]>;
  /** The model of that name: one that is listed, or what a request of that name would get. Throws `model_not_found`. */
  find(id: string): Promise<ListedModel>;
}

export interface RoutesOptions {
  /** Plain names go to the first that has accounts; `NAME/model` goes to the one of that name. */
  readonly providers: readonly [UpstreamProvider, ...UpstreamProvider[]];
  readonly sandbox: UpstreamProvider;
  readonly models: ModelLists;
  readonly poolWatch: Pick<PoolWatch, 'isReachable' | 'isSandbox' | 'accounts' | 'hasAccounts' | 'look'>;
  readonly aliases: Readonly<Record<string, string>>;
  /** STRICT_MODELS: no name is answered by another model unless an alias of the owner says so. */
  readonly isStrict: boolean;
}

interface Target {
  readonly model: string;
  /** An alias with a plain name means that very model, whatever effort a request asks for. */
  readonly isPinned: boolean;
}

interface Found {
  readonly provider: UpstreamProvider;
  readonly list: ModelList;
  readonly target: Target;
}

export function createRoutes(options: RoutesOptions): Routes {
  const { providers, sandbox, models, poolWatch, aliases, isStrict } = options;
  const [first] = providers;

  /** Whom a name means, and what it calls the model there. */
  function addressOf(name: string): { provider: UpstreamProvider; model: string; isNamed: boolean } {
    const slash = name.indexOf('/');
    const named = slash > 0 && providers.find((provider) => provider.name === name.slice(0, slash));
    if (named) return { provider: named, model: name.slice(slash + 1), isNamed: true };
    return { provider: inService()[0] ?? first, model: name, isNamed: false };
  }

  function isInService({ name }: UpstreamProvider): boolean {
    return poolWatch.hasAccounts(name) === true;
  }

  function inService(): UpstreamProvider[] {
    return providers.filter(isInService);
  }

  /** Another provider than the first that has accounts, which lists the very name. */
  async function findByList(name: string): Promise<Found | undefined> {
    for (const provider of inService().slice(1)) {
      if (!provider.isFoundByList) continue;
      const list = await models.get(provider);
      const isListed = list.isProven && list.models.some(({ id }) => id === name);
      if (isListed) return { provider, list, target: { model: name, isPinned: false } };
    }
    return undefined;
  }

  /** The name under which a model is listed: without a prefix only where nothing else can be meant. */
  function shownName(provider: UpstreamProvider, model: string): string {
    return provider === first ? model : `${provider.name}/${model}`;
  }

  /** What a name stands for at one provider; undefined when nobody there knows it. */
  function targetOf(
    name: string,
    { models: known, withheld, isProven }: ModelList,
    effort: string | undefined,
    standIns: Readonly<Record<string, string>>,
  ): Target | undefined {
    // Of a name such as `warp/`.
    if (name === '') return undefined;
    const has = (id: string) => known.some((candidate) => candidate.id === id);
    if (has(name)) return { model: name, isPinned: false };
    // Whoever asks for a model that is kept back is told so, and gets no other in its place.
    if (withheld.some(({ id }) => id === name)) return undefined;
    if (isFamily(known, name, effort)) return { model: name, isPinned: false };
    if (isFamily(withheld, name, effort)) return undefined;
    if (isStrict) return undefined;
    const fallback = findAlias(standIns, name);
    if (fallback !== undefined) {
      const own = known.find((model) => model.isDefault) ?? known[0];
      return { model: has(fallback) ? fallback : (own?.id ?? fallback), isPinned: false };
    }
    return isProven ? undefined : { model: name, isPinned: false };
  }

  /** What the owner has said the name stands for, unless it is a model's own. */
  async function findConfigured(
    name: string,
    { provider, model, isNamed }: ReturnType<typeof addressOf>,
    list: ModelList,
  ): Promise<Found | undefined> {
    const configured = findAlias(aliases, name);
    if (configured === undefined || list.models.some(({ id }) => id === model)) return undefined;
    const isPinned = Object.hasOwn(aliases, name);
    const target = addressOf(configured);
    // A name that says who is meant keeps to it.
    if (!target.isNamed || (isNamed && target.provider !== provider)) {
      return { provider, list, target: { model: configured, isPinned } };
    }
    const { provider: other } = target;
    const otherList = other === provider ? list : await models.get(other);
    return { provider: other, list: otherList, target: { model: target.model, isPinned } };
  }

  async function lookUp(name: string, effort?: string): Promise<Found> {
    const address = addressOf(name);
    const { provider, model } = address;
    const list = await models.get(provider);
    const configured = await findConfigured(name, address, list);
    if (configured) return configured;
    const { standIns = {} } = provider;
    const isListed = list.models.some(({ id }) => id === model) || isFamily(list.models, model, effort);
    const elsewhere = address.isNamed || isListed ? undefined : await findByList(name);
    if (elsewhere) return elsewhere;
    const target = targetOf(model, list, effort, standIns);
    if (target) return { provider, list, target };
    const fresh = await models.getFresh(provider);
    const found = targetOf(model, fresh, effort, standIns);
    if (found) return { provider, list: fresh, target: found };
    if (isStrict && !fresh.isProven && model !== '') throw modelsUnknown(name);
    throw modelNotFound(name, address.isNamed ? prefixed(provider, fresh) : fresh, Object.keys(aliases));
  }

  /** Its plain model answers to every other name: people who try the service out have no list yet. */
  async function sandboxModelOf(name: string): Promise<string> {
    const own = bareName(name);
    const alias = bareName(findAlias(aliases, own) ?? '');
    if (!isStrict) return [own, alias].find(isSandboxName) ?? plainSandboxModel;
    const list = await models.get(sandbox);
    const known = [own, alias].find((candidate) => hasScenario(list.models, candidate));
    if (known !== undefined) return known;
    if (!list.isProven) throw modelsUnknown(name);
    const ofScenarios = list.models.filter(({ id }) => isSandboxName(id));
    const useful = Object.keys(aliases).filter((one) =>
      hasScenario(list.models, bareName(aliases[one] ?? '')),
    );
    throw modelNotFound(name, { models: ofScenarios, withheld: [] }, useful);
  }

  async function resolve({ model: name, messages, reasoning }: RoutedRequest): Promise<Route> {
    if (poolWatch.isSandbox) return { provider: sandbox, model: await sandboxModelOf(name) };
    const { provider, list, target } = await lookUp(name, reasoning.effort);
    const pinned = target.isPinned ? list.models.filter(({ id }) => id === target.model) : [];
    const candidates = pinned.length > 0 ? pinned : list.models;
    const { model, isEffortHeard } = chooseEffort(candidates, target.model, reasoning.effort);
    const isBlind = isBlindModel(list.models, model);
    if (isBlind) checkVision(list.models, model, messages);
    return { provider, model, isEffortHeard, isBlind, barred: list.barred.get(model) };
  }

  async function list(): Promise<ListedModel[]> {
    if (poolWatch.isSandbox) {
      const { models: known } = await models.get(sandbox);
      const listed = shownOf(known).map((model) => ({ ...model, provider: sandbox.name }));
      const [plain] = listed;
      const examples = isStrict ? [] : exampleNames;
      return [...listed, ...examples.map((name) => aliasOf(plain, name, plainSandboxModel, sandbox))];
    }
    const present = inService();
    const listed = new Map<string, ListedModel>();
    for (const provider of present.length === 0 ? [first] : present) {
      for (const model of (await models.get(provider)).models) {
        const id = shownName(provider, model.id);
        listed.set(id, { ...model, id, provider: provider.name });
      }
    }
    for (const [name, target] of Object.entries(aliases)) {
      if (!name.endsWith('*') && !listed.has(name)) {
        const { provider, model } = addressOf(target);
        const shown = shownName(provider, model);
        listed.set(name, aliasOf(listed.get(shown), name, shown, provider));
      }
    }
    return [...listed.values()];
  }

  return {
    resolve,
    async check(model) {
      if (!isStrict || !model) return undefined;
      return resolve({ model, messages: [], reasoning: {} });
    },
    async relays(model, dialect) {
      // The first account of all may have come just now.
      const isEmpty = poolWatch.isSandbox ? !isSandboxName(bareName(model)) : inService().length === 0;
      if (isEmpty && poolWatch.isReachable) await poolWatch.look();
      if (poolWatch.isSandbox) return false;
      const found = await lookUp(model).catch(() => undefined);
      return found !== undefined && canRelay(found.provider, { dialect });
    },
    async *candidates(request) {
      for (let route = await this.resolve(request); ; ) {
        yield route;
        await poolWatch.look();
        const next = await this.resolve(request);
        // By now the accounts of another provider may be asked.
        if (next.provider === route.provider) return undefined;
        route = next;
      }
    },
    judge(provider) {
      if (poolWatch.accounts === undefined) return undefined;
      const accounts = withUselessLimits(poolWatch.accounts);
      const names = providers.map(({ name }) => name);
      const verdict = judge(accounts, names);
      return verdict.isReady && provider ? judgeProvider(accounts, provider.name) : verdict;
    },
    list,
    async find(id) {
      const listed = await list();
      const named = listed.find((model) => model.id === id);
      if (named) return named;
      // A name that would be answered exists, listed or not.
      if (poolWatch.isSandbox) {
        const model = await sandboxModelOf(id);
        const { models: known } = await models.get(sandbox);
        const found = known.find((candidate) => candidate.id === model);
        const shown = { id: model, ...found, provider: sandbox.name };
        return model === id ? shown : aliasOf(shown, id, model, sandbox);
      }
      const { provider, target } = await lookUp(id);
      const shown = shownName(provider, target.model);
      const model = listed.find((candidate) => candidate.id === shown);
      return shown === id ? { id, provider: provider.name } : aliasOf(model, id, shown, provider);
    },
  };

  /** Where every open account is limited to some models, with those that have none of these counted as what they are. */
  function withUselessLimits(known: Readiness): Readiness {
    const accounts = { ...known };
    for (const provider of providers) {
      const { open = 0, open_for_models: limited = 0, ...others } = known[provider.name] ?? {};
      if (open > 0 || limited === 0) continue;
      // Looks for itself, and not at every call.
      void models.get(provider);
      const useless = models.countUseless(provider);
      if (useless >= limited) accounts[provider.name] = { ...others, useless_models: limited };
    }
    return accounts;
  }

  function prefixed(provider: UpstreamProvider, { models: known, withheld }: ModelList) {
    const withPrefix = (model: ProviderModel) => ({ ...model, id: `${provider.name}/${model.id}` });
    return { models: known.map(withPrefix), withheld: withheld.map(withPrefix) };
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

/** The refusal of a name that leads to no model, with names like it, or with the reason why a model is kept back. */
function modelNotFound(
  name: string,
  { models, withheld }: Pick<ModelUnion, 'models' | 'withheld'>,
  aliases: readonly string[],
): AppError {
  const near = nearNames(name, [
    ...models.map(({ id }) => id),
    ...aliases.filter((alias) => !alias.endsWith('*')),
  ]).map((one) => `"${one}"`);
  const kept =
    withheld.find((model) => model.id === name) ??
    withheld.find((model) => isFamily([model], name, undefined));
  if (kept?.withheld) {
    const hint = near.length === 0 ? '' : ` Near it: ${near.join(', ')}.`;
    const message = `The model "${name}" cannot be used: ${kept.withheld.reason}.${hint}`;
    return new AppError('model_not_found', message, { param: 'model' });
  }
  const hint = near.length === 0 ? 'GET /v1/models lists what there is' : `did you mean ${near.join(' or ')}`;
  return new AppError('model_not_found', `There is no model "${name}"; ${hint}.`, { param: 'model' });
}

/** With STRICT_MODELS a name counts only once some account has told its models. */
function modelsUnknown(name: string): AppError {
  return new AppError(
    'model_unavailable',
    `No account could be asked for its models yet, so whether there is a model "${name}" is not known (STRICT_MODELS): try again in a moment; GET /health tells how the pool is doing.`,
    { param: 'model', retryAfterMs: 5_000 },
  );
}
