import { randomUUID } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import type { Limit } from '../../lib/tasks.ts';
import type { Admission } from '../accounts/transfer.ts';
import { compareAndSet } from '../base/facts.ts';
import type { Stats, Store } from '../store/store.ts';

/** Accounts that fill the pool. Dead ones and those in standby do not. */
export function usableIn(stats: Stats): number {
  return stats.active + stats.cooldown + stats.exhausted;
}

interface Promised {
  readonly id: string;
  readonly count: number;
  /** Milliseconds since 1970. */
  readonly until: number;
}

const fact = 'replenish';
/** Longer than one account ever takes to come in. */
const lifetimeMs = 120_000;

/** Reserves as much of `wanted` as fits below `ceiling` usable accounts. */
export async function reserve(store: Store, clock: Clock, wanted: number, ceiling: number) {
  const reservation = new Reservation(store, clock, ceiling);
  await reservation.begin(wanted);
  return reservation;
}

/**
 * Places in the pool that are promised to accounts on their way, so that several instances, and several calls of one, never
 * bring in more than fits. A promise that is not renewed expires.
 */
export class Reservation {
  readonly #id = randomUUID();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #ceiling: number;
  granted = 0;
  #left = 0;

  constructor(store: Store, clock: Clock, ceiling: number) {
    this.#store = store;
    this.#clock = clock;
    this.#ceiling = ceiling;
  }

  async begin(wanted: number): Promise<void> {
    this.granted = await this.#change(({ free }) => {
      const count = Math.min(wanted, free);
      return { count, answer: count };
    });
    this.#left = this.granted;
  }

  /**
   * Whether there still is a place for one account more: an owner may have added some meanwhile, and a promise that was not
   * renewed in time may have gone to others. Renews the promise.
   */
  confirm(): Promise<boolean> {
    return this.#change(({ free, mine, usable }) => {
      // While the promise holds, the others' promises are no news: only accounts that are in already are.
      const count = mine > 0 ? mine : Math.min(this.#left, free);
      return { count, answer: count > 0 && usable < this.#ceiling };
    });
  }

  /** One account is in: its place is counted by the store from now on. */
  settle(): Promise<void> {
    this.#left -= 1;
    return this.#change(({ mine }) => ({ count: Math.max(0, mine - 1), answer: undefined }));
  }

  async drop(): Promise<void> {
    if (this.granted > 0) await this.#change(() => ({ count: 0, answer: undefined }));
  }

  /** The fact is read before the accounts are counted: an account that comes in between is counted twice, never not. */
  #change<Answer>(
    decide: (found: {
      /** What neither accounts nor the promises of others take, below the ceiling. */
      readonly free: number;
      readonly mine: number;
      readonly usable: number;
    }) => { readonly count: number; readonly answer: Answer },
  ): Promise<Answer> {
    return compareAndSet(this.#store, fact, async (text) => {
      const now = this.#clock.now();
      const promised = text === null ? [] : (JSON.parse(text) as Promised[]);
      const live = promised.filter((one) => one.until > now);
      const others = live.filter((one) => one.id !== this.#id);
      const usable = usableIn(await this.#store.stats(now));
      const taken = others.reduce((sum, one) => sum + one.count, usable);
      const mine = live.find((one) => one.id === this.#id)?.count ?? 0;
      const { count, answer } = decide({ free: Math.max(0, this.#ceiling - taken), mine, usable });
      const left = count === 0 ? others : [...others, { id: this.#id, count, until: now + lifetimeMs }];
      return { value: left.length === 0 ? null : JSON.stringify(left), answer };
    });
  }
}

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
  added = 0;
  failed = 0;
  /** Why some failed: the first twenty reasons. */
  readonly reasons: string[] = [];
  #places: number;
  #inFlight = 0;
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

  /** Counts a fault in something that never came to be tried. */
  fault(reason: string): void {
    this.failed += 1;
    if (this.reasons.length < mostReasons && !this.reasons.includes(reason)) this.reasons.push(reason);
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
      this.added += 1;
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
