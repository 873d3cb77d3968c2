import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '../clock.ts';

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

/** Smaller garbage is left to V8. */
const leastBytes = 4 * 1024 * 1024;
/** With this much large garbage the collection does not wait. */
const mostBytes = 96 * 1024 * 1024;
const idleMs = 1_000;

interface CollectOptions {
  readonly flavor: 'last-resort';
}

let collector: typeof collectGarbage | undefined;
let leftBytes = 0;
let idle: NodeJS.Timeout | undefined;

/**
 * Notes that large work has left about this many bytes of garbage, to be collected soon. V8 alone keeps a gigabyte of dead strings
 * and buffers as long as nothing new is allocated. A collection takes some tens of milliseconds, however large the garbage is.
 */
export function leaveGarbage(bytes: number): void {
  if (bytes < leastBytes) return;
  leftBytes += bytes;
  if (leftBytes >= mostBytes) collectGarbage();
  idle ??= setTimeout(collectGarbage, idleMs).unref();
  idle.refresh();
}

/**
 * Collects now: that takes as long as what is in use is large. `last-resort` collects twice or more, and gives the system all
 * memory that the heap does not need.
 */
export function collectGarbage(options?: CollectOptions): void {
  leftBytes = 0;
  if (collector === undefined) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as typeof collectGarbage;
  }
  collector(options);
}

const quietMs = 5_000;
/** Of this thread's processor time: one that has begun to work takes more. */
const mostBusyMs = 500;

/**
 * Gives back the memory that only the start of this thread has needed, 18 MB of a service and 3 of a database's thread: V8 keeps it
 * while little new is allocated. A thread that works by then needs it, and would lose what V8 has compiled. Answers what cancels it.
 */
export function shrinkAfterStart(
  clock: Clock,
  shrink = () => collectGarbage({ flavor: 'last-resort' }),
): () => void {
  const begun = process.threadCpuUsage();
  return clock.after(quietMs, () => {
    const { user, system } = process.threadCpuUsage(begun);
    if ((user + system) / 1_000 < mostBusyMs) shrink();
  });
}
