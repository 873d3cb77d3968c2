import type { ProviderModel, UpstreamProvider } from '../core/provider.ts';
import type { AskedRequest } from '../core/turn.ts';
import { defaultAliases, findAlias } from './aliases.ts';
import { checkVision, chooseEffort } from './model-choice.ts';
import { modelNotFound } from './model-not-found.ts';
import type { ModelList, ModelLists } from './models.ts';
import type { PoolWatch } from './pool-watch.ts';

/** Who answers a turn, and as which of its models. */
export interface Route {
  readonly provider: UpstreamProvider;
  readonly model: string;
  /** Where a person can watch this very turn being answered. */
  readonly runUrl?: string;
  /** The request's effort chose the model. */
  readonly isEffortHeard?: boolean;
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
  resolve(request: RoutedRequest, signal?: AbortSignal): Promise<Route>;
  /** After the pool had no account: another route, if the pool changed from sandbox to real accounts or back. */
  resolveAgain(request: RoutedRequest, before: Route, signal?: AbortSignal): Promise<Route | undefined>;
  /** Every model a client may name: the provider's and the configured aliases. */
  list(): Promise<readonly ListedModel[]>;
  /** The model of that name: one that is listed, or what a request of that name would get. Throws `model_not_found`. */
  find(id: string): Promise<ListedModel>;
}

export interface RoutesOptions {
  readonly provider: UpstreamProvider;
  readonly sandbox: UpstreamProvider;
  readonly models: ModelLists;
  readonly poolWatch: PoolWatch;
  readonly aliases: Readonly<Record<string, string>>;
}

interface Target {
  readonly model: string;
  /** An alias with a plain name means that very model, whatever effort a request asks for. */
  readonly isPinned: boolean;
}

export function createRoutes({ provider, sandbox, models, poolWatch, aliases }: RoutesOptions): Routes {
  /** What a name stands for; undefined when nobody knows it. */
  function targetOf(name: string, { models: known, withheld, isProven }: ModelList): Target | undefined {
    const has = (id: string) => known.some((candidate) => candidate.id === id);
    if (has(name)) return { model: name, isPinned: false };
    const configured = findAlias(aliases, name);
    if (configured !== undefined) return { model: configured, isPinned: Object.hasOwn(aliases, name) };
    // Whoever asks for a model that is kept back is told so, and gets no other in its place.
    if (withheld.some(({ id }) => id === name)) return undefined;
    const fallback = findAlias(defaultAliases, name);
    if (fallback !== undefined) {
      const own = known.find((model) => model.isDefault) ?? known[0];
      return { model: has(fallback) ? fallback : (own?.id ?? fallback), isPinned: false };
    }
    return isProven ? undefined : { model: name, isPinned: false };
  }

  async function lookUp(name: string): Promise<{ list: ModelList; target: Target }> {
    const list = await models.get(provider);
    const target = targetOf(name, list);
    if (target) return { list, target };
    const anew = await models.getAnew(provider);
    const found = targetOf(name, anew);
    if (found) return { list: anew, target: found };
    throw modelNotFound(name, anew, Object.keys(aliases));
  }

  async function resolve({ model: name, messages, reasoning }: RoutedRequest): Promise<Route> {
    // The sandbox answers to any name: whoever tries the service out has no list yet.
    if (poolWatch.isSandbox) return { provider: sandbox, model: name };
    const { list, target } = await lookUp(name);
    const candidates = target.isPinned ? list.models.filter(({ id }) => id === target.model) : list.models;
    const { model, isEffortHeard } = chooseEffort(candidates, target.model, reasoning.effort);
    checkVision(list.models, model, messages);
    return { provider, model, isEffortHeard, barred: list.barred.get(model) };
  }

  async function list(): Promise<ListedModel[]> {
    const source = poolWatch.isSandbox ? sandbox : provider;
    const { models: known } = await models.get(source);
    const listed = new Map(
      known.map((model): [string, ListedModel] => [model.id, { ...model, provider: source.name }]),
    );
    if (poolWatch.isSandbox) return [...listed.values()];
    for (const [name, target] of Object.entries(aliases)) {
      if (!name.endsWith('*') && !listed.has(name))
        listed.set(name, aliasOf(listed.get(target), name, target));
    }
    return [...listed.values()];
  }

  function aliasOf(model: ListedModel | undefined, name: string, target: string): ListedModel {
    return { provider: provider.name, ...model, id: name, aliasOf: model?.aliasOf ?? target };
  }

  return {
    resolve,
    async resolveAgain(request, before) {
      const wasSandbox = before.provider === sandbox;
      await poolWatch.look();
      return poolWatch.isSandbox === wasSandbox ? undefined : await resolve(request);
    },
    list,
    async find(id) {
      const listed = await list();
      const named = listed.find((model) => model.id === id);
      if (named) return named;
      // A name that would be answered exists, listed or not.
      if (poolWatch.isSandbox) return { id, provider: sandbox.name };
      const { target } = await lookUp(id);
      const model = listed.find((candidate) => candidate.id === target.model);
      return target.model === id ? { id, provider: provider.name } : aliasOf(model, id, target.model);
    },
  };
}
