import { DatabaseError } from '../../db/errors.ts';
import { awayAfterMs } from '../../db/server-reach.ts';
import type { Clock } from '../../lib/clock.ts';
import { within } from '../../lib/within.ts';
import type { Stats, Store } from '../store/store.ts';

/** A question for the health waits no longer. */
const lookLimitMs = 1_500;
const probeEveryMs = 60_000;
const probeName = 'write-probe';

/** Whether the store can be read, and whether it takes changes: reading may work while the disk is full or the file is deleted. */
export class StoreHealth {
  readonly #clock: Clock;
  #known: Stats | undefined;
  #unansweredSince: number | undefined;
  #isFailing = false;
  /** Due in the first round: a service may start on a full disk. */
  #probedAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Undefined while the store is unreachable; its `stats` while that is all that is not known. A slow one is still reachable:
   * what it said last holds, for as long as a server may be silent. Throws what the store throws.
   */
  async look(
    store: Pick<Store, 'stats' | 'isReachable'>,
  ): Promise<{ readonly stats: Stats | undefined } | undefined> {
    if (!store.isReachable) return undefined;
    this.#unansweredSince ??= this.#clock.monotonic();
    const asked = store.stats(this.#clock.now()).then((stats) => {
      this.#known = stats;
      this.#unansweredSince = undefined;
      return stats;
    });
    const stats = await within(asked, this.#clock, lookLimitMs);
    if (stats !== undefined) return { stats };
    const since = this.#unansweredSince ?? this.#clock.monotonic();
    const isAway = !store.isReachable || this.#clock.monotonic() - since >= awayAfterMs;
    return isAway ? undefined : { stats: this.#known };
  }

  /** It takes no changes. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** A verb of the store threw this. That a server is unreachable says nothing of its disk. */
  failed(error: unknown): void {
    if (error instanceof DatabaseError && error.code !== 'database_unreachable') this.#isFailing = true;
  }

  /** Tries a write once a minute, and every time while writes fail. Throws DatabaseError. */
  async probe(store: Pick<Store, 'remember'>): Promise<void> {
    if (!this.#isFailing && this.#clock.monotonic() - this.#probedAt < probeEveryMs) return;
    this.#probedAt = this.#clock.monotonic();
    await store.remember(probeName, String(this.#clock.now()));
    this.#isFailing = false;
  }
}
