import { AppError } from '../core/errors.ts';
import type { Clock } from '../lib/clock.ts';

/** The end of everything of one kind that is under way when the gateway stops. */
export interface Drain {
  /** To be called when the last one is over. */
  allOver(): void;
  /** Resolves then. After the deadline `end` is told with which error turns end now, and soon after `cut` takes the rest. */
  wait(deadlineMs: number, end: (error: AppError) => void, cut?: () => void): Promise<void>;
}

/** After the deadline: for clients to take the errors that ended their turns. */
const lastWordsMs = 1_000;

export function createDrain(clock: Clock): Drain {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  let isWaiting = false;

  return {
    allOver() {
      if (isWaiting) resolve();
    },
    async wait(deadlineMs, end, cut = () => {}) {
      isWaiting = true;
      const cancelEnd = clock.after(deadlineMs, () => {
        const message = 'The gateway stopped before the answer was complete; try again.';
        end(new AppError('shutting_down', message, { retryAfterMs: 5_000 }));
      });
      const cancelCut = clock.after(deadlineMs + lastWordsMs, cut);
      await over;
      cancelEnd();
      cancelCut();
    },
  };
}
