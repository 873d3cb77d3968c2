const minuteMs = 60_000;
const kept = 30;

/** Turns that ended within one minute. */
export interface TurnMinute {
  readonly start: string;
  readonly answered: number;
  readonly failed: number;
}

/** Counts the turns of each of the last thirty minutes, however many they are. */
export class TurnMinutes {
  readonly #counts = new Map<number, { answered: number; failed: number }>();

  note(outcome: string, now: number): void {
    if (outcome === 'cancelled') return;
    const minute = Math.floor(now / minuteMs);
    let count = this.#counts.get(minute);
    if (!count) {
      count = { answered: 0, failed: 0 };
      this.#counts.set(minute, count);
      for (const old of this.#counts.keys()) if (Math.abs(minute - old) >= kept) this.#counts.delete(old);
    }
    count[outcome === 'success' ? 'answered' : 'failed'] += 1;
  }

  /** The minute that runs now is the last. */
  latest(now: number): TurnMinute[] {
    const first = Math.floor(now / minuteMs) - kept + 1;
    return Array.from({ length: kept }, (_, at) => {
      const { answered, failed } = this.#counts.get(first + at) ?? { answered: 0, failed: 0 };
      return { start: new Date((first + at) * minuteMs).toISOString(), answered, failed };
    });
  }
}
