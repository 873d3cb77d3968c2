import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { AppError } from '../../core/errors.ts';
import type { Logger } from '../../lib/log/logger.ts';

/** How hard this process has to work. */
export interface Load {
  /** Mean time that what was due waited for the event loop, since the reading before. */
  readonly delayMs: number;
  /** Of the memory that V8 may take, 0 to 1. */
  readonly heapShare: number;
}

const resolutionMs = 50;

/** Reads the load of this process. Measuring costs a timer of twenty ticks a second. */
export class LoadMeter {
  readonly #delays = monitorEventLoopDelay({ resolution: resolutionMs });

  constructor() {
    this.#delays.enable();
  }

  readonly read = (): Load => {
    // Without a sample there is no mean.
    const meanMs = this.#delays.count === 0 ? resolutionMs : this.#delays.mean / 1e6;
    this.#delays.reset();
    const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
    return { delayMs: Math.max(0, meanMs - resolutionMs), heapShare: used / limit };
  };

  close(): void {
    this.#delays.disable();
  }
}

const causes = {
  event_loop: {
    value: ({ delayMs }: Load) => delayMs,
    above: 500,
    below: 200,
    says: 'it has more work than its processor can do',
  },
  memory: {
    value: ({ heapShare }: Load) => heapShare,
    above: 0.92,
    below: 0.8,
    says: 'its memory is nearly full',
  },
} as const;
type Cause = keyof typeof causes;
const causeNames = Object.keys(causes) as Cause[];

/** Readings in a row that turns begin to be refused after, and are taken again after: two seconds each. */
const inARow = 4;
const retryAfterMs = 5_000;

/** Refuses new turns while this process has more work than it can do, before those that run suffer from it. */
export class Admission {
  readonly #read: () => Load;
  readonly #collectGarbage: () => void;
  readonly #logger: Logger;
  readonly #strikes: Record<Cause, number> = { event_loop: 0, memory: 0 };
  #cause: Cause | undefined;
  #load: Load = { delayMs: 0, heapShare: 0 };
  /** Turns that were refused, by why. */
  readonly refused: Record<Cause, number> = { event_loop: 0, memory: 0 };

  constructor(read: () => Load, collectGarbage: () => void, logger: Logger) {
    this.#read = read;
    this.#collectGarbage = collectGarbage;
    this.#logger = logger;
  }

  get load(): Load {
    return this.#load;
  }

  /** Why turns are refused, as a sentence; undefined while they are taken. */
  get reason(): string | undefined {
    return (
      this.#cause &&
      `New turns are refused for the moment, since this gateway is overloaded: ${causes[this.#cause].says}.`
    );
  }

  /** To be called twice a second. */
  tick(): void {
    this.#load = this.#read();
    const cause = this.#cause;
    if (cause) {
      const { value, below } = causes[cause];
      this.#strikes[cause] = value(this.#load) < below ? this.#strikes[cause] - 1 : inARow;
      if (this.#strikes[cause] > 0) return;
      this.#cause = undefined;
      this.#logger.info('new turns are taken again');
      return;
    }
    for (const name of causeNames) {
      const { value, above } = causes[name];
      this.#strikes[name] = value(this.#load) > above ? this.#strikes[name] + 1 : 0;
      // What is full of garbage only is not full.
      if (name === 'memory' && this.#strikes.memory === inARow / 2) this.#collectGarbage();
      if (this.#strikes[name] < inARow) continue;
      this.#cause = name;
      this.#logger.warn(
        this.#load,
        `new turns are refused: this gateway is overloaded, ${causes[name].says}`,
      );
      return;
    }
  }

  /** Throws AppError `overloaded`. */
  check(): void {
    if (!this.#cause) return;
    this.refused[this.#cause] += 1;
    throw new AppError('overloaded', 'The gateway is overloaded; try again in a few seconds.', {
      retryAfterMs,
    });
  }
}
