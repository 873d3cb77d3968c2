import { LRUCache } from 'lru-cache';

/** How long accounts take lately until the first content of an answer. */
export interface AccountPace {
  note(accountId: string, firstContentMs: number): void;
  /** Over the limit more than once, not long ago. */
  isSlow(accountId: string): boolean;
}

interface Pace {
  readonly meanMs: number;
  readonly turns: number;
  readonly at: number;
}

const mostAccounts = 10_000;
/** What the last turn counts in the running mean. */
const weight = 0.4;
/** One long thought is no pace. */
const leastTurns = 2;
/** An account of which nothing was heard for so long has a new chance. */
const forgottenAfterMs = 10 * 60_000;

/** `limitMs` 0: no account is slow. */
export function createAccountPace(now: () => number, limitMs: number): AccountPace {
  const paces = new LRUCache<string, Pace>({ max: mostAccounts });
  const paceOf = (accountId: string): Pace | undefined => {
    const pace = paces.get(accountId);
    return pace && now() - pace.at < forgottenAfterMs ? pace : undefined;
  };
  return {
    note(accountId, firstContentMs) {
      if (limitMs === 0) return;
      const pace = paceOf(accountId);
      const meanMs = pace ? pace.meanMs + weight * (firstContentMs - pace.meanMs) : firstContentMs;
      paces.set(accountId, { meanMs, turns: (pace?.turns ?? 0) + 1, at: now() });
    },
    isSlow(accountId) {
      if (limitMs === 0) return false;
      const pace = paceOf(accountId);
      return pace !== undefined && pace.turns >= leastTurns && pace.meanMs > limitMs;
    },
  };
}
