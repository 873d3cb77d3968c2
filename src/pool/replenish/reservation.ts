import { randomUUID } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { compareAndSet } from '../base/compare-and-set.ts';
import type { Stats, Store } from '../store/store.ts';

/** Accounts that fill the pool. Dead ones and those in standby do not. */
export function usableIn(stats: Stats): number {
  return stats.active + stats.cooldown + stats.exhausted;
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

/** Reserves as much of `wanted` as fits below `ceiling` usable accounts. */
export async function reserve(store: Store, clock: Clock, wanted: number, ceiling: number) {
  const reservation = new Reservation(store, clock, ceiling);
  await reservation.begin(wanted);
  return reservation;
}

/**
 * Places in the pool that are promised to accounts on their way, so that several instances, and several calls of one, never
 * bring in more than fits. A promise that is not renewed expires.
 */
export class Reservation {
  readonly #id = randomUUID();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #ceiling: number;
  #granted = 0;
  #left = 0;

  constructor(store: Store, clock: Clock, ceiling: number) {
    this.#store = store;
    this.#clock = clock;
    this.#ceiling = ceiling;
  }

  /** How much was granted; 0 for nothing. */
  get granted(): number {
    return this.#granted;
  }

  async begin(wanted: number): Promise<void> {
    this.#granted = await this.#change(({ free }) => {
      const count = Math.min(wanted, free);
      return { count, answer: count };
    });
    this.#left = this.#granted;
  }

  /**
   * Whether there still is a place for one account more: an owner may have added some meanwhile, and a promise that was not
   * renewed in time may have gone to others. Renews the promise.
   */
  confirm(): Promise<boolean> {
    return this.#change(({ free, mine, usable }) => {
      // While the promise holds, the others' promises are no news: only accounts that are in already are.
      const count = mine > 0 ? mine : Math.min(this.#left, free);
      return { count, answer: count > 0 && usable < this.#ceiling };
    });
  }

  /** One account is in: its place is counted by the store from now on. */
  settle(): Promise<void> {
    this.#left -= 1;
    return this.#change(({ mine }) => ({ count: Math.max(0, mine - 1), answer: undefined }));
  }

  /** Gives up what is left. */
  async drop(): Promise<void> {
    if (this.#granted > 0) await this.#change(() => ({ count: 0, answer: undefined }));
  }

  /** The fact is read before the accounts are counted: an account that comes in between is counted twice, never not. */
  #change<Answer>(
    decide: (found: {
      /** What neither accounts nor the promises of others take, below the ceiling. */
      readonly free: number;
      readonly mine: number;
      readonly usable: number;
    }) => { readonly count: number; readonly answer: Answer },
  ): Promise<Answer> {
    return compareAndSet(this.#store, fact, async (text) => {
      const now = this.#clock.now();
      const promised = text === null ? [] : (JSON.parse(text) as Promised[]);
      const live = promised.filter((one) => one.until > now);
      const others = live.filter((one) => one.id !== this.#id);
      const usable = usableIn(await this.#store.stats(now));
      const taken = others.reduce((sum, one) => sum + one.count, usable);
      const mine = live.find((one) => one.id === this.#id)?.count ?? 0;
      const { count, answer } = decide({ free: Math.max(0, this.#ceiling - taken), mine, usable });
      const left = count === 0 ? others : [...others, { id: this.#id, count, until: now + lifetimeMs }];
      return { value: left.length === 0 ? null : JSON.stringify(left), answer };
    });
  }
}
