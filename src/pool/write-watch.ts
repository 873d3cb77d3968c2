import { DatabaseError } from '../db/errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Store } from './store/store.ts';

const probeEveryMs = 60_000;
const probeName = 'write-probe';

/** Whether the store takes changes: reading may go on where the disk is full, or the file is gone. */
export class WriteWatch {
  readonly #clock: Clock;
  #isFailing = false;
  /** The first round shows it: a service may start on a full disk. */
  #probedAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** A verb of the store threw this. */
  failed(error: unknown): void {
    if (error instanceof DatabaseError) this.#isFailing = true;
  }

  /** It is time to see whether the store can be written to: every minute, and always while it could not. */
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
