import { LRUCache } from 'lru-cache';
import { AppError } from '../../core/errors.ts';
import { backoffMs } from '../../lib/backoff.ts';
import { type Clock, sleep } from '../../lib/clock.ts';
import type { Route } from '../models/route.ts';

/** No connection to the provider has been possible since it began. */
interface Outage {
  /** One turn at a time tries to connect. */
  isProbing: boolean;
  /** Probes that failed in a row. */
  failures: number;
  probeAt: number;
  /** Aborted when something has changed for those that wait. */
  changed: AbortController;
}

export type MayTry = 'yes' | 'as-probe' | 'too-late';

const firstProbeAfterMs = 250;
const longestProbeAfterMs = 2_000;
/** Nothing is tried without a turn, so an outage this old may have ended. */
const unknownAfterMs = 60_000;

/** Retry-After of a turn that has waited in vain for a provider to be reachable. */
const unreachableRetryMs = 5_000;

/**
 * Which providers can be reached from here. Where no connection can be made, no account is at fault and none can help:
 * the provider rests until the first connection that works, and turns wait for that.
 */
export class ProviderReach {
  readonly #clock: Clock;
  readonly #outages = new Map<string, Outage | undefined>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Every provider a turn has gone to, and whether it can be reached as far as is known. */
  get all(): ReadonlyMap<string, boolean> {
    const now = this.#clock.monotonic();
    const isUp = (outage: Outage | undefined) => !outage || now - outage.probeAt > unknownAfterMs;
    return new Map([...this.#outages].map(([provider, outage]) => [provider, isUp(outage)]));
  }

  /** The last connection to it could not be made. */
  isOut(provider: string): boolean {
    return this.#outages.get(provider) !== undefined;
  }

  /** A connection to it stands. */
  connected(provider: string): void {
    const outage = this.#outages.get(provider);
    this.#outages.set(provider, undefined);
    if (outage) wake(outage);
  }

  /** Nothing could be sent to it. */
  unreachable(provider: string, wasProbe: boolean): void {
    const outage = this.#outages.get(provider);
    if (!outage) {
      const probeAt = this.#clock.monotonic() + firstProbeAfterMs;
      this.#outages.set(provider, { isProbing: false, failures: 0, probeAt, changed: new AbortController() });
    } else if (wasProbe) {
      outage.failures += 1;
      outage.probeAt =
        this.#clock.monotonic() + backoffMs(outage.failures, firstProbeAfterMs, longestProbeAfterMs);
      this.probeEnded(provider);
    }
  }

  /** The turn that probed has ended, with an answer to the question or without. */
  probeEnded(provider: string): void {
    const outage = this.#outages.get(provider);
    if (!outage?.isProbing) return;
    outage.isProbing = false;
    wake(outage);
  }

  /**
   * Resolves when a turn may try: immediately while the provider can be reached, else when it can again, or as the one
   * that probes. Throws the signal's reason when it aborts.
   */
  async mayTry(provider: string, deadline: number, signal: AbortSignal): Promise<MayTry> {
    for (;;) {
      signal.throwIfAborted();
      const outage = this.#outages.get(provider);
      if (!outage) return 'yes';
      const now = this.#clock.monotonic();
      if (now >= deadline) return 'too-late';
      if (!outage.isProbing && outage.probeAt <= now) {
        outage.isProbing = true;
        return 'as-probe';
      }
      const until = outage.isProbing ? deadline : Math.min(deadline, outage.probeAt);
      await sleep(this.#clock, until - now, AbortSignal.any([signal, outage.changed.signal]));
    }
  }
}

function wake(outage: Outage): void {
  outage.changed.abort();
  outage.changed = new AbortController();
}

/** The error of a turn that has waited in vain for its provider. */
export function unreachable(cause: AppError | undefined): AppError {
  return new AppError(
    'upstream_unavailable',
    cause?.message ?? 'The provider cannot be reached from here; try again in a moment.',
    {
      cause,
      retryAfterMs: unreachableRetryMs,
      fault: 'network',
      failover: 'no',
    },
  );
}

interface Circuit {
  /** Faults of the upstream in a row. */
  faults: number;
  /** When one turn may look whether it does better; undefined while turns go there as usual. */
  probeAt: number | undefined;
}

type Place = Pick<Route, 'provider' | 'model'>;

const opensAfter = 3;
const firstCircuitProbeMs = 5_000;
const longestCircuitProbeMs = 25_000;
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

  /** The turn that was let through does not go there after all: the next one may look. */
  notTried(place: Place): void {
    const circuit = this.#circuits.size > 0 ? this.#circuits.peek(nameOf(place)) : undefined;
    if (circuit?.probeAt !== undefined) circuit.probeAt = this.#clock.monotonic();
  }

  /** The same as `openUntil` for a turn that is not sent. */
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
  return backoffMs(faults - opensAfter, firstCircuitProbeMs, longestCircuitProbeMs);
}

function nameOf({ provider, model }: Place): string {
  return `${provider.name}/${model}`;
}
