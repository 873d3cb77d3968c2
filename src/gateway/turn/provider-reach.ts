import { AppError } from '../../core/errors.ts';
import { backoffMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { sleep } from '../../lib/sleep.ts';

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
