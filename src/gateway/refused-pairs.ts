import { LRUCache } from 'lru-cache';
import type { RefusedModels } from './model-union.ts';

/** A plan or a team's settings may change at any time. */
const keptMs = 10 * 60_000;
const mostPairs = 1_000;

interface Pair {
  readonly model: string;
  readonly accountId: string;
  readonly until: number;
}

export interface RefusedPairs {
  add(model: string, accountId: string, now: number): void;
  /** The account has changed, for example to another team. */
  forget(accountId: string): void;
  live(now: number): RefusedModels;
  /** Some that counted no longer do. */
  hasEnded(now: number): boolean;
}

/** Accounts and models that a provider refuses together, remembered for some minutes. */
export function createRefusedPairs(): RefusedPairs {
  const pairs = new LRUCache<string, Pair>({ max: mostPairs });
  let nextEnd = Number.POSITIVE_INFINITY;

  return {
    add(model, accountId, now) {
      pairs.set(JSON.stringify([model, accountId]), { model, accountId, until: now + keptMs });
    },

    forget(accountId) {
      for (const [key, pair] of [...pairs]) if (pair.accountId === accountId) pairs.delete(key);
    },

    live(now) {
      const models = new Map<string, Set<string>>();
      nextEnd = Number.POSITIVE_INFINITY;
      for (const [key, { model, accountId, until }] of [...pairs]) {
        if (until <= now) {
          pairs.delete(key);
          continue;
        }
        nextEnd = Math.min(nextEnd, until);
        const accounts = models.get(model) ?? new Set();
        models.set(model, accounts.add(accountId));
      }
      return models;
    },

    hasEnded: (now) => nextEnd <= now,
  };
}
