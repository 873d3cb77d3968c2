import { randomUUID } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import type { Stats, Store } from './store/store.ts';
import { changeFact } from './swap-fact.ts';

/** Accounts that fill the pool. Dead ones and those in standby do not. */
export function usableIn(stats: Stats): number {
  return stats.active + stats.cooldown + stats.exhausted;
}

/**
 * Room in the pool that is promised to accounts on their way, so that several instances, and several calls of one, never
 * bring in more than fits. A promise that nobody renews ends by itself.
 */
export interface Room {
  /** As much of `wanted` as fits below `ceiling` usable accounts. */
  reserve(wanted: number, ceiling: number): Promise<Reservation>;
}

export interface Reservation {
  /** How much was granted; 0 for nothing. */
  readonly granted: number;
  /**
   * Whether there still is room for one account more: an owner may have added some meanwhile, and a promise that was not
   * renewed in time may have gone to others. Renews the promise.
   */
  confirm(): Promise<boolean>;
  /** One account is in: its place is counted by the store from now on. */
  settle(): Promise<void>;
  /** Gives up what is left. */
  drop(): Promise<void>;
}

interface Promised {
  readonly id: string;
  readonly count: number;
  /** Milliseconds since 1970. */
  readonly until: number;
}

const fact = 'replenish';
/** Longer than one account ever takes to come in. */
const lifetimeMs = 120_000;

export function createRoom(store: Store, clock: Clock): Room {
  /** The fact is read before the accounts are counted: an account that comes in between is counted twice, never not. */
  const change = <Answer>(
    id: string,
    decide: (found: {
      /** What neither accounts nor the promises of others take. */
      free(ceiling: number): number;
      readonly mine: number;
      readonly usable: number;
    }) => { readonly count: number; readonly answer: Answer },
  ): Promise<Answer> =>
    changeFact(store, fact, async (text) => {
      const now = clock.now();
      const live = promisedIn(text).filter((one) => one.until > now);
      const others = live.filter((one) => one.id !== id);
      const usable = usableIn(await store.stats(now));
      const taken = others.reduce((sum, one) => sum + one.count, usable);
      const mine = live.find((one) => one.id === id)?.count ?? 0;
      const free = (ceiling: number): number => Math.max(0, ceiling - taken);
      const { count, answer } = decide({ free, mine, usable });
      const left = count === 0 ? others : [...others, { id, count, until: now + lifetimeMs }];
      return { value: left.length === 0 ? null : JSON.stringify(left), answer };
    });

  return {
    async reserve(wanted, ceiling) {
      const id = randomUUID();
      const granted = await change(id, ({ free }) => {
        const count = Math.min(wanted, free(ceiling));
        return { count, answer: count };
      });
      let left = granted;
      return {
        granted,
        confirm: () =>
          change(id, ({ free, mine, usable }) => {
            // While the promise holds, the others' promises are no news: only accounts that are in already are.
            const count = mine > 0 ? mine : Math.min(left, free(ceiling));
            return { count, answer: count > 0 && usable < ceiling };
          }),
        settle() {
          left -= 1;
          return change(id, ({ mine }) => ({ count: Math.max(0, mine - 1), answer: undefined }));
        },
        async drop() {
          if (granted > 0) await change(id, () => ({ count: 0, answer: undefined }));
        },
      };
    },
  };
}

function promisedIn(text: string | null): readonly Promised[] {
  return text === null ? [] : (JSON.parse(text) as Promised[]);
}
