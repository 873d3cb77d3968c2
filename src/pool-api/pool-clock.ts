import type { Clock } from '../lib/clock.ts';

/**
 * The pool's clock, by the timestamp of its last answer. Times in the pool's answers are compared with it, because this
 * machine's clock may differ, and may be changed.
 */
export class PoolClock {
  readonly #timing: Pick<Clock, 'now' | 'monotonic'>;
  #aheadMs: number | undefined;

  constructor(timing: Pick<Clock, 'now' | 'monotonic'>) {
    this.#timing = timing;
  }

  /** To be called with every answer as it arrives; older pools send no timestamp. */
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
