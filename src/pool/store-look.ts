import { awayAfterMs } from '../db/server-reach.ts';
import type { Clock } from '../lib/clock.ts';
import { within } from '../lib/within.ts';
import type { Stats, Store } from './store/store.ts';

/** A question for the health waits no longer. */
const lookLimitMs = 1_500;

/** What the store says of the pool, for `/health`. A slow one is still reachable: what it said last holds, for as long as a server may be silent. */
export class StoreLook {
  readonly #store: Pick<Store, 'stats' | 'isReachable'>;
  readonly #clock: Clock;
  #known: Stats | undefined;
  #unansweredSince: number | undefined;

  constructor(store: Pick<Store, 'stats' | 'isReachable'>, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Undefined while the store is unreachable; its `stats` while that is all that is not known. Throws what the store throws. */
  async look(): Promise<{ readonly stats: Stats | undefined } | undefined> {
    if (!this.#store.isReachable) return undefined;
    this.#unansweredSince ??= this.#clock.monotonic();
    const asked = this.#store.stats(this.#clock.now()).then((stats) => {
      this.#known = stats;
      this.#unansweredSince = undefined;
      return stats;
    });
    const stats = await within(asked, this.#clock, lookLimitMs);
    if (stats !== undefined) return { stats };
    const since = this.#unansweredSince ?? this.#clock.monotonic();
    const isAway = !this.#store.isReachable || this.#clock.monotonic() - since >= awayAfterMs;
    return isAway ? undefined : { stats: this.#known };
  }
}
