import { DatabaseError } from '../db/errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Store } from './store/store.ts';

const probeEveryMs = 60_000;
const probeName = 'write-probe';

/** Whether the store accepts changes: reading may still work when the disk is full or the file is deleted. */
export class WriteWatch {
  readonly #clock: Clock;
  #isFailing = false;
  /** Due in the first round: a service may start on a full disk. */
  #probedAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** A verb of the store threw this. That a server is unreachable says nothing of its disk. */
  failed(error: unknown): void {
    if (error instanceof DatabaseError && error.code !== 'database_unreachable') this.#isFailing = true;
  }

  /** Whether to try a write now: once a minute, and in every round while writes fail. */
  get isProbeDue(): boolean {
    return this.#isFailing || this.#clock.monotonic() - this.#probedAt >= probeEveryMs;
  }

  /** Throws DatabaseError. */
  async probe(store: Store): Promise<void> {
    this.#probedAt = this.#clock.monotonic();
    await store.remember(probeName, String(this.#clock.now()));
    this.#isFailing = false;
  }
}
