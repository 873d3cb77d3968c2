import type { Timing } from './timing.ts';

/**
 * The pool's clock, as its last answer told it. What the pool says of times is judged by it: this machine's clock may be
 * another, and may be set.
 */
export class PoolClock {
  readonly #timing: Pick<Timing, 'now' | 'monotonic'>;
  #aheadMs: number | undefined;

  constructor(timing: Pick<Timing, 'now' | 'monotonic'>) {
    this.#timing = timing;
  }

  /** To be called with every answer as it comes; older pools do not tell their time. */
  note(answer: { readonly timestamp?: string | undefined }): void {
    const time = Date.parse(answer.timestamp ?? '');
    if (!Number.isNaN(time)) this.#aheadMs = time - this.#timing.monotonic();
  }

  /** Milliseconds since 1970. */
  now(): number {
    return this.#aheadMs === undefined ? this.#timing.now() : this.#timing.monotonic() + this.#aheadMs;
  }

  /** How long until a time that the pool named; infinite for null, which never comes. */
  until(time: string | null): number {
    return time === null ? Number.POSITIVE_INFINITY : Date.parse(time) - this.now();
  }
}
