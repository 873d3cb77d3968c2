import { LRUCache } from 'lru-cache';
import { backoffMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Route } from '../models/route.ts';

interface Circuit {
  /** Faults of the upstream in a row. */
  faults: number;
  /** When one turn may look whether it does better; undefined while turns go there as usual. */
  probeAt: number | undefined;
}

type Place = Pick<Route, 'provider' | 'model'>;

const opensAfter = 3;
const firstProbeAfterMs = 5_000;
const longestProbeAfterMs = 25_000;
const mostCircuits = 1_000;

/**
 * Which models of which providers fail turn after turn. Turns that have another candidate pass them over, but for one now and then
 * that finds out whether it is over.
 */
export class Circuits {
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly #circuits = new LRUCache<string, Circuit>({ max: mostCircuits });

  constructor(clock: Pick<Clock, 'now' | 'monotonic'>) {
    this.#clock = clock;
  }

  /** Those that are passed over, as `provider/model`. */
  get open(): readonly string[] {
    return [...this.#circuits.entries()].flatMap(([name, { probeAt }]) =>
      probeAt === undefined ? [] : [name],
    );
  }

  /** Until when turns pass it over, on the wall clock; undefined where this one may go there. Of an open one, that is one turn at a time. */
  openUntil(place: Place): number | undefined {
    const until = this.wouldBeOpenUntil(place);
    if (until !== undefined || this.#circuits.size === 0) return until;
    const circuit = this.#circuits.get(nameOf(place));
    if (circuit?.probeAt !== undefined) circuit.probeAt = this.#clock.monotonic() + probeAfterMs(circuit);
    return undefined;
  }

  /** The same for a turn that is not sent. */
  wouldBeOpenUntil(place: Place): number | undefined {
    const circuit = this.#circuits.size > 0 ? this.#circuits.peek(nameOf(place)) : undefined;
    if (circuit?.probeAt === undefined) return undefined;
    const now = this.#clock.monotonic();
    return now < circuit.probeAt ? this.#clock.now() + circuit.probeAt - now : undefined;
  }

  /** The upstream failed, broke off or fell silent. */
  failed(place: Place): void {
    const name = nameOf(place);
    const circuit = this.#circuits.get(name) ?? { faults: 0, probeAt: undefined };
    circuit.faults += 1;
    if (circuit.faults >= opensAfter) circuit.probeAt ??= this.#clock.monotonic() + probeAfterMs(circuit);
    this.#circuits.set(name, circuit);
  }

  /** It begins to answer: other turns may go there, and one more fault is enough to pass it over again. */
  begunToAnswer(place: Place): void {
    const circuit = this.#circuits.size > 0 ? this.#circuits.get(nameOf(place)) : undefined;
    if (circuit?.probeAt === undefined) return;
    circuit.probeAt = undefined;
    circuit.faults = opensAfter - 1;
  }

  succeeded(place: Place): void {
    if (this.#circuits.size > 0) this.#circuits.delete(nameOf(place));
  }
}

function probeAfterMs({ faults }: Circuit): number {
  return backoffMs(faults - opensAfter, firstProbeAfterMs, longestProbeAfterMs);
}

function nameOf({ provider, model }: Place): string {
  return `${provider.name}/${model}`;
}
