import { DatabaseError } from '../../db/database.ts';
import { awayAfterMs } from '../../db/server-reach.ts';
import type { Clock } from '../../lib/clock.ts';
import { within } from '../../lib/within.ts';
import type { Changes, Stats, Store } from '../store/store.ts';
import type { EventHub } from './events.ts';
import type { PoolMetrics } from './metrics.ts';

interface Observers {
  readonly events: EventHub;
  readonly metrics?: PoolMetrics;
  readonly health?: StoreHealth;
}

/** The same store: what its verbs change is published, the time they take is counted, and their failures are noted. */
export function observedStore(store: Store, { events, metrics, health }: Observers): Store {
  return new Proxy(store, {
    get(target, verb) {
      const value: unknown = Reflect.get(target, verb, target);
      if (typeof value !== 'function' || typeof verb !== 'string' || verb === 'listen') return value;
      return async (...values: unknown[]): Promise<unknown> => {
        const end = metrics?.verbBegun(verb);
        try {
          const answer: unknown = await value.apply(target, values);
          end?.('done');
          if (answer instanceof Object && 'changes' in answer) events.changed(answer.changes as Changes);
          return answer;
        } catch (error) {
          end?.('failed');
          health?.failed(error);
          throw error;
        }
      };
    },
  });
}

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
