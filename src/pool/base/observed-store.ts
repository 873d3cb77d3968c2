import type { Changes, Store } from '../store/store.ts';
import type { EventHub } from './events.ts';
import type { PoolMetrics } from './metrics.ts';
import type { StoreHealth } from './store-health.ts';

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
