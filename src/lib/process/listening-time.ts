import type { Clock } from '../clock.ts';

/** Between two ticks no more than this counts. */
const mostBetweenTicksMs = 2_000;

/**
 * The time in which this process could receive data, in milliseconds. A pause of the process (a stopped or sleeping
 * machine, a long block) hardly counts, so that silence is judged only after what came meanwhile has been read.
 */
export class ListeningTime {
  readonly #clock: Pick<Clock, 'monotonic'>;
  #counted = 0;
  #tickedAt: number;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
    this.#tickedAt = clock.monotonic();
  }

  readonly now = (): number =>
    this.#counted + Math.min(mostBetweenTicksMs, this.#clock.monotonic() - this.#tickedAt);

  /** To be called several times in that span. Answers `now`. */
  tick(): number {
    this.#counted = this.now();
    this.#tickedAt = this.#clock.monotonic();
    return this.#counted;
  }
}
