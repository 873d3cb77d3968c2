import { AppError } from '../core/errors.ts';
import type { ProviderModel, UpstreamProvider } from '../core/provider.ts';
import { defaultAliases, findAlias } from './aliases.ts';
import type { ModelLists } from './models.ts';
import type { PoolWatch } from './pool-watch.ts';

/** Who answers a turn, and as which of its models. */
export interface Route {
  readonly provider: UpstreamProvider;
  readonly model: string;
  /** Where a person can watch this very turn being answered. */
  readonly runUrl?: string;
}

export interface Routes {
  /** Throws AppError `model_not_found`. */
  resolve(model: string, signal?: AbortSignal): Promise<Route>;
  /** After the pool had no account: another route, if the pool changed from sandbox to real accounts or back. */
  resolveAgain(model: string, before: Route, signal?: AbortSignal): Promise<Route | undefined>;
  /** Every model a client may name: the provider's and the configured aliases. */
  list(): Promise<readonly ProviderModel[]>;
}

export interface RoutesOptions {
  readonly provider: UpstreamProvider;
  readonly sandbox: UpstreamProvider;
  readonly models: ModelLists;
  readonly poolWatch: PoolWatch;
  readonly aliases: Readonly<Record<string, string>>;
}

export function createRoutes({ provider, sandbox, models, poolWatch, aliases }: RoutesOptions): Routes {
  async function resolve(model: string): Promise<Route> {
    // The sandbox answers to any name: whoever tries the service out has no list yet.
    if (poolWatch.isSandbox) return { provider: sandbox, model };
    const { models: known, isProven } = await models.get(provider);
    const has = (id: string) => known.some((candidate) => candidate.id === id);
    if (has(model)) return { provider, model };
    const configured = findAlias(aliases, model);
    if (configured !== undefined) return { provider, model: configured };
    const fallback = findAlias(defaultAliases, model);
    if (fallback !== undefined)
      return { provider, model: has(fallback) ? fallback : (known[0]?.id ?? fallback) };
    if (!isProven) return { provider, model };
    throw modelNotFound(model, [...known.map((candidate) => candidate.id), ...Object.keys(aliases)]);
  }

  return {
    resolve,
    async resolveAgain(model, before) {
      const wasSandbox = before.provider === sandbox;
      await poolWatch.look();
      return poolWatch.isSandbox === wasSandbox ? undefined : await resolve(model);
    },
    async list() {
      if (poolWatch.isSandbox) return (await models.get(sandbox)).models;
      const { models: known } = await models.get(provider);
      const listed = new Set(known.map((model) => model.id));
      const named = Object.keys(aliases).filter((name) => !name.endsWith('*') && !listed.has(name));
      return [...known, ...named.map((id) => ({ id }))];
    },
  };
}

export function modelNotFound(model: string, known: readonly string[]): AppError {
  const near = nearest(model, known);
  const hint = near.length === 0 ? 'GET /v1/models lists what there is' : `did you mean ${near.join(' or ')}`;
  return new AppError('model_not_found', `There is no model "${model}"; ${hint}.`, { param: 'model' });
}

/** Up to three names that share most of their letter pairs with the one asked for. */
function nearest(model: string, known: readonly string[]): string[] {
  const wanted = letterPairs(model);
  return known
    .map((name) => {
      const pairs = letterPairs(name);
      const shared = [...wanted].filter((pair) => pairs.has(pair)).length;
      return { name, score: (2 * shared) / (wanted.size + pairs.size || 1) };
    })
    .filter(({ score }) => score >= 0.5)
    .sort((left, right) => right.score - left.score)
    .slice(0, 3)
    .map(({ name }) => `"${name}"`);
}

function letterPairs(text: string): Set<string> {
  const lower = text.toLowerCase();
  const pairs = new Set<string>();
  for (let index = 0; index + 1 < lower.length; index += 1) pairs.add(lower.slice(index, index + 2));
  return pairs;
}
