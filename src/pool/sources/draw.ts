import type { Reservation } from '../room.ts';
import type { Admission, Draw } from './source.ts';

const mostReasons = 20;

/** What one source, or several after each other, brought. */
export interface Tally {
  readonly added: number;
  readonly failed: number;
  /** The first twenty. */
  readonly reasons: readonly string[];
}

/** A draw over room that was reserved. `limit` bounds how many accounts come in at a time, over all draws. */
export function createDraw(options: {
  readonly reservation: Reservation;
  readonly actor: string;
  readonly signal: AbortSignal;
  readonly limit: <T>(task: () => Promise<T>) => Promise<T>;
}): { readonly draw: Draw; tally(): Tally } {
  const { reservation, limit } = options;
  const reasons: string[] = [];
  let places = reservation.granted;
  let inFlight = 0;
  let added = 0;
  let failed = 0;
  let waiting: (() => void)[] = [];

  const fault = (reason: string): void => {
    failed += 1;
    if (reasons.length < mostReasons && !reasons.includes(reason)) reasons.push(reason);
  };

  const note = (label: string, admission: Admission): void => {
    if (admission.result === 'rejected' || admission.result === 'failed')
      fault(`${label}: ${admission.reason}`);
  };

  /** Waits while every place is held by one that may yet give it back. */
  const takePlace = async (): Promise<boolean> => {
    while (places <= inFlight && inFlight > 0) {
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    if (places <= inFlight || options.signal.aborted) return false;
    inFlight += 1;
    return true;
  };

  const draw: Draw = {
    actor: options.actor,
    signal: options.signal,
    wanted: () => Math.max(0, places - inFlight),
    fault,
    async shelve(label, bring) {
      const admission = await limit(bring);
      note(label, admission);
      return admission;
    },
    async admit(label, bring) {
      if (!(await takePlace())) return { result: 'no_room' };
      try {
        const admission = await limit<Admission>(async () => {
          if (options.signal.aborted || !(await reservation.confirm())) {
            places = Math.min(places, inFlight - 1);
            return { result: 'no_room' };
          }
          const done = await bring();
          if (done.result === 'added') {
            places -= 1;
            added += 1;
            await reservation.settle();
          }
          return done;
        });
        note(label, admission);
        return admission;
      } finally {
        inFlight -= 1;
        const woken = waiting;
        waiting = [];
        for (const wake of woken) wake();
      }
    },
  };
  return { draw, tally: () => ({ added, failed, reasons: [...reasons] }) };
}
