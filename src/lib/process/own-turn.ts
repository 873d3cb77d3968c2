import { leaveGarbage } from './collect-garbage.ts';

/** From this size on a single step of work, such as parsing, gets its own turn. */
export const largeBytes = 512 * 1024;

const waiting: (() => void)[] = [];
let isScheduled = false;

/**
 * A turn of the event loop for one large piece of work: other work runs between two of them, however many wait.
 * Undefined where the work is small and needs none.
 */
export function ownTurn(bytes: number): Promise<void> | undefined {
  if (bytes < largeBytes) return undefined;
  return new Promise((resolve) => {
    waiting.push(() => {
      leaveGarbage(bytes);
      resolve();
    });
    if (!isScheduled) setImmediate(next);
    isScheduled = true;
  });
}

function next(): void {
  waiting.shift()?.();
  isScheduled = waiting.length > 0;
  if (isScheduled) setImmediate(next);
}
