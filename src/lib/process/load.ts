import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';

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
