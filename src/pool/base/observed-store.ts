import { DatabaseError } from '../../db/database.ts';
import { awayAfterMs } from '../../db/server-reach.ts';
import { EventFeed } from '../../lib/api/event-streams.ts';
import { type Clock, within } from '../../lib/clock.ts';
import type { PoolEvent } from '../../pool-api/schema.ts';
import type { Changes, News, Stats, Store } from '../store/store.ts';
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

/** The pool's events, and those who wait for a place to come free. */
export class EventHub extends EventFeed<PoolEvent> {
  /** A place may have come free. */
  freed = (): void => {};

  /** Publishes what a verb of the store has changed, and wakes those that wait when a place may have come free. */
  changed({ accounts, hasFreed }: Changes): void {
    for (const { id, provider, state, free } of accounts) {
      this.publish({ type: 'account-changed', account_id: id, provider, status: state, free });
    }
    if (hasFreed) this.freed();
  }

  /** Publishes what another instance on the same database did, as if it had been done here. */
  heard(news: News): void {
    switch (news.type) {
      case 'changes':
        this.changed(news.changes);
        break;
      case 'removed':
        this.publish({ type: 'account-removed', account_id: news.id, provider: news.provider });
        break;
      case 'wanted':
        this.publish({ type: 'lease-wanted', account_ids: [...news.accountIds] });
        break;
    }
  }
}
