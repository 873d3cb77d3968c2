import { LRUCache } from 'lru-cache';
import type { Clock } from '../../lib/clock.ts';
import type { Route } from './route.ts';

const mostKept = 1_000;
/** A provider may raise a limit at any time. */
const keptMs = 60 * 60_000;

/** How long the answers of models may be, in tokens, as their upstreams said when they refused longer ones. */
export class OutputLimits {
  readonly #told: LRUCache<string, number>;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    const perf = { now: () => clock.monotonic() };
    this.#told = new LRUCache({ max: mostKept, ttl: keptMs, ttlResolution: 0, perf });
  }

  note(route: Pick<Route, 'provider' | 'model'>, mostTokens: number): void {
    this.#told.set(nameOf(route), mostTokens);
  }

  /** The limit of the route's model where it is below what a request asks for. */
  below(asked: number | undefined, route: Pick<Route, 'provider' | 'model'>): number | undefined {
    if (asked === undefined || this.#told.size === 0) return undefined;
    const told = this.#told.get(nameOf(route));
    return told !== undefined && told < asked ? told : undefined;
  }
}

function nameOf({ provider, model }: Pick<Route, 'provider' | 'model'>): string {
  return `${provider.name}/${model}`;
}
