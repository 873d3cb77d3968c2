import type { Clock } from '../../lib/clock.ts';

/** A clock that stands still until it is moved. */
export interface ManualClock extends Clock {
  /** Moves time on and runs what falls due, in order, letting promises settle in between. */
  advance(ms: number): Promise<void>;
  /** The wall clock is set, which no interval feels. */
  step(ms: number): void;
  /** Timers that wait. */
  readonly waiting: number;
}

export function createManualClock(start = Date.UTC(2026, 0, 1)): ManualClock {
  let now = 0;
  let wall = start;
  const tasks = new Set<{ readonly at: number; readonly task: () => void }>();
  return {
    now: () => wall + now,
    monotonic: () => now,
    elapsed: () => now,
    step(ms) {
      wall += ms;
    },
    after(delayMs, task) {
      const entry = { at: now + Math.max(0, delayMs), task };
      tasks.add(entry);
      return () => tasks.delete(entry);
    },
    async advance(ms) {
      const end = now + ms;
      await settled();
      for (;;) {
        const [due] = [...tasks].filter(({ at }) => at <= end).sort((one, other) => one.at - other.at);
        if (!due) break;
        tasks.delete(due);
        now = Math.max(now, due.at);
        due.task();
        await settled();
      }
      now = end;
      await settled();
    },
    get waiting() {
      return tasks.size;
    },
  };
}

/** Lets everything that waits for nothing but promises run. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
