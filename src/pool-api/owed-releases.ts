import type { Clock } from '../lib/clock.ts';
import { isAway } from './errors.ts';
import { retryDelayMs } from './retry.ts';

export interface OwedReleases {
  /** This session has to go back, now or when the pool is there again. */
  add(sessionId: string): void;
  /** The id is used again. Resolves when no release of it is under way. */
  forget(sessionId: string): Promise<void>;
  /** Tries once more and stops. */
  close(): Promise<void>;
}

const firstRetryMs = 250;
const longestRetryMs = 5_000;

/** Sessions that could not be given back, or may exist at the pool for nobody: tried until the pool has answered. */
export function createOwedReleases(
  timing: Clock,
  release: (sessionId: string) => Promise<unknown>,
): OwedReleases {
  const owed = new Set<string>();
  let failures = 0;
  let running: Promise<void> | undefined;
  let cancel = () => {};

  async function tryAll(): Promise<void> {
    for (const sessionId of [...owed]) {
      if (!owed.has(sessionId)) continue;
      try {
        await release(sessionId);
      } catch (error) {
        if (isAway(error)) {
          failures += 1;
          return;
        }
        // A session the pool does not know is what was wanted; another refusal does not change by repeating.
      }
      failures = 0;
      owed.delete(sessionId);
    }
  }

  function run(): Promise<void> {
    cancel();
    running ??= tryAll().finally(() => {
      running = undefined;
      if (owed.size > 0) schedule();
    });
    return running;
  }

  function schedule(): void {
    cancel();
    cancel = timing.after(retryDelayMs(failures, firstRetryMs, longestRetryMs), () => void run());
  }

  return {
    add(sessionId) {
      owed.add(sessionId);
      void run();
    },
    async forget(sessionId) {
      if (owed.delete(sessionId)) await running;
    },
    async close() {
      await running;
      if (owed.size > 0) await run();
      owed.clear();
      cancel();
    },
  };
}
