import type { Limit } from '../../lib/limit.ts';
import type { Admission } from '../accounts/import-account.ts';
import type { Reservation } from './reservation.ts';

const mostReasons = 20;

/** The accounts that one round of replenishing brings in, from one source or several, over places that were reserved. */
export class Batch {
  /** Who asked: a key id, or `housekeeper`. */
  readonly actor: string;
  /** Aborts when the pool closes. */
  readonly signal: AbortSignal;
  readonly #reservation: Reservation;
  /** Bounds how many accounts come in at a time, over all batches. */
  readonly #limit: Limit;
  readonly #reasons: string[] = [];
  #places: number;
  #inFlight = 0;
  #added = 0;
  #failed = 0;
  #waiting: (() => void)[] = [];

  constructor(reservation: Reservation, actor: string, signal: AbortSignal, limit: Limit) {
    this.actor = actor;
    this.signal = signal;
    this.#reservation = reservation;
    this.#limit = limit;
    this.#places = reservation.granted;
  }

  /** How many accounts are still wanted, beside those being brought in. */
  get wanted(): number {
    return Math.max(0, this.#places - this.#inFlight);
  }

  get added(): number {
    return this.#added;
  }

  get failed(): number {
    return this.#failed;
  }

  /** Why some failed: the first twenty reasons. */
  get reasons(): readonly string[] {
    return this.#reasons;
  }

  /** Counts a fault in something that never came to be tried. */
  fault(reason: string): void {
    this.#failed += 1;
    if (this.#reasons.length < mostReasons && !this.#reasons.includes(reason)) this.#reasons.push(reason);
  }

  /** Runs `bring`, which brings an account into standby, when it is its turn: that takes no place. */
  async hold(label: string, bring: () => Promise<Admission>): Promise<Admission> {
    return this.#note(label, await this.#limit(bring));
  }

  /**
   * Runs `bring`, which may bring one account in, when it is its turn and as long as there is a place. Counts the result
   * and keeps the reason of a failure, with `label` before it.
   */
  async admit(label: string, bring: () => Promise<Admission>): Promise<Admission> {
    if (!(await this.#takePlace())) return { result: 'no_room' };
    try {
      return this.#note(label, await this.#limit(() => this.#bringIn(bring)));
    } finally {
      this.#inFlight -= 1;
      for (const wake of this.#waiting.splice(0)) wake();
    }
  }

  async #bringIn(bring: () => Promise<Admission>): Promise<Admission> {
    if (this.signal.aborted || !(await this.#reservation.confirm())) {
      this.#places = Math.min(this.#places, this.#inFlight - 1);
      return { result: 'no_room' };
    }
    const done = await bring();
    if (done.result === 'added') {
      this.#places -= 1;
      this.#added += 1;
      await this.#reservation.settle();
    }
    return done;
  }

  /** Waits while every place is held by one that may yet give it back. */
  async #takePlace(): Promise<boolean> {
    while (this.#places <= this.#inFlight && this.#inFlight > 0) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    if (this.#places <= this.#inFlight || this.signal.aborted) return false;
    this.#inFlight += 1;
    return true;
  }

  #note(label: string, admission: Admission): Admission {
    if (admission.result === 'rejected' || admission.result === 'failed')
      this.fault(`${label}: ${admission.reason}`);
    return admission;
  }
}
