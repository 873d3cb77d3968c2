import { leaveGarbage } from './collect-garbage.ts';

/** Bytes from which a single step of work, such as parsing, is worth a turn of its own. */
export const largeBytes = 512 * 1024;

const waiting: (() => void)[] = [];
let isScheduled = false;

/**
 * A turn of the event loop for one large piece of work: between two of them everything else goes on, however many wait.
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
