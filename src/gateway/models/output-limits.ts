import { LRUCache } from 'lru-cache';
import type { Clock } from '../../lib/clock.ts';
import type { Route } from './route.ts';

const mostKept = 1_000;
/** A provider may raise a limit at any time. */
const keptMs = 60 * 60_000;

/** The longest answer that a model is asked for, and who says so. */
export interface OutputCap {
  readonly tokens: number;
  /** `refusal`: its upstream, of a longer one in this turn. */
  readonly from: 'configured' | 'earlier_refusal' | 'refusal';
}

type LimitedRoute = Pick<Route, 'provider' | 'model' | 'ownMaxOutput'>;

/** How long the answers of models may be: as their owner says, and their upstreams when they refused longer ones. */
export class OutputLimits {
  readonly #told: LRUCache<string, number>;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    const perf = { now: () => clock.monotonic() };
    this.#told = new LRUCache({ max: mostKept, ttl: keptMs, ttlResolution: 0, perf });
  }

  note(route: LimitedRoute, mostTokens: number): void {
    this.#told.set(nameOf(route), mostTokens);
  }

  /** The limit of the route's model where it is below what it would be asked for. */
  below(asked: number | undefined, route: LimitedRoute): OutputCap | undefined {
    const { ownMaxOutput: own } = route;
    if (asked === undefined || (own === undefined && this.#told.size === 0)) return undefined;
    const told = this.#told.get(nameOf(route));
    if (told !== undefined && told < Math.min(asked, own ?? asked))
      return { tokens: told, from: 'earlier_refusal' };
    return own !== undefined && own < asked ? { tokens: own, from: 'configured' } : undefined;
  }
}

function nameOf({ provider, model }: LimitedRoute): string {
  return `${provider.name}/${model}`;
}
