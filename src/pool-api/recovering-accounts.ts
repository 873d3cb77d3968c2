import type { Clock } from '../lib/clock.ts';
import type { LeasedAccount } from './schema.ts';

const recoveredSlots = 16;
const recoveringMs = 10 * 60_000;
const mostRecovering = 10_000;

/**
 * Accounts that met a limit or a refusal lately. Each carries one turn at first, then two, four and so on, as turns on it go well,
 * until it carries 16 or ten minutes have passed.
 */
export class RecoveringAccounts {
  readonly #timing: Pick<Clock, 'monotonic'>;
  /** When that is forgotten, by account. */
  readonly #until = new Map<string, number>();

  constructor(timing: Pick<Clock, 'monotonic'>) {
    this.#timing = timing;
  }

  add({ id }: LeasedAccount): void {
    if (this.#until.size >= mostRecovering) this.#until.clear();
    this.#until.set(id, this.#timing.monotonic() + recoveringMs);
  }

  has({ id, slots }: LeasedAccount): boolean {
    const until = this.#until.get(id);
    if (until === undefined) return false;
    if (until > this.#timing.monotonic() && slots < recoveredSlots) return true;
    this.#until.delete(id);
    return false;
  }
}
