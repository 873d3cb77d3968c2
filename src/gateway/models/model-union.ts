import { LRUCache } from 'lru-cache';
import type { ProviderModel } from '../../core/provider.ts';

/** What several accounts' own lists of models come to. */
export interface ModelUnion {
  /** Those a request may name: some account may use them, at least once something passing is over. */
  readonly models: readonly ProviderModel[];
  /** Those that every account which lists them may not use. */
  readonly withheld: readonly ProviderModel[];
  /** For models that not every account may use: the accounts not to ask. */
  readonly barred: ReadonlyMap<string, ReadonlySet<string>>;
}

/** More than any vendor has; every request looks through them. */
export const mostModels = 1_000;

/** By model: accounts that list it and to which the provider has refused it. */
type RefusedModels = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * In the order of the first list, with what the others have besides at the end. An account on which a model is out for
 * the moment is barred only while another one serves it.
 */
export function uniteModels(
  lists: ReadonlyMap<string, readonly ProviderModel[]>,
  refused: RefusedModels = new Map(),
): ModelUnion {
  const best = new Map<string, ProviderModel>();
  const ranks = new Map<string, Map<string, number>>();
  for (const [accountId, models] of lists) {
    for (const listed of models) {
      const isRefused = refused.get(listed.id)?.has(accountId) === true;
      const model = isRefused ? { ...listed, withheld: refusedByProvider } : listed;
      const known = best.get(model.id);
      if (!known && best.size >= mostModels) continue;
      if (!known || rank(model) > rank(known)) best.set(model.id, model);
      const byAccount = ranks.get(model.id) ?? new Map<string, number>();
      byAccount.set(accountId, rank(model));
      ranks.set(model.id, byAccount);
    }
  }
  const barred = new Map<string, ReadonlySet<string>>();
  for (const [id, model] of best) {
    const wanted = rank(model);
    if (wanted === withheldForGood) continue;
    const without = [...lists.keys()].filter((account) => (ranks.get(id)?.get(account) ?? 0) < wanted);
    if (without.length > 0) barred.set(id, new Set(without));
  }
  for (const [id, accounts] of refused) {
    const model = best.get(id);
    if (model && rank(model) === withheldForGood) continue;
    barred.set(id, new Set([...(barred.get(id) ?? []), ...accounts]));
  }
  const all = [...best.values()];
  return {
    models: all.filter((model) => rank(model) !== withheldForGood),
    withheld: all.filter((model) => rank(model) === withheldForGood),
    barred,
  };
}

const withheldForGood = 1;
const refusedByProvider = {
  reason: 'the provider has just refused it to every account that lists it',
  isPassing: false,
};

/** Unlisted is 0. */
function rank({ withheld }: ProviderModel): number {
  if (!withheld) return 3;
  return withheld.isPassing ? 2 : withheldForGood;
}

/** A plan or a team's settings may change at any time. */
const keptMs = 10 * 60_000;
const mostPairs = 1_000;

interface Pair {
  readonly model: string;
  readonly accountId: string;
  readonly until: number;
}

/** Accounts and models that a provider refuses together, remembered for some minutes. */
export class RefusedPairs {
  readonly #pairs = new LRUCache<string, Pair>({ max: mostPairs });
  /** When one of those that were last counted ends. */
  nextEnd = Number.POSITIVE_INFINITY;

  add(model: string, accountId: string, now: number): void {
    this.#pairs.set(JSON.stringify([model, accountId]), { model, accountId, until: now + keptMs });
  }

  /** The account has changed, for example to another team. */
  forget(accountId: string): void {
    for (const [key, pair] of [...this.#pairs]) if (pair.accountId === accountId) this.#pairs.delete(key);
  }

  live(now: number): RefusedModels {
    const models = new Map<string, Set<string>>();
    this.nextEnd = Number.POSITIVE_INFINITY;
    for (const [key, { model, accountId, until }] of [...this.#pairs]) {
      if (until <= now) {
        this.#pairs.delete(key);
        continue;
      }
      this.nextEnd = Math.min(this.nextEnd, until);
      const accounts = models.get(model) ?? new Set();
      models.set(model, accounts.add(accountId));
    }
    return models;
  }
}
